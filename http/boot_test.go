package http_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	apphttp "farmboot/http"
	"farmboot/http/answer"
	"farmboot/ipxe"
	"farmboot/ipxe/catalog"
	"farmboot/ipxe/kernel"
	"farmboot/ipxe/segment"
	"farmboot/provisioning"
	"farmboot/provisioning/cause"
)

// bench is a boot plane with fakes around it.
type bench struct {
	apphttp.Boot
	t         *testing.T
	dir       string // kernels
	nodes     map[provisioning.MAC]provisioning.Assignment
	failing   error // of the store
	unhealthy string

	mu     sync.Mutex
	events []provisioning.Event
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, dir: t.TempDir(), nodes: map[provisioning.MAC]provisioning.Assignment{}}
	reg := prometheus.NewRegistry()
	now := func() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }
	b.Boot = apphttp.Boot{
		Unhealthy: func(context.Context) string { return b.unhealthy },
		Answer:    answer.NewAdapter(slog.New(slog.DiscardHandler), now, reg), Now: now, Metrics: reg,
		Site: func(local netip.Addr) ipxe.Site {
			return ipxe.Site{
				Composer: ipxe.Composer{KernelArgs: "version=v3", RunModes: provisioning.RunModes{"prod": "Production", "test": "Testing"}},
				Base:     "http://192.0.2.1",
			}
		},
		Admit: func(_ context.Context, m provisioning.MAC) (provisioning.Assignment, error) {
			return b.nodes[m], b.failing
		},
		Assignment: func(_ context.Context, m provisioning.MAC) (provisioning.Assignment, error) {
			return b.nodes[m], b.failing
		},
		Catalog: programs{},
		Kernels: kernel.Open(b.dir, filepath.Join(b.dir, "net")),
		RootPEM: func() []byte { return []byte("PEM") },
		Record: func(e provisioning.Event) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.events = append(b.events, e)
		},
	}
	b.write("net/prod.efi", "MZ prod kernel")
	b.write("zos.efi", "MZ zos kernel")
	return b
}

// programs is a catalog with one program.
type programs struct{}

func (programs) Program(name string, _ netip.Addr) (catalog.File, error) {
	if name != "ipxe.efi" {
		return catalog.File{}, provisioning.Errorf(provisioning.NotFound, "no such program")
	}
	return catalog.File{Name: name, ContentType: "application/efi", ETag: `"1"`, Content: segment.Of([]byte("MZ-program"))}, nil
}

// Image makes a file of what was ordered.
func (programs) Image(o catalog.Order) (catalog.File, error) {
	if m := o.Target.RunMode; o.Kind.NeedsTarget() && m != "prod" {
		return catalog.File{}, provisioning.Errorf(provisioning.NotFound, "unknown run mode")
	}
	return catalog.File{
		Name: "ipxe-" + string(o.Target.RunMode) + "." + string(o.Kind), ContentType: o.Kind.ContentType(), ETag: `"1"`,
		Content: segment.Of(fmt.Appendf(nil, "%+v", o)),
	}, nil
}

func (p programs) Describe(o catalog.Order) (catalog.Download, error) {
	f, err := p.Image(o)
	if err != nil {
		return catalog.Download{}, err
	}
	return catalog.Download{Name: f.Name, SHA256: fmt.Sprintf("%x", f.Content.SHA256())}, nil
}

func (b *bench) write(name, content string) {
	b.t.Helper()
	path := filepath.Join(b.dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
		b.t.Fatal(err)
	}
}

// do asks for a request target just as it is written.
func (b *bench) do(method, target string, header ...string) *http.Response {
	b.t.Helper()
	req := httptest.NewRequest(method, "http://evil.example"+target, nil)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	apphttp.Plane(&b.Boot).ServeHTTP(w, req)
	return w.Result()
}

func body(t *testing.T, r *http.Response) string {
	t.Helper()
	s, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(s)
}

var mac = provisioning.MAC{0x52, 0x54, 0, 0, 0, 0xb1}

// TestOnce: what a node gets for its next boot alone ends when its script has gone out,
// and not when somebody looks at it, or when it was refused.
func TestOnce(t *testing.T) {
	node := provisioning.Node{MAC: mac, RunMode: "prod", Kernel: "zos.efi", Once: "zos.efi"}
	refused := node
	refused.Kernel = "gone.efi"
	for _, tt := range []struct {
		name, method string
		gets         provisioning.Assignment
		consumed     int
		says         string
	}{
		{"kernel", "GET", provisioning.Assignment{Policy: provisioning.Boot, Registered: true, Once: true, Node: node}, 1, "/kernel/zos.efi"},
		{"exit", "GET", provisioning.Assignment{Policy: provisioning.Exit, Registered: true, Once: true, Node: node}, 1, "next boot device, this once"},
		{"exit for good", "GET", provisioning.Assignment{Policy: provisioning.Exit, Registered: true, Node: node}, 0, "--no-exit"},
		{"only looked at", "HEAD", provisioning.Assignment{Policy: provisioning.Boot, Registered: true, Once: true, Node: node}, 0, ""},
		{"refused", "GET", provisioning.Assignment{Policy: provisioning.Boot, Registered: true, Once: true, Node: refused}, 0, "missing kernel"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			b.nodes[mac] = tt.gets
			consumed := 0
			b.Consume = func(_ context.Context, a provisioning.Assignment) error {
				if a.Node.MAC != mac {
					t.Errorf("consumed %+v", a)
				}
				consumed++
				return errors.New("the disk is full") // which keeps no node from booting
			}
			r := b.do(tt.method, "/provision/5254000000b1")
			if text := body(t, r); r.StatusCode != 200 || !strings.Contains(text, tt.says) || consumed != tt.consumed {
				t.Errorf("status %d, consumed %d times: %s", r.StatusCode, consumed, text)
			}
		})
	}
}

func TestProvision(t *testing.T) {
	node := provisioning.Node{MAC: mac, RunMode: "prod", Farmer: 9}
	noKernel := provisioning.Node{MAC: mac, RunMode: "test"}
	emptyKernel := provisioning.Node{MAC: mac, RunMode: "prod", Kernel: "empty.efi"}
	for _, tt := range []struct {
		name   string
		gets   provisioning.Assignment
		target string
		status int
		stage  provisioning.Stage
		says   string
	}{
		{"registered", provisioning.Assignment{Policy: provisioning.Boot, Registered: true, Node: node}, "/provision/52:54:00:00:00:b1", 200, provisioning.StageScript, "runmode=prod farmer_id=9"},
		{"other notation", provisioning.Assignment{Policy: provisioning.Boot, Registered: true, Node: node}, "/provision/52-54-00-00-00-B1/", 200, provisioning.StageScript, "farmer_id=9"},
		{"percent-encoded", provisioning.Assignment{Policy: provisioning.Boot, Registered: true, Node: node}, "/provision/52%3A54%3A00%3A00%3A00%3Ab1?uuid=1", 200, provisioning.StageScript, "farmer_id=9"},
		{"too many digits", provisioning.Assignment{Policy: provisioning.Boot, Node: node}, "/provision/525400000000b1", 400, "", "bad MAC address"},
		{"default", provisioning.Assignment{Policy: provisioning.Boot, Node: node}, "/provision/5254000000b1", 200, provisioning.StageScript, "not registered"},
		{"no kernel", provisioning.Assignment{Policy: provisioning.Boot, Registered: true, Node: noKernel}, "/provision/5254000000b1", 200, provisioning.StageRefused, "missing kernel net/test.efi"},
		{"an empty kernel", provisioning.Assignment{Policy: provisioning.Boot, Registered: true, Node: emptyKernel}, "/provision/5254000000b1", 200, provisioning.StageScript, "/kernel/empty.efi"},
		{"hold", provisioning.Assignment{Policy: provisioning.Hold, Code: "K7XQ"}, "/provision/5254000000b1", 200, provisioning.StageHold, "claim code .. K7XQ"},
		{"hold again", provisioning.Assignment{Policy: provisioning.Hold, Code: "K7XQ"}, "/provision/5254000000b1?held=1", 200, "", "claim code .. K7XQ"},
		{"exit", provisioning.Assignment{Policy: provisioning.Exit}, "/provision/5254000000b1", 200, provisioning.StageExit, "\niseq ${platform} efi && exit 1 || exit\n"},
		{"ignore", provisioning.Assignment{Policy: provisioning.Ignore}, "/provision/5254000000b1", 404, provisioning.StageRefused, "ignored"},
		{"group address", provisioning.Assignment{}, "/provision/ff:ff:ff:ff:ff:ff", 400, "", "group address"},
		{"no MAC", provisioning.Assignment{}, "/provision/nonsense", 400, "", "accepted are"},
		{"empty", provisioning.Assignment{}, "/provision/", 400, "", "accepted are"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			b.write("empty.efi", "")
			b.nodes[mac] = tt.gets
			var r *http.Response
			synctest.Test(t, func(*testing.T) { r = b.do("GET", tt.target) }) // a held node waits
			text := body(t, r)
			if r.StatusCode != tt.status || !strings.Contains(text, tt.says) {
				t.Errorf("status %d: %s", r.StatusCode, text)
			}
			if r.StatusCode == 200 && !strings.HasPrefix(text, "#!ipxe\n") || r.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
				t.Errorf("not a script: %v %s", r.Header, text)
			}
			if r.StatusCode >= 400 && strings.Count(text, "\n") != 1 {
				t.Errorf("not one line: %q", text)
			}
			if strings.Contains(text, "evil.example") {
				t.Errorf("the Host header is in the script: %s", text)
			}
			var stages []provisioning.Stage
			for _, e := range b.events {
				stages = append(stages, e.Stage)
				if e.MAC != mac || e.Peer != netip.MustParseAddr("192.0.2.1") || e.At.IsZero() || cause.Detail(e) == "" {
					t.Errorf("event %+v", e)
				}
			}
			if fmt.Sprint(stages) != fmt.Sprint([]provisioning.Stage{tt.stage}) && (tt.stage != "" || len(stages) > 0) {
				t.Errorf("events %v, want %q", stages, tt.stage)
			}
		})
	}
}

func TestClaimedNodeBootsOnAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		var mu sync.Mutex
		gets := provisioning.Assignment{Policy: provisioning.Hold, Code: "K7XQ"}
		b.Admit = func(context.Context, provisioning.MAC) (provisioning.Assignment, error) {
			mu.Lock()
			defer mu.Unlock()
			return gets, nil
		}
		time.AfterFunc(7*time.Second, func() {
			mu.Lock()
			defer mu.Unlock()
			gets = provisioning.Assignment{Policy: provisioning.Boot, Registered: true, Node: provisioning.Node{MAC: mac, RunMode: "prod", Farmer: 77}}
		})
		start := time.Now()
		text := body(t, b.do("GET", "/provision/5254000000b1?held=1"))
		if !strings.Contains(text, "farmer_id=77") {
			t.Errorf("after the claim: %s", text)
		}
		if waited := time.Since(start); waited < 7*time.Second || waited > 8*time.Second {
			t.Errorf("went on after %v", waited)
		}
	})
}

// TestHeldNodeDoesNotHoldUpAStop: it is told to ask again, and asks whoever is there
// then.
func TestHeldNodeDoesNotHoldUpAStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		b.nodes[mac] = provisioning.Assignment{Policy: provisioning.Hold, Code: "K7XQ"}
		stop := make(chan struct{})
		time.AfterFunc(3*time.Second, func() { close(stop) })
		start := time.Now()
		r := httptest.NewRequest("GET", "/provision/5254000000b1?held=1", nil)
		w := httptest.NewRecorder()
		apphttp.Plane(&b.Boot).ServeHTTP(w, r.WithContext(answer.WithStop(r.Context(), stop)))
		if waited := time.Since(start); waited != 3*time.Second || w.Code != 200 || !strings.Contains(w.Body.String(), "claim code .. K7XQ") {
			t.Errorf("after %v: %d %s", waited, w.Code, w.Body)
		}
	})
}

func TestProvisionTellsOfTheMachine(t *testing.T) {
	for query, want := range map[string]provisioning.Machine{
		"":                                      {},
		"?platform=pcbios&arch=i386":            {Arch: "BIOS"},
		"?platform=efi&arch=x86_64&uuid=nobody": {Arch: "UEFI x64"},
		"?platform=efi&arch=sparc&uuid=33221100-5544-7766-8899-AABBCCDDEEFF": {UUID: "33221100-5544-7766-8899-aabbccddeeff"},
	} {
		b := newBench(t)
		b.nodes[mac] = provisioning.Assignment{Policy: provisioning.Exit}
		b.do("GET", "/provision/5254000000b1"+query)
		if len(b.events) != 1 || b.events[0].Machine != want {
			t.Errorf("%q: %+v", query, b.events)
		}
	}
}

// TestAnyCardOfAMachine: a machine is found by any of its cards, and by the one that asks
// before all others.
func TestAnyCardOfAMachine(t *testing.T) {
	registered := func(m provisioning.MAC, farmer provisioning.FarmerID) provisioning.Assignment {
		return provisioning.Assignment{Policy: provisioning.Boot, Registered: true, Node: provisioning.Node{MAC: m, RunMode: "prod", Farmer: farmer}}
	}
	second, third := provisioning.MAC{0x52, 0x54, 0, 0, 0, 0xb2}, provisioning.MAC{0x52, 0x54, 0, 0, 0, 0xb3}
	for _, tt := range []struct {
		name, query string
		nodes       map[provisioning.MAC]provisioning.Assignment
		says        string
		event       provisioning.MAC
	}{
		{"the card that asks", "?also=5254000000b2.", map[provisioning.MAC]provisioning.Assignment{mac: registered(mac, 1), second: registered(second, 2)}, "farmer_id=1", mac},
		{"another card", "?also=junk.5254000000b2.5254000000b3.", map[provisioning.MAC]provisioning.Assignment{second: registered(second, 2), third: registered(third, 3)}, "farmer_id=2", second},
		{"another card, not named", "", map[provisioning.MAC]provisioning.Assignment{mac: {Policy: provisioning.Exit}, second: registered(second, 2)}, "not registered", mac},
		{"none", "?also=5254000000b2.", map[provisioning.MAC]provisioning.Assignment{mac: {Policy: provisioning.Exit}}, "not registered", mac},
	} {
		b := newBench(t)
		b.nodes = tt.nodes
		r := b.do("GET", "/provision/5254000000b1"+tt.query)
		if text := body(t, r); r.StatusCode != 200 || !strings.Contains(text, tt.says) || !strings.Contains(text, tt.event.String()) {
			t.Errorf("%s: %d %s", tt.name, r.StatusCode, text)
		}
		if len(b.events) != 1 || b.events[0].MAC != tt.event {
			t.Errorf("%s: events %+v", tt.name, b.events)
		}
	}
}

// TestURLsSayWhoAsks: behind a proxy, or after a restart, an address tells nothing.
func TestURLsSayWhoAsks(t *testing.T) {
	for _, path := range []string{"/kernel/net/prod.efi?mac=52:54:00:00:00:b1", "/kernel/absent.efi?mac=52:54:00:00:00:b1", "/boot/ipxe.efi?mac=52:54:00:00:00:b1", "/provision/5254000000b1?failed=kernel"} {
		b := newBench(t)
		b.do("GET", path)
		if len(b.events) != 1 || b.events[0].MAC != mac {
			t.Errorf("%s: events %+v", path, b.events)
		}
	}
	b := newBench(t)
	for path, status := range map[string]int{"/kernel/net/prod.efi?mac=${net0/mac}": 200, "/provision/5254000000b1?failed=everything": 400} {
		if r := b.do("GET", path); r.StatusCode != status {
			t.Errorf("%s: status %d", path, r.StatusCode)
		}
	}
}

func TestStoreFailureIsNotNotFound(t *testing.T) {
	b := newBench(t)
	b.failing = provisioning.Errorf(provisioning.Unavailable, "the database does not answer")
	r := b.do("GET", "/provision/5254000000b1")
	if r.StatusCode != 503 || r.Header.Get("Retry-After") == "" {
		t.Errorf("status %d, %v", r.StatusCode, r.Header)
	}
	b.failing = errors.New("secret path")
	r = b.do("GET", "/provision/5254000000b1")
	if text := body(t, r); r.StatusCode != 500 || strings.Contains(text, "secret") {
		t.Errorf("status %d: %s", r.StatusCode, text)
	}
}

func TestKernel(t *testing.T) {
	b := newBench(t)
	b.write("empty.efi", "")
	r := b.do("GET", "/kernel/net/prod.efi")
	etag := r.Header.Get("Etag")
	if text := body(t, r); r.StatusCode != 200 || text != "MZ prod kernel" || etag == "" || strings.HasPrefix(etag, "W/") || r.ContentLength != 14 {
		t.Errorf("%d %q %v", r.StatusCode, text, r.Header)
	}
	if len(b.events) != 1 || b.events[0].Stage != provisioning.StageKernel || b.events[0].Bytes != 14 || b.events[0].Size != 14 {
		t.Errorf("events %+v", b.events)
	}
	for _, tt := range []struct {
		method, target string
		header         []string
		status         int
		body           string
	}{
		{"HEAD", "/kernel/zos.efi", nil, 200, ""},
		{"GET", "/kernel/zos.efi/", nil, 200, "MZ zos kernel"},
		{"GET", "/kernel/zos.efi", []string{"Range", "bytes=3-5"}, 206, "zos"},
		{"GET", "/kernel/zos.efi", []string{"Range", "bytes=99-"}, 416, ""},
		{"GET", "/kernel/zos.efi", []string{"Range", "bytes=-0"}, 416, ""},
		{"GET", "/kernel/zos.efi", []string{"Range", "bytes=-0", "If-Range", `"another"`}, 200, "MZ zos kernel"},
		{"GET", "/kernel/net/prod.efi", []string{"If-None-Match", etag}, 304, ""},
		{"GET", "/kernel/net/prod.efi", []string{"Range", "bytes=0-1", "If-Range", etag}, 206, "MZ"},
		{"GET", "/kernel/net/prod.efi", []string{"Range", "bytes=0-1", "If-Range", `"other"`}, 200, "MZ prod kernel"},
		{"GET", "/kernel/zos.efi.sha256", nil, 200, ""},
		{"GET", "/kernel/empty.efi", nil, 200, ""},
		{"GET", "/kernel/absent.efi", nil, 404, ""},
		{"GET", "/kernel/absent.efi.sha256", nil, 404, ""},
		{"GET", "/kernel/../boot_test.go", nil, 404, ""},
		{"GET", "/kernel/..%2Fsecret", nil, 404, ""},
		{"GET", "/kernel/net/..%2Fzos.efi", nil, 404, ""},
		{"GET", "/kernel/", nil, 404, ""},
		{"GET", "/kernel/net", nil, 404, ""},
		{"GET", "/kernel/%00", nil, 404, ""},
		{"POST", "/kernel/zos.efi", nil, 405, ""},
	} {
		r := b.do(tt.method, tt.target, tt.header...)
		text := body(t, r)
		if strings.HasSuffix(tt.target, ".efi.sha256") && tt.status == 200 {
			if len(text) != 64+2+len("zos.efi")+1 || !strings.HasSuffix(text, "  zos.efi\n") {
				t.Errorf("%s: %q", tt.target, text)
			}
			continue
		}
		if r.StatusCode != tt.status || tt.body != "" && text != tt.body {
			t.Errorf("%s %s %v: %d %q, want %d %q", tt.method, tt.target, tt.header, r.StatusCode, text, tt.status, tt.body)
		}
		if tt.status == 404 && strings.Count(text, "\n") != 1 {
			t.Errorf("%s: not one line: %q", tt.target, text)
		}
	}
}

func TestOtherRoutes(t *testing.T) {
	b := newBench(t)
	for _, tt := range []struct {
		target string
		status int
		says   string
	}{
		{"/healthz", 200, "ok"},
		{"/metrics", 200, "farmboot_http_requests_total"},
		{"/ca.pem", 200, "PEM"},
		{"/boot/ipxe.efi", 200, "MZ-program"},
		{"/boot//ipxe.efi", 200, "MZ-program"},
		{"//kernel//net//prod.efi", 200, "MZ prod kernel"},
		{"/boot/other.efi", 404, "no such program"},
		{"/nothing", 404, "nothing here"},
	} {
		r := b.do("GET", tt.target)
		if text := body(t, r); r.StatusCode != tt.status || !strings.Contains(text, tt.says) {
			t.Errorf("%s: %d %q", tt.target, r.StatusCode, text)
		}
	}
}

func TestHealthzSaysWhyNodesCannotBoot(t *testing.T) {
	b := newBench(t)
	b.unhealthy = "there is no interface eth1"
	r := b.do("GET", "/healthz")
	if text := body(t, r); r.StatusCode != 503 || text != "there is no interface eth1\n" || r.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("%d %q", r.StatusCode, text)
	}
}

func TestImage(t *testing.T) {
	b := newBench(t)
	for _, tt := range []struct {
		method, target string
		status         int
		says           string
	}{
		{"GET", "/iso/prod", 200, "Target:{RunMode:prod Farmer:0 Args: Kernel:}"},
		{"GET", "/iso/prod/", 200, "Target:{RunMode:prod Farmer:0 Args: Kernel:}"},
		{"GET", "/iso/prod/1234", 200, "Farmer:1234"},
		{"GET", "/usb/prod/1/a%20b%2F../..%2F//x", 404, "elements"},
		{"GET", "/usb/prod/1/a%2Fb%2F", 200, "Args:a/b/ Kernel:}"},
		{"GET", "/usb/prod/1/a%2Fzos.efi%2F/", 200, "Args:a/zos.efi/ Kernel:}"},
		{"GET", "/usb/prod/1/a%20b%2F..%2Fc/k.efi?arch=arm64&scheme=https", 200, "Args:a b/../c Kernel:k.efi} Options:{Arch:arm64} Scheme:https"},
		{"GET", "/usb/prod/1//k.efi", 200, "Args: Kernel:k.efi"},
		{"GET", "/ipxe/prod/1/a%0Areboot", 200, "a\nreboot"}, // the composer refuses it, nobody before
		{"GET", "/iso/prod/1234.sha256", 200, "  ipxe-prod.iso\n"},
		{"GET", "/iso/prod/1/x.sha256/", 200, "  ipxe-prod.iso\n"},
		{"GET", "//iso/prod/1234", 200, "Farmer:1234 Args: Kernel:}"},
		{"GET", "///iso//prod/1234//", 200, "Farmer:1234 Args: Kernel:}"},
		{"GET", "/iso/prod//x", 200, "Farmer:0 Args:x Kernel:}"},
		{"GET", "/usb//prod/1//k.efi", 200, "Farmer:1 Args: Kernel:k.efi"},
		{"GET", "/iso/prod.iso", 200, "RunMode:prod Farmer:0 Args: Kernel:}"},
		{"GET", "/iso/prod/1234.iso", 200, "Farmer:1234 Args: Kernel:}"},
		{"GET", "/iso/prod/1234.iso.sha256", 200, "  ipxe-prod.iso\n"},
		{"GET", "/usb/prod/1/a%20b.img", 200, "Args:a b Kernel:}"},
		{"GET", "/uefimg/prod/1.img/", 200, "Farmer:1 Args: Kernel:}"},
		{"GET", "/uefi/prod/1.efi?arch=arm64", 200, "Farmer:1 Args: Kernel:} Options:{Arch:arm64}"},
		{"GET", "/uefi/prod/1?arhc=arm64", 400, `unknown parameter "arhc": accepted are arch, scheme`},
		{"GET", "/uefi-generic?Arch=arm64", 400, `unknown parameter "Arch": accepted are arch, scheme`},
		{"GET", "/uefi/prod/1.sha256?cpu=arm64", 400, `unknown parameter "cpu"`},
		{"GET", "/ipxe/prod?farmer=1234", 400, `unknown parameter "farmer"`},
		{"GET", "/usb/prod/1/url=http:%2F%2Fh%2Fx?y=1", 400, `unknown parameter "y"`},
		{"GET", "/uefi/prod?arch=x64&arch=arm64", 400, "parameter arch is given 2 times"},
		{"GET", "/uefi/prod?arch=%zz", 400, "bad query"},
		{"GET", "/uefi/prod?v=1&_=1767225600&t=7&utm_source=mail&arch=arm64", 200, "Options:{Arch:arm64}"},
		{"GET", "/uefi/prod/1/x.efi/k.efi", 200, "Args:x.efi Kernel:k.efi}"},
		{"GET", "/uefi/prod/1/x/ipxe.efi", 200, "Args:x Kernel:ipxe.efi}"},
		{"GET", "/snponly/prod/1/.efi", 200, "Farmer:1 Args: Kernel:}"},
		{"GET", "/krn/prod/1.lkrn", 200, "Farmer:1 Args: Kernel:}"},
		{"GET", "/iso/prod/1234/ipxe.iso", 200, "Farmer:1234 Args: Kernel:}"},
		{"GET", "/iso/prod/ipxe-prod.iso", 200, "Farmer:0 Args: Kernel:}"},
		{"GET", "/iso/prod/1/x/k.efi/ipxe.iso", 200, "Args:x Kernel:k.efi}"},
		{"GET", "/iso/prod/1/x/k.iso", 200, "Args:x Kernel:k.iso}"},
		{"GET", "/iso/prod/1.img", 400, "farmer"},
		{"GET", "/iso/nope.iso", 404, "unknown run mode"},
		{"GET", "/iso/prod/1234.ISO", 200, "Farmer:1234 Args: Kernel:}"},
		{"GET", "/iso/prod/1234/IPXE.ISO", 200, "Farmer:1234 Args: Kernel:}"},
		{"GET", "/iso/prod/1234/ipxe%2Eiso", 200, "Farmer:1234 Args: Kernel:}"},
		{"GET", "/iso/prod/1234%2Eiso.SHA256", 200, "  ipxe-prod.iso\n"},
		{"GET", "/usb/prod/1/a%2Fb%25.img", 200, "Args:a/b% Kernel:}"},
		{"GET", "/uefi/prod/1234/BOOTX64.EFI", 200, "Farmer:1234 Args: Kernel:}"},
		{"GET", "/iso/prod/1234/ipxe.img", 400, `"ipxe.img" is no name of /iso: accepted is one that ends in .iso`},
		{"GET", "/krn/prod/1234/BOOTX64.EFI", 400, "accepted is one that ends in .lkrn"},
		{"GET", "/iso/prod/1/x/k.efi.iso", 200, "Args:x Kernel:k.efi}"},
		{"GET", "/uefi/prod/1/x/k.efi.efi", 200, "Args:x Kernel:k.efi}"},
		{"GET", "/iso/prod//1234.iso", 200, "Farmer:1234 Args: Kernel:}"},
		{"GET", "/iso/prod//1234/x=1//", 200, "Farmer:1234 Args:x=1 Kernel:}"},
		{"GET", "/iso/prod/1234.iso//", 200, "Farmer:1234 Args: Kernel:}"},
		{"GET", "/uefi-generic/ipxe.efi", 200, "Kind:uefi-generic"},
		{"GET", "/krn-provision.LKRN.sha256", 200, "  ipxe-.krn-provision\n"},
		{"GET", "/krn-generic.efi", 404, "accepted behind it are .lkrn and .sha256"},
		{"GET", "/uefi-provision.efi", 200, "Kind:uefi-provision"},
		{"GET", "/krn-generic.lkrn.sha256", 200, "  ipxe-.krn-generic\n"},
		{"GET", "/krn-generic", 200, "Kind:krn-generic"},
		{"GET", "/krn-generic/", 200, "Kind:krn-generic"},
		{"GET", "/uefi-provision.sha256", 200, "  ipxe-.uefi-provision\n"},
		{"GET", "/iso", 404, "unknown run mode"},
		{"GET", "/iso/nope", 404, "unknown run mode"},
		{"GET", "/iso/prod/0", 400, "farmer"},
		{"GET", "/iso/prod/abc", 400, "farmer"},
		{"GET", "/isolinux/prod", 404, "nothing here"},
		{"GET", "/krn-generic/prod", 404, "nothing here"},
		{"HEAD", "/iso/prod", 200, ""},
		{"PUT", "/iso/prod", 405, "PUT"},
	} {
		r := b.do(tt.method, tt.target)
		text := body(t, r)
		if r.StatusCode != tt.status || !strings.Contains(text, tt.says) {
			t.Errorf("%s %s: %d %q, want %d %q", tt.method, tt.target, r.StatusCode, text, tt.status, tt.says)
		}
		if tt.status >= 400 && strings.Count(text, "\n") != 1 {
			t.Errorf("%s: not one line: %q", tt.target, text)
		}
	}
	for unit, status := range map[string]int{"Bytes=1-4": 206, "bytes= 1-4": 206, "lines=1-4": 200, "1-4": 200, "bytes=-0": 416, "bytes=x": 416} {
		if r := b.do("GET", "/iso/prod/7", "Range", unit); r.StatusCode != status {
			t.Errorf("Range %s: %d, want %d", unit, r.StatusCode, status)
		}
	}
	r := b.do("GET", "/iso/prod/7", "Range", "bytes=1-4")
	if r.StatusCode != 206 || r.ContentLength != 4 || r.Header.Get("Content-Disposition") != "attachment; filename=ipxe-prod.iso" || r.Header.Get("Etag") != `"1"` || r.Header.Get("Content-Type") != "application/octet-stream" {
		t.Errorf("%d %v", r.StatusCode, r.Header)
	}
	for path, media := range map[string]string{"/iso/prod": "application/vnd.efi-iso", "/uefimg/prod": "application/vnd.efi-img", "/uefi/prod": "application/efi", "/krn/prod": "application/octet-stream"} {
		if r := b.do("GET", path, "User-Agent", "UefiHttpBoot/1.0"); r.Header.Get("Content-Type") != media || r.Header.Get("Etag") != `"1"` {
			t.Errorf("%s for UEFI: %v", path, r.Header)
		}
	}
	if r := b.do("GET", "/ipxe/prod"); r.Header.Get("Content-Disposition") != "" || r.Header.Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("%v", r.Header)
	}
}

// TestKernelGoesBySendfile: net/http uses sendfile(2) when the connection's own
// ReadFrom is given an *io.LimitedReader of an *os.File. Nothing of ours may
// stand between.
func TestKernelGoesBySendfile(t *testing.T) {
	b := newBench(t)
	b.write("big.efi", "MZ"+strings.Repeat("x", 3<<20))
	w := &probe{ResponseRecorder: httptest.NewRecorder()}
	apphttp.Plane(&b.Boot).ServeHTTP(w, httptest.NewRequest("GET", "/kernel/big.efi", nil))
	if w.Body.Len() != 3<<20+2 || w.files != w.Body.Len() {
		t.Errorf("%d bytes, of which %d straight from the file", w.Body.Len(), w.files)
	}
}

// probe counts the bytes that it is given as a file.
type probe struct {
	*httptest.ResponseRecorder
	files int
}

func (p *probe) ReadFrom(r io.Reader) (int64, error) {
	n, err := io.Copy(p.Body, r)
	if lr, ok := r.(*io.LimitedReader); ok {
		if _, ok := lr.R.(*os.File); ok {
			p.files += int(n)
		}
	}
	return n, err
}

// TestSlowKernelIsToldOf: of a kernel that takes long, the events tell how far it
// has come, every few seconds.
func TestSlowKernelIsToldOf(t *testing.T) {
	b := newBench(t)
	b.write("big.efi", "MZ"+strings.Repeat("x", 6<<20))
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	b.Now = func() time.Time {
		now = now.Add(2 * time.Second)
		return now
	}
	b.do("GET", "/kernel/big.efi")
	var last int64
	loading := 0
	for i, e := range b.events {
		if e.Size != 6<<20+2 || e.Bytes <= last || e.Duration <= 0 {
			t.Errorf("event %+v after %d bytes", e, last)
		}
		last = e.Bytes
		if e.Stage == provisioning.StageLoading {
			loading++
		} else if i != len(b.events)-1 || e.Stage != provisioning.StageKernel {
			t.Errorf("event %d of %d: %+v", i+1, len(b.events), e)
		}
	}
	if loading < 2 || loading > 4 || last != 6<<20+2 {
		t.Errorf("%d reports on the way, %d bytes in the end", loading, last)
	}
}

// TestBodyThatNeverComes: a client that announces a body and sends none is not
// waited for without end.
func TestBodyThatNeverComes(t *testing.T) {
	b := newBench(t)
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			done <- apphttp.Serve(ctx, &oneConn{conn: server, closed: make(chan struct{})}, apphttp.Plane(&b.Boot), slog.New(slog.DiscardHandler))
		}()
		start := time.Now()
		if _, err := io.WriteString(client, "GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"); err != nil {
			t.Error(err)
		}
		_, err := io.Copy(io.Discard, client)
		if waited := time.Since(start); err != nil || waited > 2*time.Minute {
			t.Errorf("the connection ended after %v, %v", waited, err)
		}
		client.Close()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// oneConn is a listener with one connection.
type oneConn struct {
	conn   net.Conn
	closed chan struct{}
}

func (l *oneConn) Accept() (net.Conn, error) {
	if c := l.conn; c != nil {
		l.conn = nil
		return c, nil
	}
	<-l.closed
	return nil, net.ErrClosed
}

func (l *oneConn) Close() error {
	close(l.closed)
	return nil
}

func (l *oneConn) Addr() net.Addr { return &net.UnixAddr{} }

// serveBench serves the boot plane of a bench until cancel is called; done then says how
// it ended.
func serveBench(t *testing.T) (ln net.Listener, cancel context.CancelFunc, done <-chan error) {
	t.Helper()
	ln = listen(t)
	cancel, done = serveOn(t, ln, apphttp.Plane(&newBench(t).Boot))
	return ln, cancel, done
}

// listen opens a port of loopback.
func listen(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// serveOn serves h on ln until cancel is called; done then says how it ended.
func serveOn(t testing.TB, ln net.Listener, h http.Handler) (cancel context.CancelFunc, done <-chan error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- apphttp.Serve(ctx, ln, h, slog.New(slog.DiscardHandler)) }()
	return cancel, ended
}

func TestServeEndsWithItsContext(t *testing.T) {
	ln, cancel, done := serveBench(t)
	r, err := http.Get("http://" + ln.Addr().String() + "/healthz")
	if err != nil || r.StatusCode != 200 {
		t.Fatal(r, err)
	}
	r.Body.Close()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Serve returned %v", err)
	}
}

// TestServeSaysWhatItCannotRead: net/http refuses such requests before any handler, and
// says nothing of why.
func TestServeSaysWhatItCannotRead(t *testing.T) {
	ln, cancel, done := serveBench(t)
	for path, want := range map[string]string{
		"/ipxe/prod/7/100%": "400 Bad Request: bad request: it cannot be read as HTTP; in a URL, write %25 for a percent sign and %20 for a space\n",
		"/kernel/%zz":       "400 Bad Request: bad request: it cannot be read as HTTP; in a URL, write %25 for a percent sign and %20 for a space\n",
		"/ipxe/prod/7/" + strings.Repeat("x", 1<<17): "431 Request Header Fields Too Large: bad request: its URL and header are longer than 65536 bytes, which is all that is accepted\n",
	} {
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path); err != nil {
			t.Fatal(err)
		}
		r, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Status + ": " + body(t, r); got != want {
			t.Errorf("%.20s: %q, want %q", path, got, want)
		}
		conn.Close()
	}

	// Behind what a handler answered, on the same connection: one after the other, or sent
	// at once. Net/http's reason, where it has one, goes out as it is.
	const refusedByUs, unreadable = "GET /provision/xx HTTP/1.1\r\nHost: a\r\n\r\n", "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n"
	for _, tt := range []struct {
		sent []string
		says []string // the beginning of each answer
	}{
		{[]string{refusedByUs, refusedByUs, unreadable}, []string{"bad MAC address", "bad MAC address", "bad request: it cannot be read"}},
		{[]string{refusedByUs + refusedByUs + unreadable}, []string{"bad MAC address", "bad MAC address", "bad request: it cannot be read"}},
		{[]string{refusedByUs + "GET /healthz HTTP/1.1\r\n\r\n"}, []string{"bad MAC address", "400 Bad Request: missing required Host header"}},
	} {
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		in, sent := bufio.NewReader(conn), tt.sent
		for _, want := range tt.says {
			if len(sent) > 0 {
				if _, err := io.WriteString(conn, sent[0]); err != nil {
					t.Fatal(err)
				}
				sent = sent[1:]
			}
			r, err := http.ReadResponse(in, nil)
			if err != nil {
				t.Fatal(err)
			}
			if got := body(t, r); r.StatusCode != http.StatusBadRequest || !strings.HasPrefix(got, want) {
				t.Errorf("%q: %s %q, want %q", tt.sent, r.Status, got, want)
			}
		}
		if _, err := in.ReadByte(); err != io.EOF {
			t.Errorf("%q: behind the last answer %v, want its end", tt.sent, err)
		}
		conn.Close()
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// composing is a catalog that refuses what the composer does.
type composing struct {
	programs
	ipxe.Composer
}

func (c composing) Image(o catalog.Order) (catalog.File, error) {
	_, err := c.Cmdline(o.Target)
	return catalog.File{}, err
}

// TestLongURL: arguments that are far too long meet who can say how long they may be.
func TestLongURL(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	b := newBench(t)
	b.Catalog = composing{Composer: b.Site(netip.Addr{}).Composer}
	go func() {
		done <- apphttp.Serve(ctx, ln, apphttp.Plane(&b.Boot), slog.New(slog.DiscardHandler))
	}()
	r, err := http.Get("http://" + ln.Addr().String() + "/ipxe/prod/1/" + strings.Repeat("x", 25_000))
	if err != nil {
		t.Fatal(err)
	}
	if text := body(t, r); r.StatusCode != http.StatusBadRequest || !strings.Contains(text, "at most 1900") {
		t.Errorf("status %d: %s", r.StatusCode, text)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestIPXEIsSentLittleAtOnce: only iPXE gets the small send buffer, over TLS too.
func TestIPXEIsSentLittleAtOnce(t *testing.T) {
	for _, c := range []struct {
		agent string
		tls   bool
		want  int
	}{
		{"iPXE/1.21.1+git20250501.dad20602+dfsg-1", false, 128 << 10},
		{"iPXE/1.0.0+", true, 128 << 10},
		{"Mozilla/5.0", false, 0},
		{"curl/8", true, 0},
	} {
		t.Run(c.agent, func(t *testing.T) {
			plain, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			watched := &sendBuffers{Listener: plain}
			ln, client, scheme := net.Listener(watched), http.DefaultClient, "http"
			if c.tls {
				example := httptest.NewUnstartedServer(nil)
				example.StartTLS()
				defer example.Close()
				ln, client, scheme = tls.NewListener(watched, example.TLS), example.Client(), "https"
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() {
				done <- apphttp.Serve(ctx, ln, apphttp.Plane(&newBench(t).Boot), slog.New(slog.DiscardHandler))
			}()
			r, err := http.NewRequestWithContext(ctx, "GET", scheme+"://"+plain.Addr().String()+"/healthz", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("User-Agent", c.agent)
			res, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			res.Body.Close()
			client.CloseIdleConnections()
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
			if watched.set != c.want {
				t.Errorf("send buffer %d, want %d", watched.set, c.want)
			}
		})
	}
}

// sendBuffers notes what its connection's send buffer is set to.
type sendBuffers struct {
	net.Listener
	set int
}

func (l *sendBuffers) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return noting{c, l}, err
}

type noting struct {
	net.Conn
	l *sendBuffers
}

func (n noting) SetWriteBuffer(bytes int) error {
	n.l.set = bytes
	return nil
}
