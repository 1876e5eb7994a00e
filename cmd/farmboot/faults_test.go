package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"aead.dev/minisign"
	"golang.org/x/sync/errgroup"

	"farmboot/ipxe/kernel/kerneltest"
	"farmboot/setup/needs"
)

// upstreamFault is what an upstream does with a kernel.
type upstreamFault struct {
	serve http.HandlerFunc
	says  string // the command that syncs; "": it takes the kernel
	// signature is what is beside the kernel; nil: a good one
	signature []byte
}

// asFile announces a kernel of that size.
func asFile(w http.ResponseWriter, size int) {
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", fmt.Sprint(size))
}

// faults are all that goes wrong upstream, with a kernel of that text.
func faults(text string, foreign minisign.PrivateKey) map[string]*upstreamFault {
	etag := fmt.Sprintf(`"%x"`, sha256.Sum256([]byte(text)))
	whole := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Etag", etag)
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(text))
	}
	all := map[string]*upstreamFault{
		"500": {serve: func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "x", 500) }, says: "answers with status 500"},
		"page": {serve: func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "<!doctype html><title>Log in</title>")
		}, says: "is a web page"},
		"page-as-file": {serve: func(w http.ResponseWriter, _ *http.Request) {
			asFile(w, len(text))
			io.WriteString(w, "<html>"+text[6:])
		}, says: "is a web page"},
		"redirect-loop": {serve: func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }, says: "redirects"},
		"half": {serve: func(w http.ResponseWriter, _ *http.Request) {
			asFile(w, len(text)/2)
			io.WriteString(w, text[:len(text)/2])
		}, says: "is cut short"},
		"half-of-no-length": {serve: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/octet-stream")
			_ = http.NewResponseController(w).Flush()
			io.WriteString(w, text[:len(text)/2])
		}, says: "is cut short"},
		"too-long": {serve: func(w http.ResponseWriter, _ *http.Request) { asFile(w, 2*len(text)); io.WriteString(w, text) }, says: "broke off"},
		"empty":    {serve: func(w http.ResponseWriter, _ *http.Request) { asFile(w, 0) }, says: "is empty"},
		"script":   {serve: func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "#!ipxe\n") }, says: "not a kernel"},
		"drip": {serve: func(w http.ResponseWriter, r *http.Request) {
			asFile(w, len(text))
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for i := 0; r.Context().Err() == nil; i++ {
				io.WriteString(w, text[i:i+1])
				_ = http.NewResponseController(w).Flush()
				select {
				case <-r.Context().Done():
				case <-tick.C:
				}
			}
		}, says: "next to nothing"},
		"wrong-signature": {serve: whole, says: "is not signed by the key", signature: minisign.Sign(foreign, []byte(text))},
		"no-signature":    {serve: whole, says: "is not signed: there is no", signature: []byte{}},
	}
	for tenth := range 10 {
		die := func(w http.ResponseWriter) {
			w.Header().Set("Etag", etag)
			asFile(w, len(text))
			io.WriteString(w, text[:len(text)*tenth/10])
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
		all[fmt.Sprintf("dies-at-%d", tenth)] = &upstreamFault{serve: func(w http.ResponseWriter, _ *http.Request) { die(w) }, says: "broke off"}
		var daemons, commands atomic.Int64
		all[fmt.Sprintf("dies-once-at-%d", tenth)] = &upstreamFault{serve: func(w http.ResponseWriter, r *http.Request) {
			times := &commands
			if strings.HasPrefix(r.URL.Path, "/daemon/") {
				times = &daemons
			}
			if times.Add(1) == 1 {
				die(w)
			}
			whole(w, r)
		}}
	}
	return all
}

// TestFaultyUpstream: whatever goes wrong upstream, no node gets a bad kernel from the
// daemon, the command that syncs says what it is, what was booted before stays, and
// nothing is left of the rest. What is only interrupted is taken in the end.
func TestFaultyUpstream(t *testing.T) {
	t.Parallel()
	key, secret, err := minisign.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	_, foreign, err := minisign.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	good, text := kerneltest.EFI(strings.Repeat("good ", 60_000)), kerneltest.EFI(strings.Repeat("evil ", 60_000))
	all := faults(text, foreign)
	sign := func(w http.ResponseWriter, text string, other []byte) {
		signature := minisign.Sign(secret, []byte(text))
		if other != nil {
			signature = other
		}
		if len(signature) == 0 {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = w.Write(signature)
	}
	// /daemon is the daemon's upstream, which has the faults by name, and a good prod.efi;
	// /FAULT is the upstream of a command, of which prod.efi is the one with the fault.
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/kernel/")
		if name == "daemon" && strings.HasPrefix(rest, "net/prod.efi") {
			if rest == "net/prod.efi" {
				asFile(w, len(good))
				_, _ = io.WriteString(w, good)
			} else if rest == "net/prod.efi.minisig" {
				sign(w, good, nil)
			} else {
				http.NotFound(w, r)
			}
			return
		}
		kernel := "net/prod.efi"
		if name == "daemon" {
			name, _, _ = strings.Cut(rest, ".efi")
			kernel = name + ".efi"
		}
		f := all[name]
		switch {
		case f != nil && rest == kernel && r.Method == http.MethodHead:
			asFile(w, len(text)) // so that the node's request goes on
		case f != nil && rest == kernel:
			f.serve(w, r)
		case f != nil && rest == kernel+".minisig":
			sign(w, text, f.signature)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(up.Close)
	d := startDaemonAs(t, "farmboot", func(d *daemon) {
		d.configure(fmt.Sprintf("kernel.upstream = %q\nkernel.trust = %q", up.URL+"/daemon", key.String()))
	})
	d.says("took a kernel from upstream", 1)
	d.until("what was taken is noted", func() bool { return slices.Contains(d.kernels(), ".upstream.json") })
	before := d.kernels()

	// They wait, most of the time. The daemon takes 16 kernels at once.
	var meeting errgroup.Group
	meeting.SetLimit(14)
	for name, f := range all {
		meeting.Go(func() error {
			var node sync.WaitGroup
			node.Go(func() { f.meetNode(t, name, fmt.Sprintf("http://127.0.0.1:%d/kernel/%s.efi", d.port, name), text) })
			defer node.Wait()
			state := d.state
			if f.says == "" {
				state = filepath.Join(t.TempDir(), "state")
			}
			f.meetCommand(t, name, fmt.Sprintf("state = %q\nkernel.upstream = %q\nkernel.trust = %q\n", state, up.URL+"/"+name, key.String()), filepath.Join(state, "kernel/net/prod.efi"), text)
			return nil
		})
	}
	if err := meeting.Wait(); err != nil {
		t.Error(err)
	}
	if status, got := d.get("/kernel/net/prod.efi"); status != http.StatusOK || got != good {
		t.Errorf("prod boots status %d, %d bytes", status, len(got))
	}
	var left []string
	for _, name := range d.kernels() {
		if f := all[strings.TrimSuffix(strings.TrimSuffix(name, ".minisig"), ".efi")]; f == nil || f.says != "" {
			left = append(left, name)
		}
	}
	if fmt.Sprint(left) != fmt.Sprint(before) {
		t.Errorf("left %v, before there was %v", left, before)
	}
}

// meetNode has a node fetch the kernel from the daemon.
func (f *upstreamFault) meetNode(t *testing.T, name, url, text string) {
	status, got, err := getAll(t, url)
	if taken := status == http.StatusOK && err == nil; taken != (f.says == "") || taken && got != text {
		t.Errorf("%s: a node gets status %d, %d bytes, %v", name, status, len(got), err)
	}
}

// meetCommand syncs with that configuration.
func (f *upstreamFault) meetCommand(t *testing.T, name, config, prod, text string) {
	file := filepath.Join(t.TempDir(), "a.toml")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		t.Error(err)
		return
	}
	cmd := exec.CommandContext(t.Context(), "farmboot", "--config", file, "kernel", "sync")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	err := cmd.Run()
	if f.says == "" {
		if got, readErr := os.ReadFile(prod); err != nil || readErr != nil || string(got) != text {
			t.Errorf("%s: not taken: %v %v %s", name, err, readErr, errs.String())
		}
		return
	}
	line := errs.String()
	if warning, rest, ok := strings.Cut(line, "\n"); ok && strings.Contains(warning, "warning: the daemon") {
		line = rest // it runs with another configuration
	}
	if err == nil || !strings.Contains(line, f.says) || strings.Count(line, "\n") != 1 {
		t.Errorf("%s: %v, want it to say %q in one line: %s", name, err, f.says, errs.String())
	}
}

// kernels lists what is in the kernel folder, temporary files too.
func (d *daemon) kernels() (names []string) {
	d.t.Helper()
	entries, err := os.ReadDir(filepath.Join(d.state, "kernel"))
	if err != nil {
		d.t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// getAll fetches a URL, and tells where that breaks off.
func getAll(t *testing.T, url string) (status int, text string, err error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(b), err
}

// TestFullDisk: a kernel that the disk has no room for is refused, whether upstream
// announces its length or not, by the command and by the daemon; what was there stays.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	needs.Root(t)
	needs.Template(t)
	first, next := kerneltest.EFI(strings.Repeat("first ", 100_000)), kerneltest.EFI(strings.Repeat("next ", 120_000))
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text := next
		switch name, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/kernel/"); {
		case rest != "net/prod.efi" && rest != "own.efi":
			http.NotFound(w, r)
			return
		case name == "first":
			text = first
		case name == "full-of-no-length":
			w.Header().Set("Content-Type", "application/octet-stream")
			_ = http.NewResponseController(w).Flush()
			_, _ = io.WriteString(w, text)
			return
		}
		asFile(w, len(text))
		_, _ = io.WriteString(w, text)
	}))
	t.Cleanup(up.Close)
	state := t.TempDir()
	if err := os.MkdirAll(filepath.Join(state, "kernel"), 0o755); err != nil {
		t.Fatal(err)
	}
	file, port := daemonConfig(t, state)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	configs := map[string]string{}
	for _, name := range []string{"first", "full", "full-of-no-length"} {
		configs[name] = filepath.Join(t.TempDir(), "a.toml")
		if err := os.WriteFile(configs[name], fmt.Appendf(nil, "%skernel.upstream = %q\n", text, up.URL+"/"+name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd, lines := mounted(t, `
		mount -t tmpfs -o size=1m none "$1/kernel"
		farmboot --config "$2" kernel sync >&2
		! farmboot --config "$3" kernel sync
		! farmboot --config "$4" kernel sync
		exec farmboot --config "$4" serve`, state, configs["first"], configs["full"], configs["full-of-no-length"])
	var log strings.Builder
	for lines.Scan() {
		log.WriteString(lines.Text() + "\n")
		if !strings.Contains(lines.Text(), "not everything could be taken") {
			continue
		}
		url := fmt.Sprintf("http://%s/kernel/", net.JoinHostPort("127.0.0.1", fmt.Sprint(port)))
		if status, got, err := getAll(t, url+"net/prod.efi"); status != http.StatusOK || err != nil || got != first {
			t.Errorf("prod boots status %d, %d bytes, %v", status, len(got), err)
		}
		if status, got, err := getAll(t, url+"own.efi"); status == http.StatusOK && err == nil {
			t.Errorf("a node gets %d bytes of a kernel that could not be stored", len(got))
		}
		entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/root%s/kernel", cmd.Process.Pid, state))
		if err != nil {
			t.Error(err)
		}
		for _, e := range entries {
			if !strings.HasPrefix(e.Name(), "prod-") && e.Name() != "net" && e.Name() != ".upstream.json" {
				t.Errorf("left %s", e.Name())
			}
		}
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if n := strings.Count(log.String(), "farmboot: net/prod.efi: store "); n != 2 || strings.Count(log.String(), "the disk is full") < 3 {
		t.Errorf("%d commands say that the disk is full", n)
	}
	if t.Failed() {
		t.Log(log.String())
	}
}
