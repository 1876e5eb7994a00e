// Package sqlite stores provisioning data in one SQLite file.
//
// One connection writes at a time and a few read, beside it and without waiting
// for it (write-ahead log). Nothing is cached in between, so a change that another
// process makes, farmboot's command line for one, is seen by the next read. What
// [Store.Update] acknowledged survives the end of the process and of the machine.
package sqlite

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/mattn/go-sqlite3" // and the driver "sqlite3"

	"farmboot/provisioning"
	"farmboot/provisioning/ordinary"
	"farmboot/provisioning/sqlstore"
)

// Store is a [provisioning.Store] in a SQLite file. It may be used by many
// goroutines at once.
type Store struct {
	sqlstore.Reader
	file     string
	opened   os.FileInfo         // of file
	readOnly *provisioning.Error // why it cannot be written; nil: it can

	copySettings string // of a connection for a backup

	rows     *sql.DB       // reads by key: no boot waits behind a list of 100,000 nodes
	lists    *sql.DB       // reads of many rows
	durable  *sql.DB       // one connection, synchronous = FULL
	unsynced *sql.DB       // one connection, synchronous = NORMAL
	version  version       // of what people decided
	writing  chan struct{} // held by whoever writes, so that the two do not poll for each other's lock
}

var _ provisioning.Store = (*Store)(nil)

// readers is how many connections read by key: one per core, but more than a few only
// get in each other's way (measured: eight are slower than two). As many read lists.
func readers() int { return min(max(runtime.NumCPU(), 2), 4) }

// dsn names the file with settings. They belong here, not in a PRAGMA run later:
// each new connection of a pool starts from the DSN.
func dsn(file string, settings string) string {
	// The file is a URI for SQLite: ? # and % in a name must not end it.
	return "file:" + (&url.URL{Path: file}).EscapedPath() + fmt.Sprintf("?_busy_timeout=%d", busyTimeout.Milliseconds()) + "&_foreign_keys=on&_stmt_cache_size=32&" + settings
}

// busyTimeout is how long a connection waits for the lock of another one.
const busyTimeout = 10 * time.Second

const (
	// With _txlock=immediate a transaction that reads first and then writes takes
	// the write lock at once; without it 357 of 800 failed "database is locked"
	// (measured).
	durableSettings  = "_journal_mode=WAL&_txlock=immediate&_synchronous=FULL"
	unsyncedSettings = "_journal_mode=WAL&_txlock=immediate&_synchronous=NORMAL"
	readSettings     = "_query_only=on"
	copySettings     = "mode=ro" // may write no database, but a backup into another file
)

// Open opens the file, makes it if there is none, and brings it to the schema of
// this program, keeping a copy of the older file beside it. A file with a newer
// schema, or one that is not Farmboot's, is refused. A file that cannot be written,
// or is damaged, is opened for reading, as far as that goes: see [Store.ReadOnly].
func Open(ctx context.Context, file string) (*Store, error) {
	file, err := filepath.Abs(file)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	if err := migrate(ctx, file, schema()); err != nil {
		if readOnlySettings, ok := cannotWrite(ctx, file, err); ok {
			return openReadOnly(file, readOnlySettings, err), nil
		}
		// A daemon goes on without what cannot be read: nodes get the default.
		if e, ok := errors.AsType[sqlite3.Error](err); ok && (e.Code == sqlite3.ErrCorrupt || e.Code == sqlite3.ErrNotADB && isNoise(file)) {
			return openReadOnly(file, copySettings, err), nil
		}
		return nil, err
	}
	s := &Store{file: file, copySettings: copySettings, writing: make(chan struct{}, 1)}
	if s.opened, err = os.Stat(file); err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	if s.durable, err = pool(file, durableSettings, 1); err != nil {
		return nil, err
	}
	if s.unsynced, err = pool(file, unsyncedSettings, 1); err != nil {
		return nil, err
	}
	if err := s.openReaders(readSettings); err != nil {
		return nil, err
	}
	_, _ = s.LastEventID(ctx) // a connection that has read something, see version.open
	_ = s.version.open(file)  // without it every look-up is a query
	return s, nil
}

// isNoise tells whether a file that is no database begins with what nobody wrote: so does a
// database that a disk or a program has damaged. A text was put there by mistake.
func isNoise(file string) bool {
	f, err := os.Open(file) // before any connection: see [index] on closing it
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, 512)
	n, _ := f.ReadAt(head, 0)
	return !utf8.Valid(head[:n]) || bytes.IndexByte(head[:n], 0) >= 0
}

func (s *Store) openReaders(settings string) (err error) {
	if s.rows, err = pool(s.file, settings, readers()); err != nil {
		return err
	}
	if s.lists, err = pool(s.file, settings, readers()); err != nil {
		return err
	}
	s.Reader = sqlstore.Reader{Q: uncancelled{Querier: s.lists, rows: s.rows}, Explain: explain, Snapshot: s.Reading}
	return nil
}

// pool makes a pool of exactly n connections, opened on first use and then kept.
func pool(file, settings string, n int) (*sql.DB, error) {
	if err := ordinary.Check(file); err != nil { // SQLite waits for who writes into a pipe
		return nil, err
	}
	db, err := sql.Open("sqlite3", dsn(file, settings))
	if err != nil {
		return nil, fmt.Errorf("open database %s: %w", file, err)
	}
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n)
	return db, nil
}

// cannotWrite tells whether err means that the file can only be read, and with
// which settings. On a read-only file system a write-ahead log needs its shared
// memory file to be there already; where nothing is in the log, the database file
// alone is everything.
func cannotWrite(ctx context.Context, file string, err error) (settings string, ok bool) {
	if provisioning.ErrorCode(err) != provisioning.Unavailable {
		return "", false
	}
	candidates := []string{copySettings}
	if info, err := os.Stat(file + "-wal"); errors.Is(err, os.ErrNotExist) || err == nil && info.Size() == 0 {
		candidates = append(candidates, copySettings+"&immutable=1")
	}
	for _, settings := range candidates {
		if v, err := versionOf(ctx, file, settings); err == nil && v == len(schema()) {
			return settings, true
		}
	}
	return "", false
}

func openReadOnly(file, settings string, why error) *Store {
	s := &Store{file: file, copySettings: settings, writing: make(chan struct{}, 1)}
	s.readOnly = provisioning.Errorf(provisioning.Unavailable, "the database can only be read: %w", why)
	_ = s.openReaders(settings) // cannotWrite opened it just so
	return s
}

// ReadOnly returns why the store cannot be written, nil if it can. It was found
// when the store was opened.
func (s *Store) ReadOnly() error {
	if s.readOnly == nil {
		return nil
	}
	return s.readOnly
}

// Update implements [provisioning.Store].
func (s *Store) Update(ctx context.Context, fn func(provisioning.Tx) error) error {
	return s.update(ctx, s.durable, fn)
}

// UpdateUnsynced implements [provisioning.Store].
func (s *Store) UpdateUnsynced(ctx context.Context, fn func(provisioning.Tx) error) error {
	return s.update(ctx, s.unsynced, fn)
}

func (s *Store) update(ctx context.Context, db *sql.DB, fn func(provisioning.Tx) error) error {
	if s.readOnly != nil {
		return s.readOnly
	}
	select {
	case s.writing <- struct{}{}:
		defer func() { <-s.writing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := s.Replaced(); err != nil {
		return err
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return explain(err)
	}
	defer tx.Rollback() // after a commit it does nothing
	decided := false
	if err := fn(sqlstore.Tx{
		Reader:     sqlstore.Reader{Q: uncancelled{Querier: tx, rows: tx}, Explain: explain},
		OnDecision: func() { decided = true },
	}); err != nil {
		return err
	}
	if decided {
		return explain(tx.Commit())
	}
	return explain(s.version.keep(tx.Commit))
}

// DecisionsVersion implements [provisioning.Store].
func (s *Store) DecisionsVersion() uint64 { return s.version.get() }

// uncancelled does not watch the context of queries for one row, nor of statements: they
// take microseconds, and the driver's goroutine that watches takes as many again.
// The connections for one row do nothing else, so nobody waits long for one of them.
type uncancelled struct {
	sqlstore.Querier
	rows sqlstore.Querier // for queries for one row
}

func (q uncancelled) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	return q.rows.QueryRowContext(context.WithoutCancel(ctx), query, args...)
}

func (q uncancelled) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return q.Querier.ExecContext(context.WithoutCancel(ctx), query, args...)
}

// Replaced returns an error if the file that is open is not the one of that name any
// more: it was removed, emptied, or another put in its place. What is written then is lost.
func (s *Store) Replaced() error {
	if s.opened == nil {
		return nil // only read, so nothing can be lost
	}
	const why = "so nothing is written until farmboot is started again; nodes boot as they were registered last"
	switch now, err := os.Stat(s.file); {
	case errors.Is(err, os.ErrNotExist):
		return provisioning.Errorf(provisioning.Unavailable, "the database %s was deleted, %s", s.file, why)
	case err == nil && !os.SameFile(s.opened, now):
		return provisioning.Errorf(provisioning.Unavailable, "the database %s was replaced by another file, %s", s.file, why)
	case err == nil && now.Size() == 0 && s.opened.Size() > 0:
		return provisioning.Errorf(provisioning.Unavailable, "the database %s was emptied, %s", s.file, why)
	}
	return nil
}

// Probe reads the beginning of the file anew, and says whether it is a database no more:
// somebody may have written over it, which the connections that are open do not see as
// long as what they read is in their memory. Whatever else fails is not its affair.
func (s *Store) Probe(ctx context.Context) error {
	db, err := pool(s.file, "mode=ro&"+readSettings, 1)
	if err != nil {
		return nil
	}
	defer db.Close()
	var tables int
	err = db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&tables)
	if e, ok := errors.AsType[sqlite3.Error](err); ok && (e.Code == sqlite3.ErrNotADB || e.Code == sqlite3.ErrCorrupt) {
		return explain(err)
	}
	return nil
}

// Verify reads the whole file, and says whether it is damaged. It takes about a second
// for 100 MB.
func (s *Store) Verify(ctx context.Context) error {
	var says string
	if err := s.lists.QueryRowContext(ctx, "PRAGMA quick_check(1)").Scan(&says); err != nil {
		return explain(err)
	}
	if says != "ok" {
		return provisioning.Errorf(provisioning.Unavailable, "the database is damaged (%s), restore a backup", strings.Join(strings.Fields(says), " "))
	}
	return nil
}

// Close waits for reads and writes under way. The last one to close the file
// moves the write-ahead log into it.
func (s *Store) Close() error {
	var err error
	for _, db := range []*sql.DB{s.rows, s.lists, s.unsynced, s.durable} {
		if db != nil {
			err = errors.Join(err, db.Close())
		}
	}
	return errors.Join(err, s.version.close())
}
