//go:build objectstore

package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"farmboot/ipxe/kernel/kerneltest"
)

// objectStore is a bucket that all may read, of VersityGW, which speaks S3.
type objectStore struct {
	t   *testing.T
	url string
}

const storeKey, storeSecret = "farmboot", "not a secret"

// startObjectStore builds the store, starts it and makes the bucket.
func startObjectStore(t *testing.T) *objectStore {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "versitygw")
	build := exec.CommandContext(t.Context(), "go", "build", "-modfile=setup/objectstore.mod", "-o", program, "github.com/versity/versitygw/cmd/versitygw")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the object store: %v: %s", err, out)
	}
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o755); err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	s := &objectStore{t: t, url: "http://" + address + "/farm"}
	store := exec.CommandContext(t.Context(), program, "--port", address, "posix", data) // killed when the test ends
	store.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+storeKey, "ROOT_SECRET_KEY="+storeSecret)
	if err := store.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Wait() }) // it was killed
	s.do("--retry", "60", "--retry-delay", "1", "--retry-connrefused", "-X", "PUT", s.url)
	s.do("-X", "PUT", s.url+"?policy=", "-d", `{"Statement":[{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::farm/*"}]}`)
	return s
}

// do makes a request with the store's key.
func (s *objectStore) do(args ...string) {
	s.t.Helper()
	args = append([]string{"-fsS", "--aws-sigv4", "aws:amz:us-east-1:s3", "--user", storeKey + ":" + storeSecret, "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD"}, args...)
	if out, err := exec.CommandContext(s.t.Context(), "curl", args...).CombinedOutput(); err != nil {
		s.t.Fatalf("curl %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// put makes or replaces an object.
func (s *objectStore) put(name, text string) {
	s.t.Helper()
	file := filepath.Join(s.t.TempDir(), "object")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
	s.do("-T", file, s.url+"/"+name)
}

// cable leads to the store, and can be cut once.
type cable struct {
	cutAfter atomic.Int64 // bytes of the next answer that is longer; 0: never
	ranges   atomic.Value // the header Range of the last request that had one
}

// cutBody is the body of an answer that breaks off.
type cutBody struct {
	io.Reader
	io.Closer
}

func (c *cable) cut(res *http.Response) error {
	if after := c.cutAfter.Load(); after > 0 && res.ContentLength > after && c.cutAfter.CompareAndSwap(after, 0) {
		res.Body = cutBody{io.MultiReader(io.LimitReader(res.Body, after), brokenReader{}), res.Body}
	}
	return nil
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// TestObjectStore: an appliance takes its kernels from an object store as it does from a
// web server: at once, by the first node that asks, again when they have changed, on from
// where a download broke off; what does not match its digest is not taken.
func TestObjectStore(t *testing.T) {
	store := startObjectStore(t)
	u, err := url.Parse(store.url)
	if err != nil {
		t.Fatal(err)
	}
	c := new(cable)
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: u.Scheme, Host: u.Host})
	proxy.ModifyResponse = c.cut
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ranges := r.Header.Get("Range"); ranges != "" {
			c.ranges.Store(ranges)
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(up.Close)

	kernel := func(version string) string { return kerneltest.EFI(strings.Repeat(version, 1<<20)) }
	sum := func(text string) string { return fmt.Sprintf("%x  kernel\n", sha256.Sum256([]byte(text))) }
	v1, v2, v3, own := kernel("v1"), kernel("v2"), kernel("v3"), kernel("own")
	store.put("kernel/net/prod.efi", v1)
	store.put("kernel/own.efi", own)
	store.put("kernel/own.efi.sha256", sum(own))
	d := startDaemonAs(t, "farmboot", func(d *daemon) {
		d.remove("kernel")
		d.configure(fmt.Sprintf("kernel.upstream = %q\nkernel.refresh = \"24h\"", up.URL+u.Path))
	})
	boots := func(path, want string) {
		t.Helper()
		if status, text := d.get("/kernel/" + path); status != http.StatusOK || text != want {
			t.Errorf("%s: status %d, %d bytes", path, status, len(text))
		}
	}
	sync := func(want int, words string) {
		t.Helper()
		if status, out, errs := d.command("kernel", "sync"); status != want || !strings.Contains(out+errs, words) {
			t.Errorf("kernel sync, want %q: %d %s%s", words, status, out, errs)
		}
	}
	d.says("took a kernel from upstream", 1)
	boots("net/prod.efi", v1)
	boots("own.efi", own)
	sync(0, "is what upstream has")

	store.put("kernel/net/prod.efi", v2)
	sync(0, "run mode prod boots")
	boots("net/prod.efi", v2)

	store.put("kernel/net/prod.efi", v3)
	store.put("kernel/net/prod.efi.sha256", sum(v3))
	c.cutAfter.Store(1_000_000)
	sync(0, "run mode prod boots")
	boots("net/prod.efi", v3)
	if got := c.ranges.Load(); got != "bytes=1000000-" {
		t.Errorf("after it broke off it asked for %v", got)
	}

	store.put("kernel/net/prod.efi", v1) // with the digest of v3
	sync(1, "SHA-256")
	boots("net/prod.efi", v3)
}
