package main

import (
	"log/slog"
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"farmboot/provisioning"
	"farmboot/provisioning/recorder"
	"farmboot/provisioning/sqlite"
)

// TestDoctorsMachinesAreNoNodes: a doctor plays machines on the LAN, and has them ask
// from its own address. Nothing of them is kept, nor is what that address does taken
// for theirs.
func TestDoctorsMachinesAreNoNodes(t *testing.T) {
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "p.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	a := &appliance{log: slog.New(slog.DiscardHandler), now: time.Now, store: store}
	a.recorder = recorder.New(store, recorder.Retention{}, a.log, prometheus.NewRegistry(), a.now)
	node, probe := provisioning.MAC{0x52, 1}, provisioning.MAC{0x02, 'd', 'o', 'c', 't', 1}
	for mac, addr := range map[provisioning.MAC]string{node: "192.0.2.57", probe: "192.0.2.10"} {
		a.record(provisioning.Event{MAC: mac, Stage: provisioning.StageDiscover})
		a.learn(netip.MustParseAddr(addr), mac)
	}
	a.recorder.Flush(t.Context())
	if seen, err := store.Unregistered(t.Context(), 10); err != nil || len(seen) != 1 || seen[0].MAC != node {
		t.Errorf("seen are %v, %v; want %s alone", seen, err, node)
	}
	if events, err := store.Events(t.Context(), provisioning.EventQuery{}); err != nil || len(events) != 1 || events[0].MAC != node {
		t.Errorf("events are %v, %v; want one of %s", events, err, node)
	}
	if mac, known := a.recorder.MAC(netip.MustParseAddr("192.0.2.10")); known {
		t.Errorf("the doctor's address is taken for that of %s", mac)
	}
	if mac, _ := a.recorder.MAC(netip.MustParseAddr("192.0.2.57")); mac != node {
		t.Errorf("the node's address is taken for that of %s", mac)
	}
}
