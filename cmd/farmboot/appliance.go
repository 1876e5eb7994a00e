package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	apphttp "farmboot/http"
	"farmboot/http/answer"
	"farmboot/ipxe"
	"farmboot/ipxe/binary"
	"farmboot/ipxe/catalog"
	"farmboot/ipxe/kernel"
	"farmboot/provisioning"
	"farmboot/setup"
)

// appliance is the parts of the daemon, wired together. Nothing of it listens yet.
type appliance struct {
	cfg      setup.Config
	log      *slog.Logger
	now      func() time.Time
	lans     []lan // at least one
	store    provisioning.Store
	assigner *provisioning.Assigner
	recorder *provisioning.Recorder
	metrics  *prometheus.Registry
	kernels  *kernel.Store
	template *binary.Template
	catalog  *catalog.Catalog
	boot     *apphttp.Boot
}

// lan is one LAN that we serve.
type lan struct {
	setup.Interface
	urls setup.URLs
}

// assemble reads what is there and wires the parts together.
func assemble(ctx context.Context, cfg setup.Config, log *slog.Logger, now func() time.Time) (*appliance, error) {
	a := &appliance{cfg: cfg, log: log, now: now, metrics: prometheus.NewRegistry()}
	a.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	ifaces, err := cfg.Interfaces()
	if err != nil {
		return nil, err
	}
	for _, i := range ifaces {
		a.lans = append(a.lans, lan{i, cfg.URLs(i)})
	}
	if _, err := os.Stat(cfg.IPXE.Template); err != nil {
		return nil, fmt.Errorf("no iPXE template folder %s: make it with setup/template.sh %[1]s, or name another in [ipxe] template", cfg.IPXE.Template)
	}
	if err := os.MkdirAll(cfg.State, 0o750); err != nil {
		return nil, fmt.Errorf("make the state folder: %w", err)
	}
	a.kernels = kernel.Open(cfg.Kernel.Path, cfg.Kernel.NetPath)
	a.template = binary.Load(cfg.IPXE.Template)
	a.catalog = &catalog.Catalog{Template: a.template, Kernels: a.kernels, Site: a.site, Autoexec: cfg.IPXE.Autoexec}
	if a.store, err = openStore(ctx, cfg); err != nil {
		return nil, err
	}
	a.assigner = provisioning.NewAssigner(a.store, unknownOf(cfg), now)
	a.recorder = provisioning.NewRecorder(a.store, retention, log, a.metrics, now)
	a.boot = &apphttp.Boot{
		Answer:  answer.NewAdapter(log, now, a.metrics),
		Now:     now,
		Site:    func(local netip.Addr) ipxe.Site { return a.site(local, "") },
		Admit:   a.assigner.Admit,
		Catalog: a.catalog,
		Kernels: a.kernels,
		RootPEM: func() []byte { return nil },
		Metrics: a.metrics,
		Record:  a.recorder.Record,
		Log:     log,
	}
	return a, nil
}

// site is the appliance as those see it that reach it at that address of ours; the
// zero address stands for the first LAN. scheme is "http", "https", or "" for what
// the configuration says.
func (a *appliance) site(local netip.Addr, scheme string) ipxe.Site {
	urls := a.lans[0].urls
	for _, l := range a.lans {
		if l.Addr() == local {
			urls = l.urls
		}
	}
	return ipxe.Site{Composer: composerOf(a.cfg), Base: baseURL(urls, scheme), NTP: a.cfg.Boot.NTP}
}

func (a *appliance) close() error { return a.store.Close() }

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

// retention bounds what is kept of boots: a year of a busy farm.
var retention = provisioning.Retention{Events: 365 * 24 * time.Hour, Unknown: 90 * 24 * time.Hour}
