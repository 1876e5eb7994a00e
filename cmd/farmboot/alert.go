package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"farmboot/setup"
	"farmboot/setup/alert"
)

// alertCmd is "farmboot alert".
type alertCmd struct {
	Test alertTestCmd `cmd:"" help:"Send a test message to every place of [alerts] urls."`
}

// alertTestCmd is "farmboot alert test".
type alertTestCmd struct{}

// Run sends, and says where that failed.
func (alertTestCmd) Run(ctx context.Context, e *env, cfg setup.Config) error {
	if len(cfg.Alerts) == 0 {
		return errors.New("alerts go nowhere: name at least one URL in [alerts] urls")
	}
	url := "this appliance"
	if cfg.BaseHost != nil {
		url = cfg.BaseHost.String()
	}
	t := alert.Teller{Appliance: func() string { return url }, Now: e.now}
	if err := t.To(cfg.Alerts); err != nil {
		return err
	}
	if err := t.Test(ctx); err != nil {
		return err
	}
	_, err := fmt.Fprintf(e.stdout, "sent to %d\n", len(cfg.Alerts))
	return err
}

// newTeller makes what tells people of troubles.
func (a *appliance) newTeller() (*alert.Teller, error) {
	t := &alert.Teller{Appliance: func() string { return a.urls(netip.Addr{}).Admin }, Log: a.log, Now: a.now}
	t.Watch(a.unwell)
	t.Watch(a.certificateTroubles)
	t.Watch(a.upstreamTroubles)
	t.Watch(a.rivalTroubles)
	t.Watch(a.nodeTroubles)
	t.Watch((&strangers{appliance: a, newest: a.now()}).look)
	t.Watch((&rollbacks{appliance: a}).look)
	return t, t.To(a.cfg.Alerts)
}
