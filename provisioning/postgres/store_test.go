package postgres_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	"github.com/prometheus/client_golang/prometheus"

	"farmboot/provisioning"
	"farmboot/provisioning/postgres"
	"farmboot/provisioning/postgres/postgrestest"
	"farmboot/provisioning/recorder"
	"farmboot/provisioning/registry"
	"farmboot/provisioning/storetest"
)

// waitLimit is how long a test waits for what happens soon.
const waitLimit = 60 * time.Second

// server is a PostgreSQL server of our own.
type server struct{ *postgrestest.Server }

func start(t *testing.T) server {
	t.Helper()
	return server{postgrestest.Start(t)}
}

func (s server) connect(t *testing.T, database string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", s.URL(database))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func open(t *testing.T, url string) *postgres.Store {
	t.Helper()
	s, err := postgres.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestStore(t *testing.T) {
	server := start(t)
	databases := map[string]string{}
	storetest.Run(t, func(t *testing.T, name string) provisioning.Store {
		key := t.Name() + "/" + name
		if databases[key] == "" {
			databases[key] = fmt.Sprintf("db%d", len(databases))
			server.Create(t, databases[key])
		}
		return open(t, server.URL(databases[key]))
	})
}

func wantCode(t *testing.T, what string, err error, want provisioning.Code) {
	t.Helper()
	if got := provisioning.ErrorCode(err); got != want {
		t.Errorf("%s: error code %q, want %q: %v", what, got, want, err)
	}
	if err != nil && strings.Contains(err.Error(), "\n") {
		t.Errorf("%s: more than one line: %v", what, err)
	}
}

func TestTrouble(t *testing.T) {
	server := start(t)
	ctx := t.Context()
	server.Create(t, "trouble")
	_, err := postgres.Open(ctx, server.URL("missing"))
	wantCode(t, "no such database", err, provisioning.Unavailable)
	_, err = postgres.Open(ctx, "postgres://%zz")
	wantCode(t, "no URL", err, provisioning.Invalid)
	_, err = postgres.Open(ctx, "postgres:///x?host="+t.TempDir())
	wantCode(t, "no server", err, provisioning.Unavailable)

	s := open(t, server.URL("trouble"))
	wantCode(t, "backup", s.Backup(ctx, "x"), provisioning.Invalid)
	put := func(tx provisioning.Tx) error {
		return tx.PutNode(ctx, provisioning.Node{MAC: storetest.MAC(1), RunMode: "prod"})
	}
	wantCode(t, "put", s.Update(ctx, put), "")

	db := server.connect(t, "trouble")
	exec := func(statement string) {
		t.Helper()
		if _, err := db.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	exec(`ALTER DATABASE trouble SET default_transaction_read_only = on`)
	err = tryOpen(ctx, server.URL("trouble"))
	wantCode(t, "read only", err, provisioning.Unavailable)
	exec(`SET default_transaction_read_only = off; ALTER DATABASE trouble RESET default_transaction_read_only; UPDATE schema_version SET version = 99`)
	_, err = postgres.Open(ctx, server.URL("trouble"))
	wantCode(t, "newer schema", err, provisioning.Unavailable)
	exec(`UPDATE schema_version SET version = 1`)

	// The server restarts: who watches is told when it is back, and all goes on.
	changed := s.Watch(ctx)
	wait := func(what string) {
		t.Helper()
		select {
		case <-changed:
		case <-time.After(waitLimit):
			t.Fatalf("no word of %s", what)
		}
	}
	wait("the beginning")
	server.Stop(t)
	wantCode(t, "write without a server", s.Update(ctx, put), provisioning.Unavailable)
	_, err = s.Node(ctx, storetest.MAC(1))
	wantCode(t, "read without a server", err, provisioning.Unavailable)
	server.Run(t)
	wait("the server's return")
	_, err = s.Node(ctx, storetest.MAC(1))
	wantCode(t, "read", err, "")
	wantCode(t, "write", s.Update(ctx, put), "")
	wait("the change")
}

// tryOpen opens a store only to see whether it can be.
func tryOpen(ctx context.Context, url string) error {
	s, err := postgres.Open(ctx, url)
	if err == nil {
		err = s.Close()
	}
	return err
}

// TestTwoAppliances has two of them share a database: what one registers, the other
// boots at once; what a node does at one, is seen live at the other.
func TestTwoAppliances(t *testing.T) {
	server := start(t)
	server.Create(t, "shared")
	type appliance struct {
		registry *registry.Registry
		assigner *provisioning.Assigner
		recorder *recorder.Recorder
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	build := func() appliance {
		s := open(t, server.URL("shared"))
		rules := registry.Rules{
			RunModes: provisioning.RunModes{"prod": ""}, RunMode: "prod",
			CheckNode: func(provisioning.Node) error { return nil },
		}
		a := appliance{
			registry: registry.New(s, rules, time.Now),
			assigner: provisioning.NewAssigner(s, provisioning.Unknown{Policy: provisioning.Hold}, time.Now),
			recorder: recorder.New(s, recorder.Retention{}, slog.New(slog.DiscardHandler), prometheus.NewRegistry(), time.Now),
		}
		running.Go(func() {
			if err := a.recorder.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		return a
	}
	here, there := build(), build()
	live, stop := there.recorder.Subscribe(provisioning.MAC{})
	defer stop()

	mac := storetest.MAC(1)
	held, err := here.assigner.Admit(ctx, mac)
	if err != nil || held.Policy != provisioning.Hold || held.Code == "" {
		t.Fatalf("held %+v, %v", held, err)
	}
	farmer := provisioning.FarmerID(5)
	admin := provisioning.Actor{Name: "root", Role: provisioning.RoleAdmin}
	if _, err := there.registry.ClaimByCode(ctx, admin, held.Code, provisioning.NodePatch{Farmer: &farmer}); err != nil {
		t.Fatal(err)
	}
	if now, err := here.assigner.Admit(ctx, mac); err != nil || !now.Registered || now.Node.Farmer != 5 {
		t.Errorf("claimed at one appliance, at the other it gets %+v, %v", now, err)
	}
	// Events from before the subscription's first look may be missing: go on until
	// one arrives.
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(waitLimit)
	for {
		here.recorder.Record(provisioning.Event{MAC: mac, Stage: provisioning.StageScript})
		select {
		case e := <-live:
			if e.MAC != mac || e.ID == 0 {
				t.Errorf("event %+v, want one of %v with an ID", e, mac)
			}
			return
		case <-tick.C:
		case <-deadline:
			t.Fatal("no event of the other appliance")
		}
	}
}
