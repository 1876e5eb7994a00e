package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/mattn/go-sqlite3"

	"farmboot/provisioning"
	"farmboot/provisioning/owner"
	"farmboot/provisioning/sqlstore"
)

//go:embed migrations/*.sql
var migrations embed.FS

// applicationID is what 0001_nodes.sql writes into the file's header, "FBOT".
const applicationID = 0x46424f54

// schema is the list of migrations that this program knows. They are compiled in:
// a mistake in them is a mistake in the program.
func schema() []sqlstore.Migration {
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		panic(err)
	}
	list, err := sqlstore.Migrations(dir)
	if err != nil {
		panic(err)
	}
	return list
}

// Outdated tells whether the file has the schema of a former version, so that [Open] brings
// it to that of this one: with a million events that takes half a minute on a small machine.
func Outdated(ctx context.Context, file string) bool {
	if _, err := os.Stat(file); err != nil {
		return false // SQLite would make it
	}
	version, err := versionOf(ctx, file, copySettings)
	return err == nil && 0 < version && version < len(schema())
}

// migrate brings the file to the newest of the migrations, one transaction each.
// The version is SQLite's user_version, in the file's header.
func migrate(ctx context.Context, file string, list []sqlstore.Migration) error {
	if err := owner.MkdirAll(filepath.Dir(file), 0o750); err != nil {
		return provisioning.Errorf(provisioning.Unavailable, "make the database's folder: %w", err)
	}
	if err := private(file); err != nil {
		return err
	}
	db, err := pool(file, durableSettings, 1)
	if err != nil {
		return err
	}
	version, err := firstVersion(ctx, db, file)
	if err == nil && version > len(list) {
		err = provisioning.Errorf(provisioning.Unavailable, "the database %s has schema %d, made by a newer farmboot; this one knows up to %d: install the newer one, or restore a backup", file, version, len(list))
	}
	if err == nil && 0 < version && version < len(list) {
		err = keepCopy(ctx, db, fmt.Sprintf("%s.schema%d", file, version))
	}
	for _, m := range list {
		if err == nil && m.Version > version {
			err = apply(ctx, db, m)
		}
	}
	return errors.Join(err, db.Close())
}

// firstVersion is [ourVersion] of a file that others may be making too: SQLite waits for no
// lock when it begins a write-ahead log (https://sqlite.org/wal.html, "Sometimes Queries
// Return SQLITE_BUSY In WAL Mode").
func firstVersion(ctx context.Context, db *sql.DB, file string) (int, error) {
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	end := time.After(busyTimeout)
	for {
		version, err := ourVersion(ctx, db, file)
		if e, ok := errors.AsType[sqlite3.Error](err); !ok || e.Code != sqlite3.ErrBusy {
			return version, err
		}
		select {
		case <-again.C:
		case <-end:
			return version, err
		case <-ctx.Done():
			return version, err
		}
	}
}

// private makes a file that is not there yet, which SQLite would let everybody read:
// kernel arguments may hold secrets. The write-ahead log beside it gets the same mode,
// and from root the same owner.
func private(file string) error {
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o640)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err == nil {
		err = errors.Join(f.Close(), owner.Inherit(file))
	}
	if err != nil {
		return provisioning.Errorf(provisioning.Unavailable, "make the database: %w", err)
	}
	return nil
}

// apply runs one migration, unless another process has just done so.
func apply(ctx context.Context, db *sql.DB, m sqlstore.Migration) error {
	wrap := func(err error) error { return fmt.Errorf("migrate database to %s: %w", m.Name, explain(err)) }
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return wrap(err)
	}
	defer tx.Rollback()
	var version int
	if err := tx.QueryRowContext(ctx, `PRAGMA user_version`).Scan(&version); err != nil {
		return wrap(err)
	}
	if version >= m.Version {
		return nil
	}
	if err := m.Apply(ctx, tx); err != nil {
		return wrap(err)
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version = %d", m.Version)); err != nil {
		return wrap(err)
	}
	if err := tx.Commit(); err != nil {
		return wrap(err)
	}
	return nil
}

// What refuses SQLite files of others, with the code [provisioning.Invalid].
var (
	errLegacy  = errors.New("is a legacy bootstrap.sqlite3, not a Farmboot database")
	errForeign = errors.New("is a SQLite file, but not a Farmboot database")
)

// ourVersion returns the file's schema version, 0 for a new file. A SQLite file of
// somebody else's is refused.
func ourVersion(ctx context.Context, db *sql.DB, file string) (int, error) {
	var version, application, tables int
	var legacy bool
	err := db.QueryRowContext(ctx, `SELECT user_version, application_id,
			(SELECT count(*) FROM sqlite_schema),
			EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'provision')
		FROM pragma_user_version, pragma_application_id`).Scan(&version, &application, &tables, &legacy)
	switch {
	case err != nil:
		return 0, fmt.Errorf("open database %s: %w", file, explainOpening(file, err))
	case application == applicationID || tables == 0:
		return version, nil
	case legacy:
		return 0, provisioning.Errorf(provisioning.Invalid, "%s %w: choose another file name and run farmboot node import %[1]s", file, errLegacy)
	default:
		return 0, provisioning.Errorf(provisioning.Invalid, "%s %w: choose another file name", file, errForeign)
	}
}

// versionOf opens the file with those settings and reads its schema version.
func versionOf(ctx context.Context, file, settings string) (int, error) {
	db, err := pool(file, settings, 1)
	if err != nil {
		return 0, err
	}
	version, err := ourVersion(ctx, db, file)
	return version, errors.Join(err, db.Close())
}
