package postgres_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"farmboot/provisioning"
	"farmboot/provisioning/postgres"
)

// TestMigrateEvents: the events of a former version become boots, and tell what they told.
func TestMigrateEvents(t *testing.T) {
	server := start(t)
	server.Create(t, "former")
	db := server.connect(t, "former")
	const last = 5 // the version that had a row for each event
	files, err := filepath.Glob("migrations/000[1-5]_*.sql")
	if err != nil || len(files) != last {
		t.Fatalf("migrations %v, %v", files, err)
	}
	slices.Sort(files)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.Exec(string(text)); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	if _, err := db.Exec(`CREATE TABLE schema_version (version BIGINT NOT NULL); INSERT INTO schema_version VALUES (5);
		INSERT INTO nodes (mac, runmode, args, kernel, name, nbp, created, updated, owned) VALUES ('\x525400000001', 'prod', '', '', 'n', '', 1, 1, 0);
		INSERT INTO events (at, mac, peer, stage, detail, bytes, size, duration, ipxe, file, cause) VALUES
			(1000, '\x525400000001', '10.0.0.1', 'discover', 'd', 0, 0, 0, FALSE, '', ''),
			(2000, '', '10.0.0.9', 'nbp', '', 7, 7, 5, FALSE, 'ipxe.efi', ''),
			(3000, '\x525400000001', '10.0.0.1', 'discover', '', 0, 0, 0, TRUE, '', '{"id":"ignored"}')`); err != nil {
		t.Fatal(err)
	}
	s, err := postgres.Open(t.Context(), server.URL("former"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	events, err := s.Events(t.Context(), provisioning.EventQuery{})
	if err != nil || len(events) != 3 {
		t.Fatalf("%+v, %v", events, err)
	}
	for i, e := range events {
		if e.ID != int64(i)+1 || !e.At.Equal(time.UnixMilli(int64(i+1)*1000)) || e.IPXE != (i == 2) {
			t.Errorf("event %d: %+v", i, e)
		}
	}
	if events[0].Detail != "d" || events[1].File != "ipxe.efi" || events[1].Duration != 5 || events[2].Cause.ID != provisioning.CauseIgnored || events[2].MAC != events[0].MAC {
		t.Errorf("%+v", events)
	}
	if n, err := s.Node(t.Context(), events[0].MAC); err != nil || n.Name != "n" {
		t.Errorf("node %+v, %v", n, err)
	}
	if id, err := s.LastEventID(t.Context()); err != nil || id != 3 {
		t.Errorf("last ID %d, %v", id, err)
	}
}
