package main

import (
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"farmboot/dhcp"
	apphttp "farmboot/http"
	"farmboot/http/answer"
	"farmboot/http/api"
	"farmboot/http/authn"
	"farmboot/http/pages"
	"farmboot/ipxe"
	"farmboot/ipxe/kernel"
	"farmboot/ipxe/rollout"
	"farmboot/ipxe/upstream"
	"farmboot/provisioning"
	"farmboot/provisioning/farm"
	"farmboot/provisioning/live"
	"farmboot/provisioning/recorder"
	"farmboot/provisioning/registry"
	"farmboot/provisioning/sqlite"
	"farmboot/setup"
	"farmboot/setup/alert"
	"farmboot/setup/doctor"
	"farmboot/setup/lan"
	"farmboot/setup/wol"
)

// appliance is the parts of the daemon, wired together. Nothing of it listens yet.
type appliance struct {
	*sources
	log       *slog.Logger
	network   *lan.Watcher
	endpoints *endpoints
	health    *health
	fixed     []api.Listener                   // those that stay as they are; complete before anything serves
	broken    atomic.Pointer[map[string]error] // template files
	reread    atomic.Pointer[api.Reread]       // nil: the file has not been read again
	now       func() time.Time
	store     provisioning.Store
	assigner  *provisioning.Assigner
	recorder  *recorder.Recorder
	proven    chan provisioning.Proven    // to be stored
	progress  atomic.Pointer[dhcp.Server] // is told how far machines have come
	metrics   *prometheus.Registry
	registry  *registry.Registry
	editor    *kernel.Editor
	upstream  *upstream.Upstream // nil: there is none
	rollout   *rollout.Rollout
	boot      *apphttp.Boot
	pages     *pages.Pages
	board     *live.Board
	teller    *alert.Teller
	rivals    atomic.Pointer[[]doctor.Rival] // other boot servers; nil: not looked for yet
	tellOf    func(alert.Notice)             // what happened: to teller
	links     *authn.SignInLinks
	waker     *wol.Queue
	admin     *pages.Admin    // of the TLS plane
	adminLink pages.AdminLink // of the plain plane: links to admin
	apiTLS    api.WantsTLS    // of the plain plane: names the API on TLS
	api       *api.API        // of the TLS plane: tokens
	local     *api.API        // of the Unix socket: whoever may open it is an admin
}

// assemble reads what is there and wires the parts together.
func assemble(ctx context.Context, cfg setup.Config, log *slog.Logger, now func() time.Time) (*appliance, error) {
	a := &appliance{log: log, now: now, metrics: prometheus.NewRegistry(), proven: make(chan provisioning.Proven, provenQueue)}
	a.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	var err error
	if a.network, err = lan.Open(cfg, log); err != nil {
		return nil, err
	}
	if a.sources, err = openSources(cfg, a.network.View, log, now); err != nil {
		return nil, err
	}
	if err := a.kernels.Sweep(); err != nil {
		log.Warn("what broken uploads left cannot be removed", "err", err)
	}
	if p := cfg.Provisioning; !p.Postgres() && sqlite.Outdated(ctx, p.Database) {
		log.Info("the database is brought to the form of this version, which may take a minute; the old one is kept beside it", "file", p.Database)
	}
	if a.store, err = openStore(ctx, cfg.Provisioning); err != nil {
		return nil, err
	}
	a.assigner = provisioning.NewAssigner(a.store, unknownOf(cfg), now)
	a.recorder = recorder.New(a.store, recorder.Retention{}, log, a.metrics, now)
	a.health = &health{appliance: a, hadKernels: make(map[string]bool)}
	a.boot = &apphttp.Boot{
		Answer:  answer.NewAdapter(log, now, a.metrics),
		Now:     now,
		Site:    func(local netip.Addr) ipxe.Site { return a.site(local, "") },
		Consume: a.assigner.Consume,
		Catalog: a.catalog,
		Kernels: a.kernels,
		RootPEM: a.rootPEM,
		Metrics: a.metrics,
		Record:  a.fetched,
		Turns:   apphttp.NewAdmission(now),

		Unhealthy: a.health.unhealthy,
	}
	a.metrics.MustRegister(a.boot.Turns)
	if a.secure != nil {
		a.boot.SecureBoot, a.boot.Signed = a.secure, a.secure.kernels
	}
	a.pages = &pages.Pages{
		Answer:   a.boot.Answer,
		Site:     a.boot.Site,
		Kernels:  a.kernels,
		Describe: a.catalog.Describe,

		Strange: func(peer netip.Addr) bool {
			return a.live.Load().BaseHost == nil && !a.view().Near(peer)
		},
		SecureBoot: a.secure != nil,
	}
	a.registry = registry.New(a.recorder.Fresh(), rulesOf(cfg, cfg.Composer(), a.kernels), now)
	a.registry.EndEnrolments(openLedger(cfg, now))
	a.editor = kernel.NewEditor(a.kernels, a.registry)
	if a.upstream, err = newUpstream(cfg, provisioning.Actor{}, a.kernels, a.editor, log, now); err != nil {
		return nil, err
	}
	if a.upstream != nil {
		a.upstream.Taken = a.kernelTaken
	}
	a.boot.Upstream = a.upstream
	a.rollout = rollout.New(a.store, a.kernels, a.editor, now)
	a.boot.Admit, a.boot.Assignment = a.admit, a.assignment
	a.wireAdmin()
	if a.teller, err = a.newTeller(); err != nil {
		return nil, errors.Join(err, a.store.Close())
	}
	a.tellOf = a.teller.Note
	return a, nil
}

// wireAdmin makes the admin plane: the API, and the pages for those who sign in.
func (a *appliance) wireAdmin() {
	throttle := authn.NewThrottle(a.now)
	a.links = authn.NewSignInLinks(a.now)
	sessions := authn.NewSessions(a.registry, a.links, throttle)
	a.api = a.newAPI(throttle, authn.AnyOf(authn.Bearer(a.registry), sessions.Authenticate))
	a.local = a.newAPI(throttle, authn.Local)
	a.waker = wol.NewQueue(a.wakeInterfaces, wol.Waves{Size: wakeWave, Pause: wakePause}, a.log)
	adminURL := func(local netip.Addr) string { return a.urls(local).Admin }
	a.board = live.New(a.recorder.Subscribe, a.recorder.Fresh().Events, a.log)
	a.admin = &pages.Admin{
		Answer:       a.boot.Answer,
		Registry:     a.registry,
		Board:        a.board,
		Sessions:     sessions,
		Kernels:      a.kernels,
		KernelEditor: a.editor,
		Rollout:      a.rollout,
		Site:         a.boot.Site,
		Assignment:   a.assignment,
		Wake:         a.waker.Add,
		AdminURL:     adminURL,
		Now:          a.now,
	}
	if a.secure != nil {
		a.admin.Enrolment = a.secure
	}
	if o := a.cfg.OpenID; o.Issuer != "" {
		a.admin.OpenID = authn.NewOpenID(authn.OpenIDConfig{
			Issuer: o.Issuer, ClientID: o.ClientID, SecretFile: o.ClientSecretFile,
			Claim: o.Claim, Admins: o.Admins, Readers: o.Readers, FarmerPrefix: o.FarmerPrefix,
		}, a.now)
	}
	a.recorder.Hear(farm.New(farm.Config{
		Version: versionString(), Now: a.now, Metrics: a.metrics,
		Registered: func(ctx context.Context) (int, error) {
			return a.store.CountNodes(ctx, provisioning.NodeQuery{})
		},
		States: live.NewTally(a.store.Events).States, Kernels: a.kernelTimes, CertificateEnd: a.certificateEnd,
	}).Hear)
	a.adminLink = pages.AdminLink{Answer: a.boot.Answer, AdminURL: adminURL}
	a.apiTLS = api.WantsTLS{Answer: a.boot.Answer, AdminURL: adminURL}
}

// newAPI returns the API; authenticate finds out who asks.
func (a *appliance) newAPI(throttle *authn.Throttle, authenticate authn.Authenticator) *api.API {
	served := &api.API{
		Answer:       a.boot.Answer,
		Registry:     a.registry,
		Subscribe:    a.recorder.Subscribe,
		Kernels:      a.kernels,
		KernelEditor: a.editor,
		Rollout:      a.rollout,
		Composer:     a.composer,
		Authenticate: authenticate,
		Throttle:     throttle,
		Version:      versionString(),
		Health:       a.health.report,
		Sync:         a.recorder.Sync,
		Now:          a.now,
		Log:          a.log,
	}
	if a.secure != nil {
		served.Enrolment = a.secure
	}
	if a.upstream != nil {
		served.Held = a.upstream.Held
	}
	return served
}

// record and learn pass on what machines do by DHCP, but for those that a doctor plays.
func (a *appliance) record(e provisioning.Event) {
	if dhcp.IsProbe(e.MAC) {
		a.log.Debug("a doctor plays a machine", "mac", e.MAC, "stage", e.Stage, "detail", e.Detail)
		return
	}
	a.recorder.Record(e)
}

func (a *appliance) learn(addr netip.Addr, mac provisioning.MAC) {
	if !dhcp.IsProbe(mac) {
		a.recorder.Learn(addr, mac)
	}
}

// A rack that starts all at once takes its fuse with it: so many nodes are woken at a
// time, and the next so much later, unless somebody says otherwise.
const (
	wakeWave  = 20
	wakePause = 10 * time.Second
)

// wakeInterfaces names the interfaces of the LANs that nodes are woken in.
func (a *appliance) wakeInterfaces() ([]string, error) {
	ifaces, err := a.cfg.Interfaces()
	names := make([]string, len(ifaces))
	for i, iface := range ifaces {
		names[i] = iface.Name
	}
	return names, err
}

// kernelTimes tells when the default kernel of each run mode that has one was stored.
func (a *appliance) kernelTimes() map[provisioning.RunMode]time.Time {
	times := make(map[provisioning.RunMode]time.Time)
	for mode := range a.cfg.RunModes {
		if fi, err := a.kernels.Stat(ipxe.Target{RunMode: mode}.KernelPath()); err == nil {
			times[mode] = fi.ModTime()
		}
	}
	return times
}

// certificateEnd is when the certificate ends that clients of the admin plane see.
func (a *appliance) certificateEnd() time.Time {
	served, err := a.authority.GetCertificate(nil)
	if err != nil || len(served.Certificate) == 0 {
		return time.Time{}
	}
	leaf, err := x509.ParseCertificate(served.Certificate[0])
	if err != nil {
		return time.Time{}
	}
	return leaf.NotAfter
}

// rootPEM is the root that nodes and browsers are to trust; nil if it is a public
// one, which they trust already.
func (a *appliance) rootPEM() []byte {
	if _, own := a.authority.Trust(); !own {
		return nil
	}
	return a.authority.RootPEM()
}

// close stores what listeners recorded on their way to the end.
func (a *appliance) close() error {
	a.recorder.Flush(context.Background())
	return a.store.Close()
}

// baseURL is what scripts call us on a LAN.
func baseURL(u setup.URLs, scheme string) string {
	switch {
	case scheme == "https":
		return u.Admin
	case scheme == "http" && !strings.HasPrefix(u.Base, "http://"):
		return u.Literal
	}
	return u.Base
}
