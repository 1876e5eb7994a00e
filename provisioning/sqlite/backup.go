package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/mattn/go-sqlite3"
	"golang.org/x/sys/unix"

	"farmboot/provisioning"
	"farmboot/provisioning/atomicfile"
)

// Backup implements [provisioning.Store]. The copy is a SQLite file as good as
// the original: to restore it, put it in the original's place while nothing runs.
func (s *Store) Backup(ctx context.Context, file string) error {
	if _, err := os.Lstat(file); err == nil {
		return provisioning.Errorf(provisioning.Conflict, "%s exists already: a backup never replaces a file", file)
	}
	f, err := s.copyBeside(ctx, file)
	if err != nil {
		return err
	}
	if err = f.Add(file); errors.Is(err, fs.ErrExist) { // it has come to be in the meantime
		err = provisioning.Errorf(provisioning.Conflict, "%s exists already: a backup never replaces a file", file)
	} else if err != nil {
		err = unwritten(file, err)
	}
	return errors.Join(err, f.Discard())
}

// copyBeside writes a copy over a connection of its own: those that read are not
// allowed to write anything, not even another file.
func (s *Store) copyBeside(ctx context.Context, file string) (f *atomicfile.File, err error) {
	db, err := pool(s.file, s.copySettings, 1)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return vacuumInto(ctx, db, file)
}

// keepCopy writes a copy of the database to the file, replacing an older one.
func keepCopy(ctx context.Context, db *sql.DB, file string) error {
	f, err := vacuumInto(ctx, db, file)
	if err == nil {
		if err = f.Inherit(); err == nil {
			err = f.Replace(file)
		}
		err = errors.Join(err, f.Discard())
	}
	if err != nil {
		return fmt.Errorf("copy the database before migrating it: %w", err)
	}
	return nil
}

// vacuumInto writes a consistent copy beside the file.
func vacuumInto(ctx context.Context, db *sql.DB, file string) (*atomicfile.File, error) {
	f, err := atomicfile.Create(filepath.Dir(file), 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, provisioning.Errorf(provisioning.Unavailable, "write %s: there is no folder %s", file, filepath.Dir(file))
	}
	if err != nil {
		return nil, unwritten(file, err)
	}
	// SQLite writes into an empty file, but not over one that holds something.
	if _, err := db.ExecContext(ctx, `VACUUM INTO ?`, f.Name()); err != nil {
		return nil, errors.Join(unwritten(file, noRoom(err)), f.Discard())
	}
	return f, nil
}

// noRoom says what stopped a copy, which is of the file system that it is written to and
// no fault of the database that it is read from.
func noRoom(err error) error {
	e, _ := errors.AsType[sqlite3.Error](err)
	switch {
	case e.SystemErrno == unix.EFBIG:
		return errors.New("its file system holds no file as large as that (FAT: 4 GiB at most): use one with exFAT or ext4")
	case e.Code == sqlite3.ErrFull, e.SystemErrno == unix.ENOSPC:
		return errors.New("its disk is full")
	}
	return explain(err)
}

// unwritten says that a file cannot be written, and why.
func unwritten(file string, err error) error {
	return provisioning.Errorf(provisioning.Unavailable, "write %s: %w", file, err)
}
