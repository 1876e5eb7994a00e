//go:build e2e

package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"farmboot/setup/lab"
)

// kernelArgs is [boot] kernel-args: what each command line starts with.
const kernelArgs = "nomodeset version=v3 panic=7200 console=ttyS0"

// newLAN makes a LAN that ends with the test, and keeps its traffic.
func newLAN(t *testing.T, o lab.Options) *lab.LAN {
	t.Helper()
	o.Capture = true
	return newBusyLAN(t, o)
}

// newBusyLAN is newLAN where there is more traffic than is worth keeping.
func newBusyLAN(t *testing.T, o lab.Options) *lab.LAN {
	t.Helper()
	o.Dir = t.ArtifactDir()
	l, err := lab.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("close the LAN: %v", err)
		}
	})
	return l
}

// appliance is a host of the LAN that runs farmboot serve.
type appliance struct {
	place
	lan    *lab.LAN
	host   *lab.Host
	name   string // of its folder and log among the artifacts
	dir    string // its appliance.toml and state
	daemon *lab.Process
	files  int // that the daemon may open at most; 0: as many as the test may
}

// settings are what tests change in appliance.toml.
type settings struct {
	name     string  // "": appliance
	loss     float64 // of its cable, 0…1
	unknown  string  // "": boot
	baseHost string
	extra    string // tables of appliance.toml
	unsigned bool   // kernels without the signatures of those who made them
	bare     bool   // it has no kernels
	quiet    bool   // its log says no more than out of the box
	files    int    // that it may open at most; 0: as many as the test may
}

// newAppliance sets up an appliance, with a kernel for each architecture and
// prod's default kernel, and waits until it is ready. It ends with the LAN.
func newAppliance(t *testing.T, l *lab.LAN, s settings) *appliance {
	t.Helper()
	p, err := places()
	if err != nil {
		t.Fatal(err)
	}
	if s.name == "" {
		s.name = "appliance"
	}
	if s.unknown == "" {
		s.unknown = "boot"
	}
	host, err := l.Join(s.loss)
	if err != nil {
		t.Fatal(err)
	}
	a := &appliance{place: p, lan: l, host: host, name: s.name, dir: t.TempDir(), files: s.files}
	a.write(t, "appliance.toml", fmt.Sprintf(`
base-host = %q
state = "state"
debug = %t
[network]
interface = %q
[ipxe]
template = %q
[provisioning]
unknown = %q
[boot]
kernel-args = %q
%s`, s.baseHost, !s.quiet, lab.Interface, p.template, s.unknown, kernelArgs, s.extra))
	if !s.bare {
		a.addKernels(t, s.unsigned)
	}
	a.start(t)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s logged, last:\n%s", a.name, a.daemon.Tail(60))
		}
	})
	return a
}

// addKernels puts the test kernels in place; bare: without the signatures of those who
// made them.
func (a *appliance) addKernels(t *testing.T, bare bool) {
	t.Helper()
	for _, name := range []string{"vmlinuz-amd64", "vmlinuz-arm64"} {
		kernel, err := os.ReadFile(filepath.Join(a.kernels, name))
		if err != nil {
			t.Fatal(err)
		}
		if bare {
			kernel = unsigned(kernel)
		}
		a.write(t, "state/kernel/"+name, string(kernel))
	}
	if err := os.Mkdir(filepath.Join(a.dir, "state/kernel/net"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []string{"prod", "test"} {
		if err := os.Symlink("../vmlinuz-amd64", filepath.Join(a.dir, "state/kernel/net", mode+".efi")); err != nil {
			t.Fatal(err)
		}
	}
}

// write makes a file in the appliance's folder.
func (a *appliance) write(t *testing.T, name, text string) {
	t.Helper()
	path := filepath.Join(a.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// start starts the daemon and waits until it is ready.
func (a *appliance) start(t *testing.T) {
	t.Helper()
	a.launch(t)
	a.says(t, `\bready\b`)
}

// launch starts the daemon.
func (a *appliance) launch(t *testing.T) {
	t.Helper()
	command := []string{a.bin, "serve", "--config", filepath.Join(a.dir, "appliance.toml")}
	if a.files > 0 {
		command = append([]string{"prlimit", fmt.Sprintf("--nofile=%d", a.files)}, command...)
	}
	var err error
	a.daemon, err = a.host.Start(a.name+".log", command[0], command[1:]...)
	if err != nil {
		t.Fatal(err)
	}
}

// farmboot runs a command of the program on the appliance's host and returns what
// it printed. A failure ends the test.
func (a *appliance) farmboot(t *testing.T, args ...string) string {
	t.Helper()
	args = append(args, "--config", filepath.Join(a.dir, "appliance.toml"))
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, a.bin, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := a.host.Do(cmd.Start)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		t.Fatalf("farmboot %s: %v: %s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return stdout.String()
}

// url returns the appliance's URL of a path on its boot plane.
func (a *appliance) url(path string) string { return "http://" + a.host.Addr().String() + path }
