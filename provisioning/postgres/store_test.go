package postgres_test

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	"github.com/prometheus/client_golang/prometheus"

	"farmboot/provisioning"
	"farmboot/provisioning/postgres"
	"farmboot/provisioning/recorder"
	"farmboot/provisioning/registry"
	"farmboot/provisioning/storetest"
	"farmboot/setup/needs"
)

// patience is how long a test waits for what happens soon.
const patience = 60 * time.Second

// server is a PostgreSQL server of our own, that only its Unix socket leads to.
type server struct {
	folder string // with the socket in it
	bin    string
	as     *syscall.Credential // PostgreSQL refuses to run as root
	cmd    *exec.Cmd
}

// start makes an empty server and starts it. It ends with the test.
func start(t *testing.T) *server {
	t.Helper()
	bins, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		t.Fatal(err)
	}
	if len(bins) == 0 {
		needs.Leave(t, "a PostgreSQL server", "apt-get install postgresql")
	}
	slices.Sort(bins)
	// Not t.TempDir: the path of a socket may be 107 bytes long.
	folder, err := os.MkdirTemp("", "pg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(folder); err != nil {
			t.Error(err)
		}
	})
	s := &server{folder: folder, bin: filepath.Dir(bins[len(bins)-1]), as: unprivileged(t)}
	if s.as != nil {
		if err := os.Chown(folder, int(s.as.Uid), int(s.as.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	initdb := s.command("initdb", "--pgdata", filepath.Join(folder, "data"), "--auth", "trust", "--username", "postgres", "--encoding", "UTF8", "--locale", "C", "--no-sync")
	if out, err := initdb.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	s.run(t)
	t.Cleanup(func() { s.stop(t) })
	return s
}

// unprivileged is the user that Debian's package made, nil if we are not root.
func unprivileged(t *testing.T) *syscall.Credential {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		t.Fatalf("PostgreSQL refuses to run as root: %v", err)
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		t.Fatal(err)
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		t.Fatal(err)
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

func (s *server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	cmd.Dir = s.folder
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.as, Pdeathsig: syscall.SIGQUIT}
	return cmd
}

// run starts the server, and waits until it answers.
func (s *server) run(t *testing.T) {
	t.Helper()
	var log strings.Builder
	s.cmd = s.command("postgres", "-D", filepath.Join(s.folder, "data"), "-k", s.folder, "-c", "listen_addresses=", "-c", "fsync=off")
	s.cmd.Stdout, s.cmd.Stderr = &log, &log
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	db := s.connect(t, "postgres")
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for db.PingContext(ctx) != nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
			s.stop(t)
			t.Fatalf("the PostgreSQL server does not come up:\n%s", log.String())
		}
	}
}

// stop ends the server, cutting off whoever is connected.
func (s *server) stop(t *testing.T) {
	t.Helper()
	if s.cmd == nil {
		return
	}
	if err := s.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Error(err)
	}
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("PostgreSQL server: %v", err)
	}
	s.cmd = nil
}

// url names a database of the server.
func (s *server) url(database string) string {
	return fmt.Sprintf("postgres:///%s?host=%s&user=postgres", url.PathEscape(database), url.QueryEscape(s.folder))
}

func (s *server) connect(t *testing.T, database string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", s.url(database))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// create makes an empty database.
func (s *server) create(t *testing.T, database string) {
	t.Helper()
	if _, err := s.connect(t, "postgres").Exec(`CREATE DATABASE ` + database); err != nil {
		t.Fatal(err)
	}
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
			server.create(t, databases[key])
		}
		return open(t, server.url(databases[key]))
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
	server.create(t, "trouble")
	_, err := postgres.Open(ctx, server.url("missing"))
	wantCode(t, "no such database", err, provisioning.Unavailable)
	_, err = postgres.Open(ctx, "postgres://%zz")
	wantCode(t, "no URL", err, provisioning.Invalid)
	_, err = postgres.Open(ctx, "postgres:///x?host="+t.TempDir())
	wantCode(t, "no server", err, provisioning.Unavailable)

	s := open(t, server.url("trouble"))
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
	err = tryOpen(ctx, server.url("trouble"))
	wantCode(t, "read only", err, provisioning.Unavailable)
	exec(`SET default_transaction_read_only = off; ALTER DATABASE trouble RESET default_transaction_read_only; UPDATE schema_version SET version = 99`)
	_, err = postgres.Open(ctx, server.url("trouble"))
	wantCode(t, "newer schema", err, provisioning.Unavailable)
	exec(`UPDATE schema_version SET version = 1`)

	// The server restarts: who watches is told when it is back, and all goes on.
	changed := s.Watch(ctx)
	wait := func(what string) {
		t.Helper()
		select {
		case <-changed:
		case <-time.After(patience):
			t.Fatalf("no word of %s", what)
		}
	}
	wait("the beginning")
	server.stop(t)
	wantCode(t, "write without a server", s.Update(ctx, put), provisioning.Unavailable)
	_, err = s.Node(ctx, storetest.MAC(1))
	wantCode(t, "read without a server", err, provisioning.Unavailable)
	server.run(t)
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
	server.create(t, "shared")
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
		s := open(t, server.url("shared"))
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
	deadline := time.After(patience)
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
