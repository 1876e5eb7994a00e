package pages_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	apphttp "farmboot/http"
	"farmboot/http/api"
	"farmboot/http/authn"
	"farmboot/http/pages"
	"farmboot/ipxe"
	"farmboot/ipxe/kernel"
	"farmboot/ipxe/rollout"
	"farmboot/provisioning"
	"farmboot/provisioning/live"
	"farmboot/provisioning/recorder"
	"farmboot/provisioning/registry"
	"farmboot/provisioning/sqlite"
)

// adminBench is the admin pages on a real store.
type adminBench struct {
	*bench
	pages.Admin
	store    *sqlite.Store
	recorder *recorder.Recorder
	links    *authn.SignInLinks
	plane    http.Handler
	now      *clock

	token  string       // an admin's
	cookie *http.Cookie // his session

	woken      []provisioning.MAC
	cannotWake error
}

// clock is set by hand.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) Now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.at }

func (c *clock) advance(d time.Duration) { c.mu.Lock(); defer c.mu.Unlock(); c.at = c.at.Add(d) }

var root = provisioning.Actor{Name: "test", Role: provisioning.RoleAdmin, From: "test"}

func newAdminBench(t testing.TB) *adminBench {
	t.Helper()
	b := &adminBench{bench: newBench(t), now: &clock{at: time.Now().UTC().Truncate(time.Second)}}
	var err error
	if b.store, err = sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "provisioning.db")); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	b.Registry = registry.New(b.store, registry.Rules{
		Vendor:   func(provisioning.MAC) string { return "Acme & Sons <Networks>" },
		RunModes: modes, RunMode: "prod",
		CheckNode:    site(netip.Addr{}).CheckNode,
		Warnings:     func(n provisioning.Node) []string { return site(netip.Addr{}).Warnings(ipxe.NodeTarget(n)) },
		KernelExists: func(name string) error { _, err := b.Pages.Kernels.Stat(name); return err },
	}, b.now.Now)
	b.recorder = recorder.New(b.store, recorder.Retention{}, log, prometheus.NewRegistry(), b.now.Now)
	b.Board = live.New(b.recorder.Subscribe, b.store.Events, log)
	throttle := authn.NewThrottle(b.now.Now)
	b.links = authn.NewSignInLinks(b.now.Now)
	b.Sessions = authn.NewSessions(b.Registry, b.links, throttle)
	b.Admin.KernelEditor = kernel.NewEditor(b.Pages.Kernels, b.Registry)
	b.Admin.Rollout = rollout.New(b.store, b.Pages.Kernels, b.Admin.KernelEditor, b.now.Now)
	b.Admin.Answer, b.Admin.Kernels, b.Admin.Site, b.Admin.Now = b.Pages.Answer, b.Pages.Kernels, site, b.now.Now
	b.Admin.Wake = func(macs []provisioning.MAC) error { b.woken = append(b.woken, macs...); return b.cannotWake }
	b.unknown(provisioning.Boot)
	b.plane = apphttp.Plane(&b.Admin, &b.Pages, images{}, &api.API{
		Answer: b.Pages.Answer, Registry: b.Registry, Subscribe: b.recorder.Subscribe, Kernels: b.Pages.Kernels, KernelEditor: b.Admin.KernelEditor,
		Composer: func() ipxe.Composer { return site(netip.Addr{}).Composer }, Health: func() api.Health { return api.Health{} }, Throttle: throttle, Now: b.now.Now, Log: log,
		Authenticate: b.Sessions.Authenticate,
	})
	b.run(t)
	_, b.token, err = b.Registry.AddToken(t.Context(), root, provisioning.Token{Role: provisioning.RoleAdmin})
	if err != nil {
		t.Fatal(err)
	}
	b.cookie = b.signIn(t, b.token)
	return b
}

// unknown sets what machines get that are not registered.
func (b *adminBench) unknown(p provisioning.Policy) {
	b.Assignment = provisioning.NewAssigner(b.store, provisioning.Unknown{Policy: p, RunMode: "prod"}, b.now.Now).Assignment
}

// run runs recorder and board until the test ends.
func (b *adminBench) run(t testing.TB) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var running sync.WaitGroup
	running.Go(func() { _ = b.recorder.Run(ctx) })
	running.Go(func() { _ = b.Board.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
		if err := b.store.Close(); err != nil {
			t.Error(err)
		}
	})
}

// signIn returns the cookie of a new session.
func (b *adminBench) signIn(t testing.TB, token string) *http.Cookie {
	t.Helper()
	r, page := b.post(t, nil, "/admin/signin", url.Values{"token": {token}})
	if r.StatusCode != http.StatusSeeOther || len(r.Cookies()) != 1 {
		t.Fatalf("sign in: %d %s", r.StatusCode, page)
	}
	return r.Cookies()[0]
}

func (b *adminBench) look(t testing.TB, target string) (*http.Response, string) {
	t.Helper()
	return b.lookAs(t, b.cookie, target)
}

func (b *adminBench) lookAs(t testing.TB, c *http.Cookie, target string) (*http.Response, string) {
	t.Helper()
	req := httptest.NewRequest("GET", "https://appliance.example"+target, nil)
	if c != nil {
		req.AddCookie(c)
	}
	return do(t, b.plane, req)
}

func (b *adminBench) send(t testing.TB, target string, v url.Values) (*http.Response, string) {
	t.Helper()
	return b.post(t, b.cookie, target, v)
}

func (b *adminBench) post(t testing.TB, c *http.Cookie, target string, v url.Values) (*http.Response, string) {
	t.Helper()
	req := httptest.NewRequest("POST", "https://appliance.example"+target, strings.NewReader(v.Encode()))
	if c != nil {
		req.AddCookie(c)
	}
	return do(t, b.plane, req, "Content-Type", "application/x-www-form-urlencoded")
}

// add registers a node.
func (b *adminBench) add(t testing.TB, n provisioning.Node) {
	t.Helper()
	if _, err := b.Registry.AddNode(t.Context(), root, n); err != nil {
		t.Fatal(err)
	}
}

// play records events, and waits until the board has seen them.
func (b *adminBench) play(t testing.TB, events ...provisioning.Event) {
	t.Helper()
	before := map[provisioning.MAC]int{}
	for _, e := range events {
		if _, ok := before[e.MAC]; !ok {
			before[e.MAC] = len(b.Board.Events(e.MAC, time.Time{}))
		}
		before[e.MAC]++
	}
	for _, e := range events {
		b.recorder.Record(e)
	}
	for mac, n := range before {
		eventually(t, fmt.Sprintf("%d events of %s", n, mac), func() bool { return len(b.Board.Events(mac, time.Time{})) >= min(n, 40) })
	}
}

// eventually waits for what happens on its own time.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(waitLimit)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// waitLimit is how long anything may take, on a machine that has much else to do.
const waitLimit = time.Minute

func macOf(n int) provisioning.MAC {
	return provisioning.MAC{0x52, 0x54, 0, byte(n >> 16), byte(n >> 8), byte(n)}
}

// bootOf is what a UEFI node does that boots, up to so many of its events.
func bootOf(mac provisioning.MAC, at time.Time, events int) []provisioning.Event {
	all := []provisioning.Event{
		{Stage: provisioning.StageDiscover, Detail: "UEFI x64, PXEClient", Machine: provisioning.Machine{Arch: "UEFI x64", Firmware: "PXEClient", UUID: "4c4c4544-0042"}},
		{Stage: provisioning.StageOffer, File: "ipxe.efi"},
		{Stage: provisioning.StageBootServer, File: "ipxe.efi"},
		{Stage: provisioning.StageNBP, File: "ipxe.efi", Via: "TFTP", Bytes: 1_020_000, Size: 1_020_000, Duration: 640 * time.Millisecond},
		{Stage: provisioning.StageDiscover, Detail: "UEFI x64, iPXE 1.21.1", IPXE: true},
		{Stage: provisioning.StageOffer, File: "http://192.0.2.1/provision/" + mac.String()},
		{
			Stage: provisioning.StageScript, Detail: "runmode prod, farmer 1234", Peer: netip.MustParseAddr("192.0.2.77"),
			Machine: provisioning.Machine{Serial: "7CZ1234X", Manufacturer: "HPE", Product: "ProLiant DL380 Gen10"},
		},
		{Stage: provisioning.StageKernel, File: "net/prod.efi", Bytes: 61_300_000, Size: 61_300_000, Duration: 2300 * time.Millisecond},
	}
	for i := range all {
		all[i].MAC, all[i].At = mac, at.Add(time.Duration(i)*1700*time.Millisecond)
	}
	return all[:events]
}
