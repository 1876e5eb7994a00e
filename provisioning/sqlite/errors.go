package sqlite

import (
	"errors"
	"path/filepath"

	"github.com/mattn/go-sqlite3"
	"golang.org/x/sys/unix"

	"farmboot/provisioning"
)

// explainOpening is [explain] for a file that is opened. SQLite opens files beside it
// too, and does not tell why it cannot: so the system is asked what forbids that.
func explainOpening(file string, err error) error {
	e, ok := errors.AsType[sqlite3.Error](err)
	if !ok || e.Code != sqlite3.ErrCantOpen && e.Code != sqlite3.ErrReadonly {
		return explain(err)
	}
	for _, p := range []struct{ what, path string }{{"the file", file}, {"its folder", filepath.Dir(file)}} {
		if err := unix.Faccessat(unix.AT_FDCWD, p.path, unix.W_OK, unix.AT_EACCESS); err != nil {
			return provisioning.Errorf(provisioning.Unavailable, "%s cannot be written: %w", p.what, err)
		}
	}
	return explain(err)
}

// explain turns an error of SQLite into a [provisioning.Error] where it means
// something to people.
func explain(err error) error {
	e, ok := errors.AsType[sqlite3.Error](err)
	if !ok {
		return err
	}
	unavailable := func(why string) error {
		return provisioning.Because(provisioning.Unavailable, err, "the database %s", why)
	}
	switch e.ExtendedCode {
	// A duplicate primary key is not reported as a duplicate unique one.
	case sqlite3.ErrConstraintPrimaryKey, sqlite3.ErrConstraintUnique, sqlite3.ErrConstraintRowID:
		return provisioning.Because(provisioning.Conflict, err, "there is one already")
	case sqlite3.ErrConstraintForeignKey:
		return provisioning.Because(provisioning.Conflict, err, "something still refers to it, or it refers to something that is not there")
	}
	switch e.Code {
	case sqlite3.ErrFull:
		return unavailable("cannot grow, the disk is full")
	case sqlite3.ErrReadonly:
		return unavailable("can only be read")
	case sqlite3.ErrIoErr:
		return unavailable("cannot be read or written, look at the disk")
	case sqlite3.ErrCantOpen:
		return unavailable("cannot be opened, look at its folder and permissions")
	case sqlite3.ErrBusy, sqlite3.ErrLocked:
		return unavailable("is locked by another process for too long")
	case sqlite3.ErrCorrupt, sqlite3.ErrNotADB:
		return unavailable("is damaged or not a SQLite file, restore a backup")
	}
	return err
}
