package main

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	apphttp "farmboot/http"
	"farmboot/http/answer"
	"farmboot/ipxe"
	"farmboot/provisioning"
	"farmboot/setup"
)

// appliance is the parts of the daemon, wired together. Nothing of it listens yet.
type appliance struct {
	*workshop
	log      *slog.Logger
	now      func() time.Time
	store    provisioning.Store
	assigner *provisioning.Assigner
	recorder *provisioning.Recorder
	metrics  *prometheus.Registry
	boot     *apphttp.Boot
}

// assemble reads what is there and wires the parts together.
func assemble(ctx context.Context, cfg setup.Config, log *slog.Logger, now func() time.Time) (*appliance, error) {
	a := &appliance{log: log, now: now, metrics: prometheus.NewRegistry()}
	a.metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	var err error
	if a.workshop, err = openWorkshop(cfg, log, now); err != nil {
		return nil, err
	}
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
