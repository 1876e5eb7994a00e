package main

import (
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"farmboot/ipxe/upstream"
	"farmboot/provisioning"
	"farmboot/provisioning/recorder"
	"farmboot/provisioning/sqlite"
)

// TestNodeTroubles: what alerts say of nodes, from what listeners record of them.
func TestNodeTroubles(t *testing.T) {
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "p.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	now := time.Date(2027, 1, 1, 12, 0, 0, 0, time.UTC)
	a := &appliance{log: slog.New(slog.DiscardHandler), now: func() time.Time { return now }, store: store}
	a.recorder = recorder.New(store, recorder.Retention{}, a.log, prometheus.NewRegistry(), a.now)
	stalled, waiting, old, fine := provisioning.MAC{0x52, 1}, provisioning.MAC{0x52, 2}, provisioning.MAC{0x52, 3}, provisioning.MAC{0x52, 4}
	if err := store.Update(t.Context(), func(tx provisioning.Tx) error {
		return tx.PutNode(t.Context(), provisioning.Node{MAC: stalled, RunMode: "prod", Name: "rack 3"})
	}); err != nil {
		t.Fatal(err)
	}
	for _, e := range []provisioning.Event{
		{At: now.Add(-2 * time.Hour), MAC: old, Stage: provisioning.StageOffer},
		{At: now.Add(-10 * time.Minute), MAC: stalled, Stage: provisioning.StageDiscover},
		{At: now.Add(-10 * time.Minute), MAC: stalled, Stage: provisioning.StageOffer},
		{At: now.Add(-time.Minute), MAC: waiting, Stage: provisioning.StageHold},
		{At: now.Add(-time.Second), MAC: fine, Stage: provisioning.StageOffer},
	} {
		a.recorder.Record(e)
	}
	a.recorder.Flush(t.Context())
	all := a.nodeTroubles(t.Context())
	if len(all) != 2 {
		t.Fatalf("troubles %+v, want two", all)
	}
	if c := all[0]; c.Key != "held "+waiting.String() || !strings.Contains(c.Text, "waits to be claimed") {
		t.Errorf("%+v", c)
	}
	if c := all[1]; c.Key != "stalled "+stalled.String() || !strings.HasPrefix(c.Text, "rack 3 ("+stalled.String()+"): Stalled") || len(c.Cure) == 0 {
		t.Errorf("%+v", c)
	}
	store.Close()
	if all := a.nodeTroubles(t.Context()); len(all) != 1 || all[0].Key != "database" {
		t.Errorf("with a closed database: %+v", all)
	}
}

// TestUpstreamIsToldOfLate: after a look that failed the next comes within a minute, and people are
// told no sooner for that.
func TestUpstreamIsToldOfLate(t *testing.T) {
	const refresh = 6 * time.Hour
	began := time.Now()
	up, err := upstream.New(upstream.Options{Base: "http://192.0.2.1"})
	if err != nil {
		t.Fatal(err)
	}
	defer up.Close()
	failed := map[string]upstream.Failure{"net/prod.efi": {Err: errors.New("answers with status 503"), Times: 700, Since: began}}
	for _, look := range []upstream.Look{{Silent: 700, Since: began, Failed: failed}, {Answered: true, Failed: failed}} {
		for after, want := range map[time.Duration]int{time.Minute: 0, 2*refresh - 1: 0, 2 * refresh: 1} {
			a := appliance{upstream: up, now: func() time.Time { return began.Add(after) }}
			if got := a.upstreamFaults(look, silentLooks, (silentLooks-1)*refresh); len(got) != want {
				t.Errorf("after %s: %v, want %d", after, got, want)
			}
			if got := a.upstreamFaults(look, 1, 0); len(got) != 1 {
				t.Errorf("status after %s: %v", after, got)
			}
		}
	}
}
