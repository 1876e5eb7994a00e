package postgres_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"farmboot/provisioning"
	"farmboot/provisioning/boots"
	"farmboot/provisioning/postgres"
	"farmboot/provisioning/sqlite"
	"farmboot/provisioning/sqlstore"
)

// TestCopy copies everything from SQLite to PostgreSQL and back, and compares.
func TestCopy(t *testing.T) {
	ctx := t.Context()
	server := start(t)
	server.Create(t, "copy")
	url := server.URL("copy")
	first, err := sqlite.Open(ctx, filepath.Join(t.TempDir(), "first.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	fill(t, first)
	middle, err := postgres.Open(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer middle.Close()
	copied, err := sqlstore.Copy(ctx, first, middle)
	if err != nil || copied["nodes"] != 2 || copied["boots"] != 2 || copied["changes"] != 2 || copied["sessions"] != 1 || copied["tokens"] != 1 || copied["seen"] != 1 || copied["farmers"] != 1 {
		t.Fatalf("copied %v, %v", copied, err)
	}
	for table, rows := range copied {
		if rows == 0 {
			t.Errorf("table %s: fill writes nothing into it", table)
		}
	}
	last, err := sqlite.Open(ctx, filepath.Join(t.TempDir(), "last.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer last.Close()
	if again, err := sqlstore.Copy(ctx, middle, last); err != nil || again["boots"] != 2 {
		t.Fatalf("copied back %v, %v", again, err)
	}
	events, err := last.Events(ctx, provisioning.EventQuery{})
	if err != nil || len(events) != 2 || !events[0].IPXE || events[0].Cause.ID != provisioning.CauseIgnored || events[1].ID != 2 || events[1].Detail != "ä ' \" \\" {
		t.Errorf("events %+v, %v", events, err)
	}
	// What is written next gets the next number.
	for name, s := range map[string]provisioning.Store{"PostgreSQL": middle, "SQLite": last} {
		err := s.Update(ctx, func(tx provisioning.Tx) error {
			return boots.AddEvents(ctx, tx, []provisioning.Event{{At: time.Now(), Stage: provisioning.StageOffer}})
		})
		if id, lastErr := s.LastEventID(ctx); err != nil || lastErr != nil || id != 3 {
			t.Errorf("%s: event %d, %v, %v", name, id, err, lastErr)
		}
	}
	// Nothing is written over.
	if _, err := sqlstore.Copy(ctx, first, middle); provisioning.ErrorCode(err) != provisioning.Conflict {
		t.Errorf("into a database that is not empty: %v", err)
	}
	// And a copy that fails half-way leaves nothing.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	empty, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "empty.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer empty.Close()
	if _, err := sqlstore.Copy(ctx, first, empty); err == nil {
		t.Error("a copy that was broken off gives no error")
	}
	if n, err := empty.CountNodes(t.Context(), provisioning.NodeQuery{}); n != 0 || err != nil {
		t.Errorf("%d nodes of a broken copy, %v", n, err)
	}
}

// fill writes something into every table.
func fill(t *testing.T, s provisioning.Store) {
	t.Helper()
	ctx, at := t.Context(), time.UnixMilli(1_800_000_000_123).UTC()
	err := s.Update(ctx, func(tx provisioning.Tx) error {
		for _, err := range []error{
			tx.PutFarmer(ctx, provisioning.Farmer{ID: 4294967295, Name: "Größe"}),
			tx.PutNode(ctx, provisioning.Node{MAC: provisioning.MAC{2, 1}, Farmer: 4294967295, RunMode: "prod", Args: "a='b'", Name: "n", Exit: true, Once: "exit", Created: at}),
			tx.PutNode(ctx, provisioning.Node{MAC: provisioning.MAC{2, 2}, RunMode: "dev"}),
			tx.PutProven(ctx, provisioning.Proven{MAC: provisioning.MAC{2, 1}, Client: "pxe", Strategy: provisioning.Strategy{NBP: provisioning.SNPOnly}, Since: at}),
			boots.AddEvents(ctx, tx, []provisioning.Event{
				{At: at, Stage: provisioning.StageDiscover, IPXE: true, Cause: provisioning.Cause{ID: provisioning.CauseIgnored}},
				{At: at, MAC: provisioning.MAC{2, 1}, Stage: provisioning.StageKernel, Detail: "ä ' \" \\", Bytes: 1 << 40, Size: 1 << 41, Duration: time.Second},
			}),
			tx.PutSeen(ctx, provisioning.Discovered{MAC: provisioning.MAC{2, 1}, Machine: provisioning.Machine{Serial: "S1"}, FirstSeen: at, LastSeen: at, Boots: 3, Code: "K7M3PX"}),
			tx.PutToken(ctx, provisioning.Token{ID: "T", Role: provisioning.RoleFarmer, Farmer: 4294967295, Name: "t", Expires: at, ReadOnly: true, Created: at, Hash: provisioning.SecretsHash{0xff, 0, 1}}),
			tx.PutSession(ctx, provisioning.Session{Hash: provisioning.SecretsHash{0x80}, Token: "T", Who: "w", Began: at, LastUsed: at}),
			tx.AddChange(ctx, provisioning.Change{At: at, Actor: "a", From: "cli", Action: "node add", Subject: "s", Batch: "b", After: []byte(`{"x":1}`)}),
			tx.AddChange(ctx, provisioning.Change{At: at, Actor: "a", From: "cli", Action: "node rm", Subject: "s", Undoes: 1}),
		} {
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
