package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"farmboot/http/api"
	"farmboot/ipxe/kernel/kerneltest"
)

// TestGoneKernel: the log of the start, status and the API say which file is gone that a run
// mode boots.
func TestGoneKernel(t *testing.T) {
	d := startDaemonAs(t, "farmboot", func(d *daemon) {
		net := filepath.Join(d.state, "kernel", "net")
		if err := errors.Join(os.MkdirAll(net, 0o755), os.Symlink("../v1.efi", filepath.Join(net, "qa.efi"))); err != nil {
			t.Fatal(err)
		}
	})
	d.says(`runmode=qa why="boots v1.efi, which is gone" mend="farmboot kernel use qa KERNEL`, 1)
	d.says(`runmodes="test dev"`, 1)
	if status, text, _ := d.command("status"); status != 0 || !regexp.MustCompile(`(?m)^run mode qa +boots v1.efi, which is gone$`).MatchString(text) || !regexp.MustCompile(`(?m)^run mode dev +has no kernel yet$`).MatchString(text) {
		t.Errorf("status:\n%s", text)
	}
	_, text, _ := d.command("status", "--json")
	var s daemonStatus
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(s.RunModes, func(m api.RunMode) bool { return m.RunMode == "qa" })
	if i < 0 {
		t.Fatalf("the API does not tell of qa: %+v", s.RunModes)
	}
	if m := s.RunModes[i]; m.Kernel || m.Missing != "boots v1.efi, which is gone" {
		t.Errorf("API: %+v", m)
	}
}

// TestNoKernels: status says which run mode's kernel was put there by hand, and is none; a node
// is told of what can be seen of it without reading it.
func TestNoKernels(t *testing.T) {
	d := startDaemonAs(t, "farmboot", func(d *daemon) {
		net := filepath.Join(d.state, "kernel", "net")
		write := func(mode, text string) error {
			return os.WriteFile(filepath.Join(net, mode+".efi"), []byte(text), 0o644)
		}
		if err := errors.Join(os.MkdirAll(filepath.Join(net, "qa.efi"), 0o755), write("prod", ""), write("test", "<!doctype html>\n"), write("dev", "#!ipxe\n")); err != nil {
			t.Fatal(err)
		}
	})
	d.says(`its nodes fetch it, and fail" runmode=prod why="has no kernel that boots: net/prod.efi is empty" mend="farmboot kernel use prod KERNEL`, 1)
	d.says(`its nodes fetch it, and fail" runmode=test why="has no kernel that boots: net/test.efi is a web page"`, 1)
	d.says(`its nodes wait until it can" runmode=qa why="has no kernel that boots: net/qa.efi is a folder" mend="move it away first; then farmboot kernel use qa KERNEL`, 1)
	if status, text := d.get("/kernel/net/qa.efi"); status != http.StatusNotFound || !strings.Contains(text, "it is a folder") {
		t.Errorf("the folder: %d, %s", status, text)
	}
	if status, text := d.get("/kernel/net"); status != http.StatusNotFound || !strings.Contains(text, "there is none of that name") {
		t.Errorf("the folder of all defaults: %d, %s", status, text)
	}
	_, text, _ := d.command("status")
	for _, want := range []string{
		"prod +has no kernel that boots: net/prod.efi is empty", "test +has no kernel that boots: net/test.efi is a web page", "qa +has no kernel that boots: net/qa.efi is a folder",
		"dev +boots net/dev.efi, which is neither an EFI application nor a bzImage: nodes boot it only if iPXE knows its format",
	} {
		if !regexp.MustCompile("(?m)^run mode " + want + "$").MatchString(text) {
			t.Errorf("status does not say %q:\n%s", want, text)
		}
	}
	_, text, _ = d.command("status", "--json")
	var s daemonStatus
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		t.Fatal(err)
	}
	for _, m := range s.RunModes {
		if boots := m.RunMode == "dev"; m.Kernel != boots || (m.Missing == "") != boots || (m.Doubt != "") != boots {
			t.Errorf("API: %+v", m)
		}
	}
}

// TestSilentUpstream: status tells of an upstream that does not answer, from the first look on, of one
// that only refuses, and of a kernel that is none.
func TestSilentUpstream(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0") // whose connections nobody accepts
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	refuses, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refuses.Close()
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		io.WriteString(w, "<!doctype html>")
	}))
	defer page.Close()
	says := func(status int) string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }))
		t.Cleanup(server.Close)
		return server.URL
	}
	for name, c := range map[string]struct{ url, says string }{
		"503":     {says(503), "answers, but has given no kernel since .* UTC; nodes boot what they did before: .* answers with status 503 Service Unavailable; check: why the service refuses them"},
		"403":     {says(403), "answers, but has given no kernel since .* UTC; nodes boot what they did before: .* answers with status 403 Forbidden: is there none, or is it not public.; check: why the service refuses them"},
		"silent":  {"http://" + silent.Addr().String(), "has given no answer since .* UTC; nodes boot what they did before; check: the service is on"},
		"refuses": {"http://" + refuses.Addr().String(), "has given no answer since .* UTC; nodes boot what they did before: .*connection refused; check: the service is on"},
		"page":    {page.URL, "a kernel of upstream .* was not taken: .*; what was here stays; check: what is at"},
	} {
		t.Run(name, func(t *testing.T) {
			d := startDaemonAs(t, "farmboot", func(d *daemon) { d.configure(fmt.Sprintf("kernel.upstream = %q", c.url)) })
			row := regexp.MustCompile(`(?m)^PROBLEM upstream +.*` + c.says)
			d.until("a status that tells of upstream", func() bool {
				_, text, _ := d.command("status")
				return row.MatchString(text)
			})
			if status, text := d.get("/healthz"); status != http.StatusOK {
				t.Errorf("health: %d, %s", status, text)
			}
			d.says(`msg="something does not work" what=upstream`, 1)
		})
	}
}

// TestStatusBesideAMistake: a mistake that somebody made in the configuration hides no daemon.
func TestStatusBesideAMistake(t *testing.T) {
	d := startDaemon(t)
	good, err := os.ReadFile(d.file)
	if err != nil {
		t.Fatal(err)
	}
	for _, mistake := range []string{"debug = 1\n", "debug = \n", "debug = 1\nlog-format = 1\n", "debug = 1\nport = 1\n"} {
		if err := os.WriteFile(d.file, append([]byte(mistake), good...), 0o644); err != nil {
			t.Fatal(err)
		}
		status, text, stderr := d.command("status")
		if status != 0 || stderr != "" || !regexp.MustCompile(`(?m)^farmboot .* runs$`).MatchString(text) || !strings.Contains(text, fmt.Sprintf(":%d", d.port)) ||
			!regexp.MustCompile(`(?m)^WARNING configuration +.*:1:\d+: debug.*; the daemon runs with what it read before`).MatchString(text) || strings.Contains(text, "the daemon works") {
			t.Errorf("%q: exit %d, %s\n%s", mistake, status, stderr, text)
		}
		var s daemonStatus
		if _, text, _ := d.command("status", "--json"); json.Unmarshal([]byte(text), &s) != nil || !s.Running || s.ConfigMistake == "" || s.ConfigDiffers {
			t.Errorf("%q: %s", mistake, text)
		}
	}
	if status, _, stderr := d.command("node", "list"); status != exitRefused || !strings.Contains(stderr, "debug") {
		t.Errorf("another command: exit %d, %s", status, stderr)
	}
	// Where the mistake may be of the state folder, no daemon is asked: it may be another one's.
	for _, text := range []string{
		"state = 5\n", strings.Replace(string(good), "state", "stat", 1), "state = \"elsewhere\"\n" + string(good), string(good) + "[boot]\nstate = \"x\"\n",
	} {
		if err := os.WriteFile(d.file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if status, stdout, stderr := d.command("status"); status != exitRefused || stdout != "" || !strings.Contains(stderr, "stat") || strings.Contains(stderr, "daemon") {
			t.Errorf("%q: exit %d, %s%s", text, status, stdout, stderr)
		}
	}
}

// TestStatusBesideAMistakeAndNoAnswer: what keeps a daemon from answering is told beside the mistake.
func TestStatusBesideAMistakeAndNoAnswer(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "a.toml")
	if err := os.WriteFile(file, []byte("state = \".\"\ndebug = 1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	status := func() string {
		var stdout, stderr bytes.Buffer
		if status := run(t.Context(), []string{"--config", file, "status"}, &env{stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr, now: time.Now}); status != exitRefused || stdout.Len() > 0 {
			t.Errorf("exit %d, %s", status, stdout.String())
		}
		return stderr.String()
	}
	const mistake = ":2:1: debug: accepted is true or false; found 1; "
	if text := status(); strings.Count(text, "\n") != 1 || !strings.Contains(text, mistake+"the daemon does not run: no daemon listens on "+folder) {
		t.Errorf("no daemon: %s", text)
	}
	socket, err := net.Listen("unix", filepath.Join(folder, "farmboot.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	go func() {
		for {
			c, err := socket.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	if text := status(); strings.Count(text, "\n") != 1 || !strings.Contains(text, mistake) || strings.HasSuffix(text, mistake+"\n") || strings.Contains(text, "does not run") {
		t.Errorf("no answer: %s", text)
	}
}

// TestStatusOfKernels: status says which run mode tries a kernel, and which does not boot
// upstream's newest.
func TestStatusOfKernels(t *testing.T) {
	var release atomic.Value
	release.Store(kerneltest.EFI("the first release"))
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/kernel/net/prod.efi" {
			http.NotFound(w, r)
			return
		}
		io.WriteString(w, release.Load().(string))
	}))
	defer up.Close()
	d := startDaemonAs(t, "farmboot", func(d *daemon) {
		d.configure(fmt.Sprintf("kernel.upstream = %q\nkernel.refresh = \"24h\"", up.URL))
	})
	do := func(args ...string) string {
		t.Helper()
		status, stdout, stderr := d.command(args...)
		if status != 0 {
			t.Fatalf("%q: exit %d, %s", args, status, stderr)
		}
		return stdout
	}
	says := func(candidate, held string) {
		t.Helper()
		text := do("status")
		if got := strings.Contains(text, "tries "+candidate+" on some nodes"); got != (candidate != "") {
			t.Errorf("candidate %q:\n%s", candidate, text)
		}
		if got := strings.Contains(text, "does not boot upstream's "+held+", because"); got != (held != "") {
			t.Errorf("held %q:\n%s", held, text)
		}
		var s daemonStatus
		if err := json.Unmarshal([]byte(do("status", "--json")), &s); err != nil {
			t.Fatal(err)
		}
		for _, m := range s.RunModes {
			if m.RunMode == "prod" && (m.Candidate != candidate || m.Held != held) {
				t.Errorf("status is %+v, want candidate %q, held %q", m, candidate, held)
			}
		}
	}
	do("node", "add", "52:54:00:00:00:01")
	do("kernel", "sync")
	says("", "")
	release.Store(kerneltest.EFI("the second release"))
	second := regexp.MustCompile(`prod-[0-9a-f]+\.efi`).FindString(do("kernel", "sync"))
	says("", "")
	do("kernel", "rollback", "prod")
	says("", second)
	do("kernel", "use", "prod", second, "--canary", "1")
	says(second, second)
	do("kernel", "promote", "prod")
	says("", "")
}
