//go:build packages

package packaging

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"farmboot/setup/lab"
)

// limit bounds each command and each boot; many times what one takes.
const limit = 10 * time.Minute

// system is a fresh Debian with a systemd of its own, in a container on a LAN.
type system struct {
	lan   *lab.LAN
	host  *lab.Host
	root  string // its root folder, seen from outside
	init  string // process id of its systemd, seen from outside
	proxy string // address of the HTTP proxy that is its way out
}

// roots is where setup/packaging/roots.sh leaves the systems' root folders, packed.
func roots() string {
	return cmp.Or(os.Getenv("FARMBOOT_TEST_ROOTS"), "/var/cache/farmboot-test")
}

// newSystem unpacks a Debian and starts it on a LAN of its own. What it takes from
// Debian's archive, and Go's modules, come through a proxy, the one way out of that LAN.
func newSystem(t *testing.T, suite string) *system {
	t.Helper()
	s := &system{root: filepath.Join(t.TempDir(), suite)}
	if err := os.Mkdir(s.root, 0o755); err != nil {
		t.Fatal(err)
	}
	output(t, "tar", "-C", s.root, "-xf", filepath.Join(roots(), "root-"+suite+".tar"))
	var err error
	if s.lan, err = lab.New(lab.Options{Dir: t.ArtifactDir()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.lan.Close(); err != nil {
			t.Errorf("close the LAN: %v", err)
		}
	})
	if s.host, err = s.lan.Join(0); err != nil {
		t.Fatal(err)
	}
	s.proxy = startProxy(t, s.host)
	s.write(t, "/etc/apt/apt.conf.d/00proxy", fmt.Sprintf("Acquire::http::Proxy \"http://%s\";\n", s.proxy))
	s.boot(t)
	return s
}

// boot starts the system and waits until all its services run.
func (s *system) boot(t *testing.T) {
	t.Helper()
	// The container's systemd wants the hierarchy of control groups that is today's,
	// also where this machine has the former one.
	t.Setenv("SYSTEMD_NSPAWN_UNIFIED_HIERARCHY", "1")
	p, err := s.host.Start("system.log", "systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", "--machine=farm",
		"--directory="+s.root, "--network-namespace-path=/proc/self/ns/net", "--resolv-conf=off", "--console=pipe")
	if err != nil {
		t.Fatal(err)
	}
	s.init = child(t, p)
	await(t, "the system runs", func() error {
		out, err := s.run("systemctl", "is-system-running", "--wait")
		if state := strings.TrimSpace(out); state != "running" && state != "degraded" {
			return fmt.Errorf("it is %s (%w)", state, err)
		}
		return nil
	})
	if failed := s.must(t, "systemctl", "--failed", "--no-legend", "--plain"); failed != "" {
		t.Fatalf("services of a fresh system failed here:\n%s", failed)
	}
}

// child waits for the first process of a container, and returns its id.
func child(t *testing.T, nspawn *lab.Process) (pid string) {
	t.Helper()
	first := regexp.MustCompile(fmt.Sprintf(`(?m)^PPid:\t%d\n(?s:.*)^NSpid:\t.*\t1$`, nspawn.PID()))
	await(t, "the container starts", func() error {
		select {
		case <-nspawn.Done():
			t.Fatalf("systemd-nspawn ended:\n%s", nspawn.Tail(20))
		default:
		}
		files, err := filepath.Glob("/proc/[0-9]*/status")
		if err != nil {
			return err
		}
		for _, file := range files {
			// One that has ended since has no file.
			if text, err := os.ReadFile(file); err == nil && first.Match(text) {
				pid = filepath.Base(filepath.Dir(file))
				return nil
			}
		}
		return errors.New("no process yet")
	})
	return pid
}

// run runs a program inside and returns what it prints.
func (s *system) run(program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{"--target", s.init, "--mount", "--uts", "--ipc", "--net", "--pid", "--", program}, args...)...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8", "DEBIAN_FRONTEND=noninteractive"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// must runs a program inside that has to succeed.
func (s *system) must(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := s.run(program, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
	return out
}

// apt installs, upgrades or removes packages as an administrator would.
func (s *system) apt(t *testing.T, args ...string) string {
	t.Helper()
	return s.must(t, "apt-get", append([]string{"-q", "-y", "-o", "Dpkg::Use-Pty=0", "-o", "Acquire::Retries=3"}, args...)...)
}

// write makes a file inside.
func (s *system) write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.root, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// put copies a file of this machine into the system's /root.
func (s *system) put(t *testing.T, file, name string) (inside string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	inside = "/root/" + name
	s.write(t, inside, string(data))
	return inside
}

// files lists what there is inside, but for what any package leaves behind: lists,
// caches and logs of apt and dpkg, and what systemd does with its time.
func (s *system) files(t *testing.T) map[string]bool {
	t.Helper()
	files := make(map[string]bool)
	for line := range strings.Lines(s.must(t, "find", "/", "-xdev", "(",
		"-path", "/var/cache", "-o", "-path", "/var/lib/apt", "-o", "-path", "/var/lib/dpkg", "-o", "-path", "/var/log",
		"-o", "-path", "/var/lib/systemd/timers", "-o", "-path", "/var/lib/systemd/catalog", "-o", "-path", "/var/tmp", "-o", "-path", "/root",
		")", "-prune", "-o", "-print")) {
		files[strings.TrimSuffix(line, "\n")] = true
	}
	if len(files) < 1000 {
		t.Fatalf("find saw %d files alone", len(files))
	}
	return files
}

// await tries something until it succeeds.
func await(t *testing.T, what string, try func() error) {
	t.Helper()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for {
		err := try()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited %v, but not: %s: %v", limit, what, err)
		}
	}
}

// output runs a program on this machine and returns what it prints.
func output(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// startProxy runs an HTTP proxy on a host of the lab, whose other side is this machine's
// own network: what apt asks for, and what Go asks for by TLS, and nothing else, gets out.
func startProxy(t *testing.T, host *lab.Host) (addr string) {
	t.Helper()
	l := listenOn(t, host)
	onward := &http.Transport{Proxy: http.ProxyFromEnvironment}
	server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodConnect {
			tunnel(w, r)
			return
		}
		if r.Method != http.MethodGet || !r.URL.IsAbs() {
			http.Error(w, "GET of a whole URL, and CONNECT, alone", http.StatusMethodNotAllowed)
			return
		}
		out, err := http.NewRequestWithContext(r.Context(), http.MethodGet, r.URL.String(), nil)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		for _, name := range []string{"Range", "If-Range", "If-Modified-Since", "User-Agent", "Accept"} {
			if v := r.Header.Get(name); v != "" {
				out.Header.Set(name, v)
			}
		}
		answer, err := onward.RoundTrip(out)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer answer.Body.Close()
		for name, values := range answer.Header {
			w.Header()[name] = values
		}
		w.WriteHeader(answer.StatusCode)
		// apt asks again where an answer is cut short.
		_, _ = io.Copy(w, answer.Body)
	})}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("proxy: %v", err)
		}
		onward.CloseIdleConnections()
	})
	return l.Addr().String()
}

// tunnel answers CONNECT: it carries bytes both ways until either side ends.
func tunnel(w http.ResponseWriter, r *http.Request) {
	out, err := (&net.Dialer{Timeout: time.Minute}).DialContext(r.Context(), "tcp", r.Host)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer out.Close()
	in, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer in.Close()
	if _, err := io.WriteString(in, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		return
	}
	ended := make(chan struct{}, 2)
	go func() { _, _ = io.Copy(out, buffered); ended <- struct{}{} }()
	go func() { _, _ = io.Copy(in, out); ended <- struct{}{} }()
	<-ended
}

// newLAN makes a LAN with one host besides its DHCP server.
func newLAN(t *testing.T) (*lab.LAN, *lab.Host) {
	t.Helper()
	l, err := lab.New(lab.Options{Dir: t.ArtifactDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("close the LAN: %v", err)
		}
	})
	host, err := l.Join(0)
	if err != nil {
		t.Fatal(err)
	}
	return l, host
}

// listenOn opens a TCP port on a host of the lab.
func listenOn(t *testing.T, host *lab.Host) (l net.Listener) {
	t.Helper()
	err := host.Do(func() (err error) {
		l, err = net.Listen("tcp4", host.Addr().String()+":0")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}
