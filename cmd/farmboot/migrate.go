package main

import (
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"

	"farmboot/provisioning"
	"farmboot/provisioning/postgres"
	"farmboot/provisioning/sqlite"
	"farmboot/provisioning/sqlstore"
	"farmboot/setup"
)

type migrateCmd struct {
	To string `required:"" help:"The new database: a postgres:// URL, or a SQLite file; there must be nothing in it." placeholder:"URL|FILE"`
}

func (migrateCmd) Help() string {
	return `Copies nodes, farmers, tokens, sessions, history, events and claim codes, and compares
both databases afterwards. The old one stays as it is. To go over to the new one, stop
the daemon, migrate, name the new database in [provisioning] database, and start it.

Examples:

  farmboot migrate --to postgres://farmboot@db.example.org/farmboot
  farmboot migrate --to /var/lib/farmboot/provisioning.db`
}

func (c migrateCmd) Run(ctx context.Context, e *env) error {
	if c.To == "-" {
		return usageError{"migrate: a database cannot be written to standard output: give a postgres:// URL, or the name of a SQLite file"}
	}
	database, wrong := setup.ParseDatabase(c.To)
	if wrong != "" {
		return usageError{fmt.Sprintf("migrate: bad --to with %s: accepted are a postgres:// URL, as postgres://USER@HOST/DATABASE, and the name of a SQLite file", provisioning.Clip(wrong, 40))}
	}
	target := setup.Provisioning{Database: database}
	if target.Postgres() {
		if err := postgres.CheckURL(database); err != nil {
			return usageError{fmt.Sprintf("migrate: bad --to: %v; accepted is a connection URI of PostgreSQL, as postgres://USER@HOST/DATABASE", err)}
		}
	}
	db, err := e.open(ctx)
	if err != nil {
		return err
	}
	if target.Postgres() == db.cfg.Provisioning.Postgres() {
		return provisioning.Errorf(provisioning.Invalid, "the database is of that kind already: --to takes a postgres:// URL where it is a SQLite file, and a SQLite file where it is PostgreSQL")
	}
	if daemonRuns(db.cfg) {
		fmt.Fprintln(e.stderr, "farmboot: warning: the daemon runs: what happens from now on is not copied")
	}
	to, err := openStore(ctx, target)
	if err != nil {
		return err
	}
	e.opened = append(e.opened, to)
	copied, err := sqlstore.Copy(ctx, db.store, to)
	if err != nil {
		return err
	}
	for _, table := range slices.Sorted(maps.Keys(copied)) {
		fmt.Fprintf(e.stdout, "copied %s\t%d\n", table, copied[table])
	}
	_, err = fmt.Fprintln(e.stdout, "both databases are equal; name the new one in [provisioning] database")
	return err
}

// daemonRuns tells whether a daemon answers on its socket.
func daemonRuns(cfg setup.Config) bool {
	conn, err := net.Dial("unix", cfg.Socket())
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

type restoreCmd struct {
	File fileName `arg:"" help:"A backup that farmboot backup wrote."`
}

func (restoreCmd) Help() string {
	return `Stop the daemon first, and end other farmboot commands that go on, as events -f does.
What was in its place is kept beside it, as provisioning.db.before-restore, and, where there is one, as …-2.

Example:

  systemctl stop farmboot        # and end other farmboot commands, as events -f
  farmboot restore /srv/backup/farmboot-2026-11-23.db
  systemctl start farmboot`
}

func (c restoreCmd) Run(ctx context.Context, e *env, cfg setup.Config) error {
	if cfg.Provisioning.Postgres() {
		return provisioning.Errorf(provisioning.Invalid, "a PostgreSQL database is restored with its own tools: pg_restore --clean --dbname=NAME FILE")
	}
	if err := mayOpen(cfg); err != nil {
		return err
	}
	if daemonRuns(cfg) {
		return provisioning.Errorf(provisioning.Conflict, "the daemon runs: stop it first (systemctl stop farmboot)")
	}
	if c.File == "-" {
		return usageError{"restore: a database cannot be read from standard input: give the name of a file"}
	}
	if err := noURL(string(c.File)); err != nil {
		return err
	}
	if same(string(c.File), cfg.Provisioning.Database) {
		return provisioning.Errorf(provisioning.Invalid, "%s is the database itself, and not a backup of it", c.File)
	}
	kept, err := sqlite.Restore(ctx, string(c.File), cfg.Provisioning.Database)
	if err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "restored %s\n", printable(string(c.File)))
	if kept != "" {
		fmt.Fprintf(e.stdout, "what was there is in %s\n", printable(kept))
	}
	return nil
}

// same tells whether two names are of one file.
func same(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}
