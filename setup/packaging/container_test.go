//go:build packages

package packaging

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"farmboot/setup/lab"
)

// container is the image, run by podman on a host of a LAN, with that host's network.
type container struct {
	lan     *lab.LAN
	host    *lab.Host
	podman  []string
	image   string
	state   string // its one volume
	process *lab.Process
}

// start runs the image with no more rights than the three that it needs.
func (c *container) start(t *testing.T) {
	t.Helper()
	var err error
	c.process, err = c.host.Start("container.log", c.podman[0], append(c.podman[1:], "run", "--rm", "--name", "farmboot", "--network", "host",
		// What the machine that tests may have in another form than podman wants.
		"--cgroups", "disabled", "--ulimit", "nofile=4096:4096", "--ulimit", "nproc=4096:4096",
		"--cap-drop", "all", "--cap-add", "NET_BIND_SERVICE", "--cap-add", "NET_RAW", "--cap-add", "NET_ADMIN",
		"--read-only", "--volume", c.state+":/var/lib/farmboot", c.image)...)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if _, err := c.process.Expect(ctx, regexp.MustCompile(`msg=ready`)); err != nil {
		t.Fatal(err)
	}
}

// farmboot runs a command in the running container.
func (c *container) farmboot(t *testing.T, args ...string) string {
	t.Helper()
	return output(t, c.podman[0], append(append(c.podman[1:], "exec", "farmboot", "farmboot"), args...)...)
}

// TestContainer boots a machine through the container image, and replaces the container:
// all that is kept is in its one volume.
func TestContainer(t *testing.T) {
	l, host := newLAN(t)
	dir := t.TempDir()
	c := &container{lan: l, host: host, state: filepath.Join(dir, "state"), podman: []string{
		// crun refuses the mixture of both kinds of control groups that some machines have.
		"unshare", "--mount", "sh", "-euc", `mount -t cgroup2 cgroup2 /sys/fs/cgroup; exec podman "$@"`, "podman", "--root", filepath.Join(dir, "store"), "--runroot", filepath.Join(dir, "run"),
		"--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "none",
	}}
	loaded := output(t, c.podman[0], append(c.podman[1:], "load", "--quiet", "--input", dist(t, "farmboot-VERSION.oci.tar"))...)
	_, c.image, _ = strings.Cut(strings.TrimSpace(loaded), ": ")
	if err := os.Mkdir(c.state, 0o755); err != nil {
		t.Fatal(err)
	}
	c.start(t)
	kernel, err := os.ReadFile(testKernel())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(c.state, "new.efi"), kernel, 0o644); err != nil {
		t.Fatal(err)
	}
	c.farmboot(t, "kernel", "add", "/var/lib/farmboot/new.efi", "--name", "zos.efi")
	c.farmboot(t, "kernel", "use", "prod", "zos.efi")
	const mac = "52:54:00:00:13:05"
	c.farmboot(t, "node", "add", mac, "--farmer", "1234", "--args", "console=ttyS0")
	c.farmboot(t, "doctor")
	if err := c.process.Stop(); err != nil {
		t.Errorf("told to stop, the container ends with %v:\n%s", err, c.process.Tail(20))
	}

	c.start(t)
	bootsNode(t, l, lab.Machine{Name: "node", Firmware: lab.UEFI, NICs: []lab.NIC{{MAC: mac, NoROM: true}}}, func() string { return c.process.Tail(60) })
	await(t, "the story says that the kernel went out", func() error {
		if story := c.farmboot(t, "node", "show", mac); !strings.Contains(story, "fetched its kernel") {
			return errors.New(story)
		}
		return nil
	})
	if err := c.process.Stop(); err != nil {
		t.Errorf("told to stop, the container ends with %v:\n%s", err, c.process.Tail(20))
	}
}
