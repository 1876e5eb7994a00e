package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"farmboot/provisioning"
	"farmboot/provisioning/story"
	"farmboot/setup/alert"
	"farmboot/setup/ca"
)

// alertCmd is "farmboot alert".
type alertCmd struct {
	Test alertTestCmd `cmd:"" help:"Send a test message to every place of [alerts] urls."`
}

// alertTestCmd is "farmboot alert test".
type alertTestCmd struct{}

// Run sends, and says where that failed.
func (alertTestCmd) Run(ctx context.Context, e *env) error {
	cfg, err := e.config()
	if err != nil {
		return err
	}
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
	_, err = fmt.Fprintf(e.stdout, "sent to %d\n", len(cfg.Alerts))
	return err
}

// newTeller makes what tells people of troubles.
func (a *appliance) newTeller() (*alert.Teller, error) {
	t := &alert.Teller{Appliance: func() string { return a.urls(netip.Addr{}).Admin }, Log: a.log, Now: a.now}
	t.Watch(a.unwell)
	t.Watch(a.certificateTroubles)
	t.Watch(a.nodeTroubles)
	return t, t.To(a.cfg.Alerts)
}

// unwell is why nodes cannot boot from here.
func (a *appliance) unwell(ctx context.Context) []alert.Condition {
	why := a.health.unhealthy(ctx)
	if why == "" {
		return nil
	}
	return []alert.Condition{{Key: "health", Text: "nodes cannot boot: " + why, Cure: []string{"farmboot doctor on the appliance"}}}
}

// certificateTroubles are what clients have against the certificate, or will soon.
func (a *appliance) certificateTroubles(context.Context) []alert.Condition {
	weak, err := ca.Inspect(filepath.Join(a.cfg.State, "ca"), a.cfg.HTTP.TLSCert, a.cfg.HTTP.TLSKey, a.now())
	if err != nil {
		weak = append(weak, err.Error())
	}
	var all []alert.Condition
	for _, w := range weak {
		all = append(all, alert.Condition{Key: "certificate " + w, Text: "the certificate: " + w})
	}
	return all
}

// Bounds of what alerts look at: boots of the last hour, at most so many events of them.
const (
	troublePeriod = time.Hour
	troubleEvents = 20_000
)

// nodeTroubles are the nodes whose last boot, within the last hour, came to nothing.
func (a *appliance) nodeTroubles(ctx context.Context) []alert.Condition {
	now := a.now()
	events, err := a.store.Events(ctx, provisioning.EventQuery{Since: now.Add(-troublePeriod), Last: true, Limit: troubleEvents})
	if err != nil {
		return []alert.Condition{{Key: "database", Text: "the database does not answer", Cure: []string{"farmboot doctor on the appliance"}}}
	}
	boots := make(map[provisioning.MAC][]provisioning.Event)
	for _, e := range events {
		if !e.MAC.IsZero() {
			boots[e.MAC] = append(boots[e.MAC], e)
		}
	}
	var all []alert.Condition
	for mac, boot := range boots {
		told := story.Tell(boot, now)
		key := string(told.State) + " " + mac.String()
		switch told.State {
		case story.Stalled, story.Refused, story.Failed:
			all = append(all, alert.Condition{Key: key, Text: a.nodeName(ctx, mac) + ": " + told.Verdict, Cure: told.Check})
		case story.Held:
			all = append(all, alert.Condition{Key: key, Text: mac.String() + " is not registered, and waits to be claimed", Cure: []string{"the board's page Discovered, or farmboot node claim CODE --farmer F"}})
		}
	}
	slices.SortFunc(all, func(a, b alert.Condition) int { return cmp.Compare(a.Key, b.Key) })
	return all
}

// nodeName is what people call a node.
func (a *appliance) nodeName(ctx context.Context, mac provisioning.MAC) string {
	if n, err := a.store.Node(ctx, mac); err == nil && n.Name != "" {
		return n.Name + " (" + mac.String() + ")"
	}
	return mac.String()
}
