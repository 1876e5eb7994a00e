// Package postgrestest starts PostgreSQL servers, for tests.
package postgrestest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"farmboot/setup/needs"
)

// startLimit is how long a server may take to come up.
const startLimit = 60 * time.Second

// Server is a PostgreSQL server of our own, that only its Unix socket leads to.
type Server struct {
	folder string // with the socket in it
	bin    string
	as     *syscall.Credential // PostgreSQL refuses to run as root
	cmd    *exec.Cmd
}

// Start makes an empty server and starts it. It ends with the test.
func Start(t *testing.T) *Server {
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
	s := &Server{folder: folder, bin: filepath.Dir(bins[len(bins)-1]), as: unprivileged(t)}
	if s.as != nil {
		if err := os.Chown(folder, int(s.as.Uid), int(s.as.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	s.do(t, "initdb", "--pgdata", filepath.Join(folder, "data"), "--auth", "trust", "--username", "postgres", "--encoding", "UTF8", "--locale", "C", "--no-sync")
	s.Run(t)
	t.Cleanup(func() { s.Stop(t) })
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

func (s *Server) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, name), args...)
	cmd.Dir = s.folder
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.as, Pdeathsig: syscall.SIGQUIT}
	return cmd
}

// do runs one of PostgreSQL's programs, which must succeed.
func (s *Server) do(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := s.command(t.Context(), name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// Run starts the server where it was stopped, and waits until it answers.
func (s *Server) Run(t *testing.T) {
	t.Helper()
	var log strings.Builder
	s.cmd = s.command(context.WithoutCancel(t.Context()), "postgres", "-D", filepath.Join(s.folder, "data"), "-k", s.folder, "-c", "listen_addresses=", "-c", "fsync=off")
	s.cmd.Stdout, s.cmd.Stderr = &log, &log
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), startLimit)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for s.command(ctx, "pg_isready", "-h", s.folder, "-U", "postgres").Run() != nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
			s.Stop(t)
			t.Fatalf("the PostgreSQL server does not come up:\n%s", log.String())
		}
	}
}

// Stop ends the server, cutting off whoever is connected.
func (s *Server) Stop(t *testing.T) {
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

// URL names a database of the server.
func (s *Server) URL(database string) string {
	return fmt.Sprintf("postgres:///%s?host=%s&user=postgres", url.PathEscape(database), url.QueryEscape(s.folder))
}

// Create makes an empty database.
func (s *Server) Create(t *testing.T, database string) {
	t.Helper()
	s.do(t, "createdb", "-h", s.folder, "-U", "postgres", database)
}
