package recorder_test

import (
	"context"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"farmboot/provisioning"
	"farmboot/provisioning/storetest"
)

// TestMachineWithoutUUID: iPXE says zeros of a machine that has none.
func TestMachineWithoutUUID(t *testing.T) {
	const none = "00000000-0000-0000-0000-000000000000"
	s, c := storetest.SQLite(t), &clock{storetest.Noon}
	r := run(t, s, c.now)
	r.Record(provisioning.Event{MAC: storetest.MAC(1), Stage: provisioning.StageScript, Machine: provisioning.Machine{Arch: "BIOS", UUID: none}})
	r.Record(provisioning.Event{MAC: storetest.MAC(2), Stage: provisioning.StageDiscover, Machine: provisioning.Machine{UUID: "4c4c4544"}})
	r.Record(provisioning.Event{MAC: storetest.MAC(2), Stage: provisioning.StageScript, Machine: provisioning.Machine{UUID: none}})
	r.stop()
	for n, want := range map[int]string{1: "", 2: "4c4c4544"} {
		if d, err := s.Seen(t.Context(), storetest.MAC(n)); err != nil || d.UUID != want {
			t.Errorf("machine %d has UUID %q, %v; want %q", n, d.UUID, err, want)
		}
	}
}

// TestFirmwareThatAsksAgainIsNotStoredAgain, as long as it says nothing new.
func TestFirmwareThatAsksAgainIsNotStoredAgain(t *testing.T) {
	s, c := &broken{Store: storetest.SQLite(t)}, &clock{storetest.Noon}
	r := run(t, s, c.now)
	mac := storetest.MAC(1)
	for _, step := range []struct {
		after  time.Duration // Noon
		what   string
		arch   string
		fails  bool
		stored time.Duration
	}{
		{0, "the first time", "BIOS", true, -1},
		{time.Second, "not stored before", "BIOS", false, time.Second},
		{5 * time.Second, "the same again", "BIOS", false, time.Second},
		{6 * time.Second, "something new", "UEFI x64", false, 6 * time.Second},
		{15 * time.Second, "the same again", "UEFI x64", false, 6 * time.Second},
		{16 * time.Second, "after ten seconds", "UEFI x64", false, 16 * time.Second},
		{2 * time.Second, "the clock was set back", "UEFI x64", false, 16 * time.Second},
		{17 * time.Second, "and forth", "UEFI x64", false, 17 * time.Second},
	} {
		s.set(step.fails)
		r.Record(provisioning.Event{At: storetest.Noon.Add(step.after), MAC: mac, Stage: provisioning.StageDiscover, Machine: provisioning.Machine{Arch: step.arch}})
		r.Sync(t.Context())
		d, err := s.Seen(t.Context(), mac)
		for !step.fails && provisioning.ErrorCode(err) == provisioning.NotFound { // it rests after the failure
			r.Sync(t.Context())
			d, err = s.Seen(t.Context(), mac)
		}
		if step.fails {
			if provisioning.ErrorCode(err) != provisioning.NotFound {
				t.Errorf("%s: %+v, %v", step.what, d, err)
			}
			continue
		}
		if err != nil || !d.LastSeen.Equal(storetest.Noon.Add(step.stored)) || d.Boots != 1 {
			t.Errorf("%s: last seen %s after noon, %d boots, %v; want %s, 1", step.what, d.LastSeen.Sub(storetest.Noon), d.Boots, err, step.stored)
		}
	}
	r.stop()
}

// TestBootIsStoredAsSeenOnce, when its machine says no more of itself than in the boot before:
// firmware, iPXE and its script each say another part of it.
func TestBootIsStoredAsSeenOnce(t *testing.T) {
	s, c := &counted{Store: storetest.SQLite(t)}, &clock{storetest.Noon}
	r := run(t, s, c.now)
	mac := storetest.MAC(1)
	boot := func(address string, began time.Time) (stored int) {
		before := s.seen.Load()
		for i, e := range []provisioning.Event{
			{Stage: provisioning.StageDiscover, Machine: provisioning.Machine{Arch: "BIOS", Firmware: "PXEClient", UUID: "4c4c4544"}},
			{Stage: provisioning.StageDiscover, IPXE: true},
			{Stage: provisioning.StageScript, Peer: netip.MustParseAddr(address), Machine: provisioning.Machine{Serial: "7"}},
		} {
			e.MAC, e.At = mac, began.Add(time.Duration(i)*time.Second)
			r.Record(e)
			r.Sync(t.Context())
		}
		return int(s.seen.Load() - before)
	}
	for _, step := range []struct {
		what    string
		address string
		after   time.Duration // Noon
		stored  int
	}{
		{"the first boot: the script says more than the firmware", "192.0.2.1", 0, 2},
		{"another boot", "192.0.2.1", time.Hour, 1},
		{"one with another address", "192.0.2.2", 2 * time.Hour, 2},
	} {
		if stored := boot(step.address, storetest.Noon.Add(step.after)); stored != step.stored {
			t.Errorf("%s is stored as seen %d times, want %d", step.what, stored, step.stored)
		}
		d, err := s.Seen(t.Context(), mac)
		want := provisioning.Machine{Arch: "BIOS", Firmware: "PXEClient", UUID: "4c4c4544", Serial: "7"}
		if err != nil || d.Machine != want || d.Address != step.address {
			t.Errorf("%s: %+v, %v", step.what, d, err)
		}
	}
}

// TestScriptThatComesLateIsOfTheSameBoot, where iPXE asked meanwhile, which is not stored.
func TestScriptThatComesLateIsOfTheSameBoot(t *testing.T) {
	s, c := storetest.SQLite(t), &clock{storetest.Noon}
	r := run(t, s, c.now)
	mac := storetest.MAC(1)
	for _, e := range []provisioning.Event{
		{Stage: provisioning.StageDiscover, At: storetest.Noon, Machine: provisioning.Machine{Arch: "BIOS"}},
		{Stage: provisioning.StageDiscover, At: storetest.Noon.Add(8 * time.Second), IPXE: true},
		{Stage: provisioning.StageScript, At: storetest.Noon.Add(50 * time.Second), Machine: provisioning.Machine{Serial: "7"}},
	} {
		e.MAC = mac
		r.Record(e)
		r.Sync(t.Context())
	}
	if d, err := s.Seen(t.Context(), mac); err != nil || d.Boots != 1 || d.Serial != "7" {
		t.Errorf("%+v, %v; want one boot", d, err)
	}
}

// counted counts how often machines are stored as seen.
type counted struct {
	provisioning.Store
	seen atomic.Int64
}

// UpdateUnsynced implements [provisioning.Store].
func (c *counted) UpdateUnsynced(ctx context.Context, do func(provisioning.Tx) error) error {
	return c.Store.UpdateUnsynced(ctx, func(tx provisioning.Tx) error { return do(countedTx{tx, c}) })
}

type countedTx struct {
	provisioning.Tx
	*counted
}

// PutSeen implements [provisioning.Tx].
func (c countedTx) PutSeen(ctx context.Context, seen ...provisioning.Discovered) error {
	c.seen.Add(int64(len(seen)))
	return c.Tx.PutSeen(ctx, seen...)
}
