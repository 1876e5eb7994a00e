// Package postgres stores provisioning data in a PostgreSQL database, for sites
// with several appliances.
//
// All of them write and read one database, so each sees what another changed with
// its next read. Writers take turns, by an advisory lock: so a transaction is alone,
// as [provisioning.Store] promises, and events become visible in the order of their
// IDs, which live views go by.
package postgres

import (
	"context"
	"database/sql"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"farmboot/provisioning"
	"farmboot/provisioning/sqlstore"
)

// Store is a [provisioning.Store] in a PostgreSQL database. It may be used by many
// goroutines at once.
type Store struct {
	sqlstore.Reader
	config *pgx.ConnConfig
	db     *sql.DB
}

var _ provisioning.Store = (*Store)(nil)

const (
	// turn is the key of the advisory lock that writers take turns by, "FBOT".
	turn = 0x46424f54
	// channel is what LISTEN and NOTIFY name.
	channel = "farmboot"
	// connections is how many there are at most: enough for every core of an
	// appliance, and few for a server that 20 appliances share (its default is 100).
	connections = 4
)

// CheckURL says what is wrong with the URL of a database. Of a password in it pgx shows
// nothing, as far as it finds that in what is no URL.
func CheckURL(url string) error {
	_, err := pgx.ParseConfig(url)
	return err
}

// Open connects to the database that url names, postgres://user@host/name, and
// brings it to the schema of this program. A database with a newer schema is
// refused.
func Open(ctx context.Context, url string) (*Store, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, provisioning.Errorf(provisioning.Invalid, "[provisioning] database: %w", err) // see CheckURL
	}
	db := stdlib.OpenDB(*config)
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	if err := migrate(ctx, db, schema()); err != nil {
		db.Close()
		return nil, err
	}
	s := &Store{config: config, db: db}
	s.Reader = sqlstore.Reader{Q: db, Explain: explain, Snapshot: s.Reading}
	return s, nil
}

// Update implements [provisioning.Store].
func (s *Store) Update(ctx context.Context, fn func(provisioning.Tx) error) error {
	return s.update(ctx, fn, `SET LOCAL synchronous_commit = on`)
}

// UpdateUnsynced implements [provisioning.Store].
func (s *Store) UpdateUnsynced(ctx context.Context, fn func(provisioning.Tx) error) error {
	return s.update(ctx, fn, `SET LOCAL synchronous_commit = off`)
}

func (s *Store) update(ctx context.Context, fn func(provisioning.Tx) error, durability string) error {
	tx, err := begin(ctx, s.db)
	if err != nil {
		return err
	}
	defer tx.Rollback() // after a commit it does nothing
	if _, err := tx.ExecContext(ctx, durability); err != nil {
		return explain(err)
	}
	if err := fn(sqlstore.Tx{Reader: sqlstore.Reader{Q: tx, Explain: explain}}); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, `NOTIFY `+channel); err != nil { // goes out with the commit
		return explain(err)
	}
	return explain(tx.Commit())
}

// begin starts a transaction when it is its turn.
func begin(ctx context.Context, db *sql.DB) (*sql.Tx, error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return nil, explain(err)
	}
	if _, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock($1)`, int64(turn)); err != nil {
		_ = tx.Rollback() // the other error is the one that tells
		return nil, explain(err)
	}
	return tx, nil
}

// Backup implements [provisioning.Store]: PostgreSQL has better tools.
func (s *Store) Backup(context.Context, string) error {
	return provisioning.Errorf(provisioning.Invalid, "a PostgreSQL database is backed up with its own tools: pg_dump --format=custom --file=FILE %s", s.config.Database)
}

// Close waits for reads and writes under way.
func (s *Store) Close() error { return s.db.Close() }

// DecisionsVersion implements [provisioning.Store]: here it would take a query.
func (*Store) DecisionsVersion() uint64 { return 0 }
