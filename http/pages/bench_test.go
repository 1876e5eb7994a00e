package pages_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"

	apphttp "farmboot/http"
	"farmboot/http/answer"
	"farmboot/http/pages"
	"farmboot/ipxe"
	"farmboot/ipxe/catalog"
	"farmboot/ipxe/image"
	"farmboot/ipxe/kernel"
	"farmboot/provisioning"
)

// bench is the public pages with fakes around them.
type bench struct {
	pages.Pages
	dir string // kernels
}

var modes = provisioning.RunModes{"prod": "Production", "test": "Testing", "qa": "Quality assurance", "dev": "Development"}

func site(netip.Addr) ipxe.Site {
	return ipxe.Site{Composer: ipxe.Composer{KernelArgs: "nomodeset version=v3 panic=7200", RunModes: modes}, Base: "http://192.0.2.1", NTP: "pool.ntp.org"}
}

func newBench(t testing.TB) *bench {
	t.Helper()
	dir := t.TempDir()
	return &bench{
		dir: dir,
		Pages: pages.Pages{
			Answer: answer.NewAdapter(slog.New(slog.DiscardHandler), time.Now, prometheus.NewRegistry()),
			Site:   site, Kernels: kernel.Open(dir, filepath.Join(dir, "net")), Describe: describe,
		},
	}
}

// names are the file names of the contract.
var names = map[string][2]string{
	"iso": {"ipxe-", ".iso"}, "usb": {"ipxe-", ".img"}, "uefi": {"ipxe-", ".efi"},
	"uefimg": {"uefiusb-", ".img"}, "krn": {"ipxe-", ".lkrn"}, "snponly": {"ipxe-snp-", ".efi"},
}

// imageOf is what the fake composer makes: the order, readable.
func imageOf(path string) []byte { return []byte("image of " + strings.Repeat(path+"\n", 40000)) }

func describe(o catalog.Order) (catalog.Download, error) {
	kind, arch := string(o.Kind), o.Options.Arch
	if arch != "" && arch != image.AMD64 && o.Kind != image.UEFI {
		return catalog.Download{}, provisioning.Errorf(provisioning.Invalid, "no %s image for %s: accepted is x64", kind, arch)
	}
	script, err := site(o.Local).Boot(o.Target)
	if err != nil {
		return catalog.Download{}, err
	}
	name := string(o.Target.RunMode)
	if o.Target.Farmer != 0 {
		name += "-" + o.Target.Farmer.String()
	}
	made := imageOf(o.URL())
	return catalog.Download{
		URL: o.URL(), Name: names[kind][0] + name + names[kind][1],
		Size: int64(len(made)), SHA256: fmt.Sprintf("%x", sha256.Sum256(made)), Script: string(script),
	}, nil
}

// images serves what describe promises.
type images struct{}

func (images) Routes(r *mux.Router) {
	r.HandleFunc("/{kind:iso|usb|uefi|uefimg|krn|snponly}/{rest:.*}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = w.Write(imageOf(r.URL.EscapedPath()))
	})
}

func (b *bench) write(t testing.TB, name, content string) {
	t.Helper()
	path := filepath.Join(b.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
		t.Fatal(err)
	}
}

func (b *bench) get(t testing.TB, target string, header ...string) (*http.Response, string) {
	t.Helper()
	return do(t, apphttp.Plane(&b.Pages, images{}), httptest.NewRequest("GET", "http://evil.example"+target, nil), header...)
}

func do(t testing.TB, h http.Handler, req *http.Request, header ...string) (*http.Response, string) {
	t.Helper()
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	body, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Result(), string(body)
}
