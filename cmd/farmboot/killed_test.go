package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"farmboot/ipxe/kernel/kerneltest"
)

// kills is 100 in make kills.
var kills = flag.Int("kills", 10, "how often farmboot is killed while it gives a run mode another kernel")

// killed is an appliance whose commands, and whose daemon, are killed.
type killed struct {
	*daemon
	whole    map[string]string // kernels that there ever were, by SHA-256
	upstream atomic.Value      // what it has as prod.efi
	died     int               // by our hand, in time
}

// make makes a kernel that is like no other.
func (k *killed) make(what string) string {
	text := kerneltest.EFI(what + strings.Repeat(" "+what, 300_000/len(what)))
	k.whole[sumOf(text)] = text
	return text
}

func sumOf(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text))) }

// TestKilled: farmboot is killed with SIGKILL at any time while it gives a run mode another
// kernel, by use, promote, rollback, sync and by the daemon's own sync. Each time the run
// mode boots the one kernel or the other, whole, and its history agrees; nothing else is
// served; and the next command works.
func TestKilled(t *testing.T) {
	t.Parallel()
	k := &killed{whole: map[string]string{sumOf("MZ"): "MZ"}}
	release := httptest.NewServer(http.HandlerFunc(k.serveSlowly))
	t.Cleanup(release.Close)
	k.upstream.Store(k.make("release 0"))
	k.daemon = startDaemonAs(t, "farmboot", func(d *daemon) {
		d.configure(fmt.Sprintf("kernel.upstream = %q\nkernel.refresh = \"24h\"", release.URL))
	})
	k.says("took a kernel from upstream", 1)
	for _, name := range []string{"a.efi", "b.efi"} {
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, []byte(k.make(name)), 0o644); err != nil {
			t.Fatal(err)
		}
		k.do("kernel", "add", file)
	}
	k.do("node", "add", nodeMAC(1))
	changes := []struct {
		name  string
		begin []string // what is done before; nil: nothing
		args  []string // what is killed; nil: the daemon, as it starts
		to    string   // what prod boots after that; "": upstream's
	}{
		{"use", nil, []string{"kernel", "use", "prod", "b.efi"}, "b.efi"},
		{"promote", []string{"kernel", "use", "prod", "b.efi", "--canary", nodeMAC(1)}, []string{"kernel", "promote", "prod"}, "b.efi"},
		{"rollback", nil, []string{"kernel", "rollback", "prod"}, "b.efi"},
		{"sync", nil, []string{"kernel", "sync"}, ""},
		{"sync of the daemon", []string{"kernel", "sync"}, nil, ""},
	}
	took := make([]time.Duration, len(changes))
	for round := range len(changes) + *kills {
		n := round % len(changes)
		c := changes[n]
		k.do("kernel", "use", "prod", "b.efi")
		k.do("kernel", "use", "prod", "a.efi")
		if c.begin != nil {
			k.do(c.begin...)
		}
		before, after := k.boots(c.name), ""
		if c.to != "" {
			after = sumOf(k.kernel(c.to))
		} else {
			next := k.make(fmt.Sprintf("release %d", round+1))
			k.upstream.Store(next)
			after = sumOf(next)
		}
		if round < len(changes) { // nobody is killed, to see how long it takes
			took[n] = k.change(c.args, after, 0)
		} else {
			k.change(c.args, after, rand.N(took[n])+time.Millisecond)
		}
		now := k.boots(c.name)
		if now != before && now != after {
			t.Errorf("%s: prod boots %s, neither %s nor %s", c.name, now, before, after)
		}
		if round < len(changes) && now != after {
			t.Errorf("%s: prod boots %s, want %s", c.name, now, after)
		}
		k.nothingElse(c.name)
		k.do("kernel", "use", "prod", "b.efi")
		if got := k.boots("the next command"); got != sumOf(k.kernel("b.efi")) {
			t.Errorf("after %s, use: prod boots %s", c.name, got)
		}
		if t.Failed() {
			return
		}
	}
	t.Logf("%d of %d died in time; unhurt they take %v", k.died, *kills, took)
	if k.died < *kills/4 {
		t.Errorf("%d of %d died in time", k.died, *kills)
	}
	k.kill()
	k.launch()
	k.says("msg=ready", strings.Count(k.text(), "msg=ready")+1)
	left, err := filepath.Glob(filepath.Join(k.state, "kernel/.new-*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left %v, %v", left, err)
	}
}

// serveSlowly is the upstream: a kernel takes a tenth of a second.
func (k *killed) serveSlowly(w http.ResponseWriter, r *http.Request) {
	text := k.upstream.Load().(string)
	if r.URL.Path != "/kernel/net/prod.efi" {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Etag", `"`+sumOf(text)+`"`)
	if r.Header.Get("If-None-Match") == `"`+sumOf(text)+`"` {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Header().Set("Content-Length", fmt.Sprint(len(text)))
	for part := range slices.Chunk([]byte(text), len(text)/10+1) {
		if _, err := w.Write(part); err != nil {
			return
		}
		_ = http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// kernel reads a kernel of the folder.
func (k *killed) kernel(name string) string {
	k.t.Helper()
	text, err := os.ReadFile(filepath.Join(k.state, "kernel", name))
	if err != nil {
		k.t.Fatal(err)
	}
	return string(text)
}

// boots returns the SHA-256 of what prod boots, and says where the file, the daemon and the
// history disagree.
func (k *killed) boots(what string) string {
	k.t.Helper()
	sum := sumOf(k.kernel("net/prod.efi"))
	if k.whole[sum] == "" {
		k.t.Errorf("%s: prod boots what is no kernel: %s", what, sum)
	}
	if status, text := k.get("/kernel/net/prod.efi"); status != http.StatusOK || sumOf(text) != sum {
		k.t.Errorf("%s: nodes get status %d, %d bytes", what, status, len(text))
	}
	var history []struct {
		Canary      *struct{ SHA256 string }
		Generations []struct{ SHA256 string }
	}
	if err := json.Unmarshal([]byte(k.do("kernel", "history", "prod", "--json")), &history); err != nil {
		k.t.Fatal(err)
	}
	if h := history[0]; len(h.Generations) == 0 || h.Generations[0].SHA256 != sum || h.Canary != nil && k.whole[h.Canary.SHA256] == "" {
		k.t.Errorf("%s: prod boots %s, and its history says %+v", what, sum, h)
	}
	return sum
}

// nothingElse says what is there, or given to nodes, that is no whole kernel.
func (k *killed) nothingElse(what string) {
	k.t.Helper()
	entries, err := os.ReadDir(filepath.Join(k.state, "kernel"))
	if err != nil {
		k.t.Fatal(err)
	}
	for _, e := range entries {
		status, text := k.get("/kernel/" + e.Name())
		_, gone := os.Stat(filepath.Join(k.state, "kernel", e.Name()))
		switch {
		case e.IsDir():
		case status == http.StatusNotFound && errors.Is(gone, os.ErrNotExist): // a former one, removed meanwhile
		case strings.HasPrefix(e.Name(), "."):
			if status != http.StatusNotFound {
				k.t.Errorf("%s: nodes get %s: status %d", what, e.Name(), status)
			}
		case status != http.StatusOK || k.whole[sumOf(text)] == "":
			k.t.Errorf("%s: nodes get of %s status %d, %d bytes", what, e.Name(), status, len(text))
		}
	}
}

// change runs a command, or starts the daemon anew, kills it after that time, 0: not, and
// tells how long it took. The daemon is started once more where it was killed, and takes
// what prod is to boot.
func (k *killed) change(args []string, to string, after time.Duration) time.Duration {
	k.t.Helper()
	began := time.Now()
	if args != nil {
		cmd := exec.CommandContext(context.WithoutCancel(k.t.Context()), "farmboot", append([]string{"--config", k.file}, args...)...)
		var errs bytes.Buffer
		cmd.Stderr = &errs
		if err := cmd.Start(); err != nil {
			k.t.Fatal(err)
		}
		if after > 0 {
			defer time.AfterFunc(after, func() { _ = cmd.Process.Kill() }).Stop()
		}
		err := cmd.Wait()
		if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.Sys().(syscall.WaitStatus).Signaled() {
			k.died++
		} else if err != nil {
			k.t.Errorf("%s: %v %s", strings.Join(args, " "), err, errs.String())
		}
		return time.Since(began)
	}
	k.kill()
	ready := strings.Count(k.text(), "msg=ready")
	began = time.Now()
	k.launch()
	if after > 0 {
		<-time.After(after)
		k.kill()
		k.died++
		if sum := sumOf(k.kernel("net/prod.efi")); k.whole[sum] == "" {
			k.t.Errorf("killed, it leaves %s", sum)
		}
		ready = strings.Count(k.text(), "msg=ready")
		k.launch()
	}
	k.says("msg=ready", ready+1)
	k.until("prod boots what upstream has", func() bool { return sumOf(k.kernel("net/prod.efi")) == to })
	return time.Since(began)
}
