package http_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	apphttp "farmboot/http"
	"farmboot/ipxe/kernel"
	"farmboot/ipxe/kernel/kerneltest"
	"farmboot/ipxe/upstream"
	"farmboot/provisioning"
)

// newFarm returns a boot plane without kernels, which takes them from upstream.
func newFarm(t *testing.T, url string) (*bench, *httptest.Server) {
	t.Helper()
	b := newBench(t)
	if err := os.RemoveAll(b.dir); err != nil {
		t.Fatal(err)
	}
	u, err := upstream.New(upstream.Options{
		Base: url, Keep: 1, Modes: []provisioning.RunMode{"prod", "test"}, Client: upstream.NewClient(upstream.DefaultLimits),
		Store: b.Kernels, Editor: kernel.NewEditor(b.Kernels, kerneltest.NoNodes{}), Log: slog.New(slog.DiscardHandler), Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.Close)
	b.Kernels.SetUpstream(u)
	b.Upstream = u
	server := httptest.NewServer(apphttp.Plane(&b.Boot))
	t.Cleanup(server.Close)
	return b, server
}

// fetch gets a URL, whatever comes.
func fetch(t *testing.T, url string) (status int, text string, h http.Header, err error) {
	t.Helper()
	res, err := http.Get(url)
	if err != nil { // it may break off before the first byte
		return 0, "", nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, string(b), res.Header, err
}

// TestChain: a hub that has kernels, a farm that takes them from it while its nodes boot,
// and what the farm has when the hub is gone.
func TestChain(t *testing.T) {
	hub := newBench(t)
	v1 := kerneltest.EFI(strings.Repeat("v1 ", 500_000))
	hub.write("v1.efi", v1)
	hub.write("v1.efi.minisig", "a signature")
	if err := os.Remove(filepath.Join(hub.dir, "net/prod.efi")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../v1.efi", filepath.Join(hub.dir, "net/prod.efi")); err != nil {
		t.Fatal(err)
	}
	hubServer := httptest.NewServer(apphttp.Plane(&hub.Boot))
	defer hubServer.Close()
	_, middle := newFarm(t, hubServer.URL)
	farm, server := newFarm(t, middle.URL)
	node, err := provisioning.ParseMAC("52:54:00:00:00:01")
	if err != nil {
		t.Fatal(err)
	}
	farm.nodes[node] = provisioning.Assignment{Policy: provisioning.Boot, Node: provisioning.Node{MAC: node, RunMode: "prod"}}

	if _, script, _, _ := fetch(t, server.URL+"/provision/"+node.String()); !strings.Contains(script, "/kernel/net/prod.efi") || strings.Contains(script, "missing kernel") {
		t.Errorf("a node whose kernel is upstream is told:\n%s", script)
	}
	if res, err := http.Head(server.URL + "/kernel/net/prod.efi"); err != nil || res.StatusCode != 200 || res.ContentLength != int64(len(v1)) {
		t.Errorf("HEAD: %+v, %v", res, err)
	}
	var nodes sync.WaitGroup
	for range 8 {
		nodes.Go(func() {
			if status, text, h, err := fetch(t, server.URL+"/kernel/net/prod.efi"); status != 200 || text != v1 || h.Get("Content-Length") != fmt.Sprint(len(v1)) || err != nil {
				t.Errorf("a node got status %d, %d bytes, %v, %v", status, len(text), h, err)
			}
		})
	}
	nodes.Wait()
	hubServer.Close()
	middle.Close()
	for path, want := range map[string]string{"/kernel/net/prod.efi": v1, "/kernel/v1.efi": v1, "/kernel/net/prod.efi.sha256": fmt.Sprintf("%x", sha256.Sum256([]byte(v1))) + "  prod.efi\n"} {
		if status, text, _, err := fetch(t, server.URL+path); status != 200 || text != want || err != nil {
			t.Errorf("without the hub: %s: status %d, %d bytes, %v", path, status, len(text), err)
		}
	}
	if _, script, _, _ := fetch(t, server.URL+"/provision/"+node.String()); !strings.Contains(script, "/kernel/net/prod.efi") {
		t.Errorf("script:\n%s", script)
	}
	farm.nodes[node] = provisioning.Assignment{Policy: provisioning.Boot, Node: provisioning.Node{MAC: node, RunMode: "test"}}
	if _, script, _, _ := fetch(t, server.URL+"/provision/"+node.String()); !strings.Contains(script, "cannot be taken from") {
		t.Errorf("a node whose kernel is nowhere is told:\n%s", script)
	}
	if status, text, _, _ := fetch(t, server.URL+"/kernel/net/test.efi"); status != 503 || !strings.Contains(text, "cannot be taken from upstream") {
		t.Errorf("status %d, %s", status, text)
	}
}

// TestTornPull: a node that was being given a kernel which turns out to be bad gets a
// torn connection, never the whole.
func TestTornPull(t *testing.T) {
	v1 := kerneltest.EFI(strings.Repeat("v1 ", 500_000))
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/kernel/net/prod.efi":
			w.Header().Set("Content-Length", fmt.Sprint(len(v1)))
			_, _ = io.WriteString(w, v1)
		case "/kernel/net/prod.efi.sha256":
			_, _ = io.WriteString(w, strings.Repeat("0", 64))
		default:
			http.NotFound(w, r)
		}
	}))
	defer up.Close()
	farm, server := newFarm(t, up.URL)
	_, text, _, err := fetch(t, server.URL+"/kernel/net/prod.efi")
	if err == nil || len(text) >= len(v1) {
		t.Errorf("got %d bytes, %v", len(text), err)
	}
	if _, err := farm.Kernels.Stat("net/prod.efi"); provisioning.ErrorCode(err) != provisioning.NotFound {
		t.Errorf("it is here: %v", err)
	}
}

func TestListImages(t *testing.T) {
	b := newBench(t)
	old := time.Unix(1767225600, 0)
	if err := os.Chtimes(filepath.Join(b.dir, "zos.efi"), old, old); err != nil {
		t.Fatal(err)
	}
	b.write("new.efi", "MZ")
	b.write("new.efi.minisig", "a signature")
	server := httptest.NewServer(apphttp.Plane(&b.Boot))
	defer server.Close()
	status, text, h, err := fetch(t, server.URL+"/api/images")
	var list []struct {
		Name      string
		Timestamp int64
	}
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if status != 200 || err != nil || h.Get("Content-Type") != "application/json" || len(list) != 2 || list[0].Name != "new.efi" || list[1].Name != "zos.efi" || list[1].Timestamp != 1767225600 {
		t.Errorf("%d %s, %v", status, text, err)
	}
}
