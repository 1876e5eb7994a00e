package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"farmboot/provisioning"
	"farmboot/provisioning/boots"
	"farmboot/provisioning/sqlstore"
	"farmboot/setup/needs"
)

// oldData is what a database of each schema version may hold: rows of the tables
// that its migration brought.
var oldData = map[int]string{
	1: `INSERT INTO farmers VALUES (5, 'Five'); INSERT INTO nodes (mac, farmer, runmode, args, kernel, name, nbp, created, updated, owned) VALUES (x'525400000001', 5, 'prod', 'a', 'k', 'n', 'snponly', 1, 2, 3)`,
	2: `INSERT INTO events (at, mac, peer, stage, detail, bytes, size, duration) VALUES (1, x'525400000001', '10.0.0.7', 'offer', '', 0, 0, 0);
		INSERT INTO seen (mac, arch, firmware, uuid, first_seen, last_seen, boots, code) VALUES (x'525400000002', '', '', '', 1, 2, 3, 'AAAAAA')`,
	3: `INSERT INTO tokens (id, role, farmer, created, last_used, hash) VALUES ('T', 'farmer', 5, 1, 0, zeroblob(32)); INSERT INTO sessions (hash, token, who, began, last_used) VALUES (zeroblob(32), 'T', 'token T', 1, 2);
		INSERT INTO changes (at, actor, origin, action, subject, before, after) VALUES (1, 'root', 'cli', 'node add', 'x', '', '')`,
	4: `INSERT INTO events (at, mac, peer, stage, detail, cause, bytes, size, duration) VALUES (1, x'525400000001', '', 'refused', '', '{"id":"tftp-off"}', 0, 0, 0)`,
	5: `INSERT INTO proven VALUES (x'525400000001', 'pxe', 'snponly', '', 1)`,
	6: `UPDATE nodes SET once = 'exit'; UPDATE tokens SET name = 'n', expires = 5, read_only = 1;
		UPDATE seen SET serial = 's'; UPDATE changes SET batch = 'b'`,
	7:  `UPDATE sessions SET role = 'admin', farmer = 5, read_only = 1`,
	8:  `REPLACE INTO event_ids VALUES (1, 9); INSERT INTO boots VALUES (8, 9, x'525400000001', '', 1, 2, x'0a0722056f666665720a06080110021801')`,
	9:  `UPDATE changes SET undoes = 1`,
	10: `UPDATE proven SET client = 'bios'`,
	11: `UPDATE proven SET client = 'http'`,
}

// contents counts the rows of every table; of boots, which are events in older ones, the
// events.
func contents(t *testing.T, file string) map[string]int {
	t.Helper()
	db, err := pool(file, "", 1)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	counts := map[string]int{}
	for _, table := range []string{"farmers", "nodes", "events", "seen", "tokens", "sessions", "changes", "proven"} {
		var n int
		if err := db.QueryRow(`SELECT count(*) FROM ` + table).Scan(&n); err == nil {
			counts[table] = n
		}
	}
	rows, err := db.Query(`SELECT steps FROM boots`)
	if err != nil {
		return counts // of a former version
	}
	defer rows.Close()
	for rows.Next() {
		var b provisioning.BootRow
		if err := rows.Scan(&b.Steps); err != nil {
			t.Fatal(err)
		}
		events, err := boots.Events(b)
		if err != nil {
			t.Fatal(err)
		}
		counts["events"] += len(events)
	}
	return counts
}

func TestMigrateFromEveryOlderSchema(t *testing.T) {
	newest := len(schema())
	for version := 1; version <= newest; version++ {
		t.Run(fmt.Sprint(version), func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "p.db")
			for v := 1; v <= version; v++ {
				if err := migrate(t.Context(), file, schema()[:v]); err != nil {
					t.Fatal(err)
				}
				if oldData[v] == "" {
					t.Fatalf("add data for schema %d to oldData", v)
				}
				exec(t, file, oldData[v])
			}
			before := contents(t, file)
			if got, want := Outdated(t.Context(), file), version < newest; got != want {
				t.Errorf("outdated: %t, want %t", got, want)
			}
			s, err := Open(t.Context(), file)
			if err != nil {
				t.Fatal(err)
			}
			n, err := s.Node(t.Context(), provisioning.MAC{0x52, 0x54, 0, 0, 0, 1})
			if err != nil || n.Farmer != 5 || n.NBP != provisioning.SNPOnly || n.Name != "n" {
				t.Errorf("node %+v, %v", n, err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			after := contents(t, file)
			for table, n := range before {
				if after[table] != n {
					t.Errorf("table %s had %d rows and has %d", table, n, after[table])
				}
			}
			kept := contentsIfThere(t, fmt.Sprintf("%s.schema%d", file, version))
			if want := version < newest; want != (kept != nil) {
				t.Errorf("copy of the older file: %v, want one: %v", kept, want)
			}
			for table, n := range kept {
				if before[table] != n {
					t.Errorf("table %s had %d rows, its copy has %d", table, before[table], n)
				}
			}
		})
	}
}

// TestWordsOfFormerVersionsBecomeValues: what stories were told by is kept in values now.
func TestWordsOfFormerVersionsBecomeValues(t *testing.T) {
	file := filepath.Join(t.TempDir(), "p.db")
	if err := migrate(t.Context(), file, schema()[:3]); err != nil {
		t.Fatal(err)
	}
	exec(t, file, `INSERT INTO events (at, mac, peer, stage, detail, bytes, size, duration) VALUES
		(1, x'525400000001', '', 'discover', 'UEFI x64, PXEClient, iPXE 1.21.1', 0, 0, 0),
		(2, x'525400000001', '', 'nbp', 'ipxe.efi by TFTP', 5, 5, 7),
		(3, x'525400000001', '', 'kernel', 'net/prod.efi', 9, 9, 8),
		(4, x'525400000001', '', 'refused', 'not registered, and unknown = "ignore" (and 3 times before)', 0, 0, 0),
		(5, x'525400000001', '', 'script', 'runmode prod', 0, 0, 0)`)
	s, err := Open(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	events, err := s.Events(t.Context(), provisioning.EventQuery{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range events {
		got = append(got, fmt.Sprintf("%s ipxe=%t file=%s via=%s cause=%s", e.Stage, e.IPXE, e.File, e.Via, e.Cause.ID))
	}
	want := []string{
		"discover ipxe=true file= via= cause=",
		"nbp ipxe=false file=ipxe.efi via=TFTP cause=",
		"kernel ipxe=false file=net/prod.efi via= cause=",
		"refused ipxe=false file= via= cause=ignored",
		"script ipxe=false file= via= cause=",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("events %q, want %q", got, want)
	}
}

// TestBIOSOfFormerVersions: what was learnt of machines' BIOS, which was called as their UEFI, is
// kept for it.
func TestBIOSOfFormerVersions(t *testing.T) {
	file := filepath.Join(t.TempDir(), "p.db")
	if err := migrate(t.Context(), file, schema()[:9]); err != nil {
		t.Fatal(err)
	}
	exec(t, file, `INSERT INTO proven VALUES (x'525400000001', 'pxe', '', 'bootserver', 1), (x'525400000002', 'pxe', 'snponly', 'offer', 1), (x'525400000003', 'ipxe', '', 'bootserver', 1), (x'525400000004', 'pxe', '', '', 1);
		INSERT INTO seen (mac, arch, firmware, uuid, first_seen, last_seen, boots, code) VALUES (x'525400000004', 'BIOS', '', '', 1, 2, 3, 'AAAAAA'), (x'525400000002', 'UEFI x64', '', '', 1, 2, 3, 'BBBBBB')`)
	s, err := Open(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i, want := range []string{"bios", "pxe", "ipxe", "bios"} {
		if p, err := s.Proven(t.Context(), provisioning.MAC{0x52, 0x54, 0, 0, 0, byte(i + 1)}); err != nil || p.Client != want {
			t.Errorf("machine %d: %+v, %v, want %s", i+1, p, err, want)
		}
	}
}

// TestEventsOfFormerVersionsBecomeBoots: none is lost, nor any of what it tells.
func TestEventsOfFormerVersionsBecomeBoots(t *testing.T) {
	file := filepath.Join(t.TempDir(), "p.db")
	if err := migrate(t.Context(), file, schema()[:7]); err != nil {
		t.Fatal(err)
	}
	db, err := pool(file, unsyncedSettings, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(of ...string) string { return of[random.IntN(len(of))] }
	var want []provisioning.Event
	const n = 12_000 // more than is packed at once
	for id := int64(3); id < n; id++ {
		mac := provisioning.MAC{0x52, 0x54, 0, 0, 0, byte(random.IntN(40))}
		mac = [...]provisioning.MAC{mac, mac, mac, {}}[random.IntN(4)]
		at := time.UnixMilli(1_700_000_000_000 + id*1000 - int64(random.IntN(5000))).UTC()
		if id > n/2 {
			at = at.Add(-time.Hour) // a clock that was set back
		}
		e := provisioning.Event{
			ID: id, At: at, MAC: mac, Peer: netip.MustParseAddr(pick("10.0.0.7", "10.0.0.8", "fe80::1")),
			Stage: provisioning.Stage(pick("discover", "offer", "nbp", "script", "kernel", "one of tomorrow")), Detail: pick("", "BIOS", "ä"), IPXE: random.IntN(2) == 0,
			File: pick("", "ipxe.efi"), Via: pick("", "TFTP"), Version: pick("", "v3"), SHA256: pick("", "5e1f"),
			Held: random.IntN(3), Bytes: random.Int64N(1 << 40), Size: random.Int64(), Duration: time.Duration(random.Int64N(1e12)),
		}
		cause := ""
		if random.IntN(2) == 0 {
			e.Cause, cause = provisioning.Cause{ID: provisioning.CauseQueued, Size: 2, Limit: 9}, `{"id":"queued","size":2,"limit":9}`
		}
		address := []byte{}
		if !mac.IsZero() {
			address = mac[:]
		}
		if _, err := tx.Exec(`INSERT INTO events (id, at, mac, peer, stage, detail, ipxe, file, via, version, sha256, cause, held, bytes, size, duration) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
			e.ID, e.At.UnixMilli(), address, e.Peer.String(), e.Stage, e.Detail, e.IPXE, e.File, e.Via, e.Version, e.SHA256, cause, e.Held, e.Bytes, e.Size, int64(e.Duration)); err != nil {
			t.Fatal(err)
		}
		want = append(want, e)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	got, err := s.Events(t.Context(), provisioning.EventQuery{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("events (-want +got):\n%.2000s", diff)
	}
	if last, err := s.LastEventID(t.Context()); err != nil || last != n-1 {
		t.Errorf("last ID %d, %v, want %d", last, err, n-1)
	}
	var rows int
	if err := db.QueryRow(`SELECT count(*) FROM boots`).Scan(&rows); err != nil || rows > n/2 {
		t.Errorf("%d rows of %d events, %v", rows, n, err)
	}
}

// TestCopyBelongsToTheFoldersOwner: the next one may be the daemon's to replace.
func TestCopyBelongsToTheFoldersOwner(t *testing.T) {
	needs.Root(t)
	const daemon = 4242
	dir := t.TempDir()
	if err := os.Chown(dir, daemon, daemon); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "p.db")
	if err := migrate(t.Context(), file, schema()[:1]); err != nil {
		t.Fatal(err)
	}
	if err := migrate(t.Context(), file, schema()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{file, file + ".schema1"} {
		fi, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if uid := fi.Sys().(*syscall.Stat_t).Uid; uid != daemon {
			t.Errorf("%s belongs to %d", name, uid)
		}
	}
}

// contentsIfThere is contents of a file that may not be there.
func contentsIfThere(t *testing.T, file string) map[string]int {
	t.Helper()
	if _, err := os.Stat(file); err != nil {
		return nil
	}
	return contents(t, file)
}

// exec runs statements on a file.
func exec(t *testing.T, file string, statements ...string) {
	t.Helper()
	db, err := pool(file, "", 1)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

func TestFilesThatAreNotOurs(t *testing.T) {
	for _, test := range []struct{ name, sql, want string }{
		{"newer schema", "", "made by a newer farmboot"},
		{"legacy", "CREATE TABLE provision (client, branch, zerotier, kargs)", "legacy bootstrap.sqlite3"},
		{"somebody else's", "CREATE TABLE t (a)", "not a Farmboot database"},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "p.db")
			if test.sql == "" {
				if err := migrate(t.Context(), file, schema()); err != nil {
					t.Fatal(err)
				}
				test.sql = `PRAGMA user_version = 99`
			}
			exec(t, file, test.sql)
			_, err := Open(t.Context(), file)
			if err == nil || !strings.Contains(err.Error(), test.want) || provisioning.ErrorCode(err) == provisioning.Internal {
				t.Errorf("error %v, want one that says %q", err, test.want)
			}
		})
	}
	t.Run("no SQLite file", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "p.db")
		if err := os.WriteFile(file, []byte(strings.Repeat("not a database\n", 100)), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), file); provisioning.ErrorCode(err) != provisioning.Unavailable {
			t.Errorf("error %v, want a clear one", err)
		}
	})
	t.Run("a database written over", func(t *testing.T) { // a daemon goes on with what others get
		file := filepath.Join(t.TempDir(), "p.db")
		if err := os.WriteFile(file, make([]byte, 8192), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(t.Context(), file)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if _, err := s.Node(t.Context(), provisioning.MAC{2}); s.ReadOnly() == nil || s.Probe(t.Context()) == nil || provisioning.ErrorCode(err) != provisioning.Unavailable {
			t.Errorf("%v, %v, %v", s.ReadOnly(), s.Probe(t.Context()), err)
		}
	})
	t.Run("a folder, a pipe", func(t *testing.T) {
		pipe := filepath.Join(t.TempDir(), "pipe")
		if err := syscall.Mkfifo(pipe, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{t.TempDir(), pipe} {
			if _, err := Open(t.Context(), name); provisioning.ErrorCode(err) != provisioning.Invalid {
				t.Errorf("error %v, want a clear one", err)
			}
		}
	})
	t.Run("below a file", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), filepath.Join(file, "p.db")); provisioning.ErrorCode(err) != provisioning.Unavailable {
			t.Errorf("error %v, want a clear one", err)
		}
	})
}

// TestFailedMigrationChangesNothing breaks off in the middle of the second one.
func TestFailedMigrationChangesNothing(t *testing.T) {
	list, err := sqlstore.Migrations(fstest.MapFS{
		"0001_a.sql": {Data: []byte(fmt.Sprintf("PRAGMA application_id = %d; CREATE TABLE a (x);", applicationID))},
		"0002_b.sql": {Data: []byte("CREATE TABLE b (x); CREATE TABLE a (x);")},
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "p.db")
	if err := migrate(t.Context(), file, list); err == nil {
		t.Fatal("no error")
	}
	if v, err := versionOf(t.Context(), file, ""); v != 1 || err != nil {
		t.Errorf("version %d, %v, want 1", v, err)
	}
	exec(t, file, "CREATE TABLE b (x)") // is not there yet
	if _, err := sqlstore.Migrations(fstest.MapFS{"0002_b.sql": {}}); err == nil {
		t.Error("a gap in the numbers is not noticed")
	}
}

// TestOpenByManyAtOnce has several processes', here connections', find an empty file.
func TestOpenByManyAtOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "p.db")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			s, err := Open(t.Context(), file)
			if err != nil {
				t.Error(err)
				return
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// TestEveryConnectionHasItsSettings looks at several of a pool at once.
func TestEveryConnectionHasItsSettings(t *testing.T) {
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "p.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	look := func(db *sql.DB, pragma string) string {
		conn, err := db.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() }) // at the end: the next look is at another connection
		var v string
		if err := conn.QueryRowContext(context.Background(), "PRAGMA "+pragma).Scan(&v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	for range readers() {
		for _, db := range []*sql.DB{s.rows, s.lists} {
			if v := look(db, "query_only"); v != "1" {
				t.Errorf("query_only is %s", v)
			}
		}
	}
	if v := look(s.durable, "synchronous"); v != "2" {
		t.Errorf("synchronous is %s, want 2 (FULL)", v)
	}
	if v := look(s.unsynced, "synchronous"); v != "1" {
		t.Errorf("synchronous is %s, want 1 (NORMAL)", v)
	}
}

// TestNobodyElseReadsIt: kernel arguments may hold secrets, the log has them too.
func TestNobodyElseReadsIt(t *testing.T) {
	file := filepath.Join(t.TempDir(), "p.db")
	s, err := Open(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	err = s.Update(t.Context(), func(tx provisioning.Tx) error {
		return tx.PutFarmer(t.Context(), provisioning.Farmer{ID: 1})
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{file, file + "-wal"} {
		if fi, err := os.Stat(name); err != nil || fi.Mode().Perm()&0o007 != 0 {
			t.Errorf("%s: mode %v, %v", name, fi.Mode(), err)
		}
	}
}

// TestNoBootWaitsForAList: while all connections for lists are busy, a node is looked
// up all the same.
func TestNoBootWaitsForAList(t *testing.T) {
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "p.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for range readers() {
		rows, err := s.lists.Query(`SELECT 1 UNION SELECT 2`)
		if err != nil || !rows.Next() {
			t.Fatalf("a list that is being read: %v", err)
		}
		defer rows.Close()
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	looked := make(chan error, 1)
	go func() {
		_, err := s.Node(ctx, provisioning.MAC{2})
		looked <- err
	}()
	select {
	case err := <-looked:
		if provisioning.ErrorCode(err) != provisioning.NotFound {
			t.Errorf("look-up: %v", err)
		}
	case <-ctx.Done():
		t.Error("the look-up waits")
	}
}
