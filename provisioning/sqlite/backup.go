package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"farmboot/provisioning"
	"farmboot/provisioning/owner"
)

// Backup implements [provisioning.Store]. The copy is a SQLite file as good as
// the original: to restore it, put it in the original's place while nothing runs.
func (s *Store) Backup(ctx context.Context, file string) error {
	if _, err := os.Lstat(file); err == nil {
		return provisioning.Errorf(provisioning.Conflict, "%s exists already: a backup never replaces a file", file)
	}
	temporary, err := s.copyBeside(ctx, file)
	if err != nil {
		return err
	}
	defer os.Remove(temporary)
	// A link, unlike a rename, fails if the file has come to be in the meantime.
	if err := os.Link(temporary, file); err != nil {
		if errors.Is(err, os.ErrExist) {
			return provisioning.Errorf(provisioning.Conflict, "%s exists already: a backup never replaces a file", file)
		}
		return unwritten(file, err)
	}
	return syncFolder(file)
}

// copyBeside writes a copy over a connection of its own: those that read are not
// allowed to write anything, not even another file.
func (s *Store) copyBeside(ctx context.Context, file string) (temporary string, err error) {
	db, err := pool(s.file, s.copySettings, 1)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return vacuumInto(ctx, db, file)
}

// keepCopy writes a copy of the database to the file, replacing an older one.
func keepCopy(ctx context.Context, db *sql.DB, file string) error {
	temporary, err := vacuumInto(ctx, db, file)
	if err != nil {
		return fmt.Errorf("copy the database before migrating it: %w", err)
	}
	err = owner.Inherit(temporary)
	if err == nil {
		err = os.Rename(temporary, file)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("copy the database before migrating it: %w", err), os.Remove(temporary))
	}
	return syncFolder(file)
}

// vacuumInto writes a consistent copy beside the file, and to the disk.
func vacuumInto(ctx context.Context, db *sql.DB, file string) (temporary string, err error) {
	// Its own name may be as long as names can be, so the temporary one is another.
	f, err := os.CreateTemp(filepath.Dir(file), ".farmboot-*.tmp") // mode 0600
	if errors.Is(err, fs.ErrNotExist) {
		return "", provisioning.Errorf(provisioning.Unavailable, "write %s: there is no folder %s", file, filepath.Dir(file))
	}
	if err != nil {
		return "", unwritten(file, err)
	}
	// SQLite writes into an empty file, but not over one that holds something.
	_, err = db.ExecContext(ctx, `VACUUM INTO ?`, f.Name())
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(explain(err), f.Close()); err != nil {
		return "", errors.Join(unwritten(file, err), os.Remove(f.Name()))
	}
	return f.Name(), nil
}

// unwritten says why a file cannot be written, without the name of the temporary one.
func unwritten(file string, err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		err = e.Err
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		err = e.Err
	}
	return provisioning.Errorf(provisioning.Unavailable, "write %s: %w", file, err)
}

// syncFolder makes the name of a file in it durable.
func syncFolder(file string) error {
	d, err := os.Open(filepath.Dir(file))
	if err != nil {
		return provisioning.Errorf(provisioning.Unavailable, "write backup: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return provisioning.Errorf(provisioning.Unavailable, "write backup: %w", err)
	}
	return nil
}
