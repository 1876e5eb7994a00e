package sqlite

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mattn/go-sqlite3"

	"farmboot/provisioning"
	"farmboot/provisioning/ordinary"
	"farmboot/provisioning/owner"
)

// keptSuffix is what the name of a database ends in that a backup has taken the place of;
// behind it comes a number from the second one on.
const keptSuffix = ".before-restore"

// Restore puts a copy of a backup in the place of the database, whole or not at all, and
// keeps what was there, if anything, under another name, which it returns. A backup that
// is damaged, is not Farmboot's or was made by a newer one is refused, and so is a
// database that somebody has open: [provisioning.Conflict].
func Restore(ctx context.Context, backup, file string) (kept string, err error) {
	if _, err := os.Stat(backup); err != nil {
		return "", provisioning.Errorf(provisioning.NotFound, "no backup %s: %w", backup, unwrapPath(err))
	}
	if err := checkBackup(ctx, backup); err != nil {
		return "", err
	}
	if err := owner.MkdirAll(filepath.Dir(file), 0o750); err != nil {
		return "", provisioning.Errorf(provisioning.Unavailable, "make the database's folder: %w", err)
	}
	from, err := pool(backup, copySettings, 1)
	if err != nil {
		return "", err
	}
	restored, err := vacuumInto(ctx, from, file)
	if err = errors.Join(err, from.Close()); err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, restored.Discard()) }()
	if err := errors.Join(restored.Inherit(), restored.Chmod(0o640)); err != nil {
		return "", unwritten(file, err)
	}
	if kept, err = putAside(ctx, file); err != nil {
		return "", err
	}
	if err := restored.Replace(file); err != nil {
		return kept, unwritten(file, err)
	}
	return kept, nil
}

// checkBackup refuses what cannot be restored.
func checkBackup(ctx context.Context, backup string) error {
	if isCut(backup) {
		return cutShort(backup)
	}
	db, err := pool(backup, copySettings, 1)
	if err != nil {
		return err
	}
	defer db.Close()
	version, err := ourVersion(ctx, db, backup)
	if e, ok := errors.AsType[sqlite3.Error](err); ok && e.Code == sqlite3.ErrNotADB {
		return provisioning.Errorf(provisioning.Invalid, "%s is damaged or not a SQLite file: accepted is what farmboot backup has written", backup)
	} else if ok && e.Code == sqlite3.ErrCorrupt {
		return cutShort(backup)
	}
	switch {
	case errors.Is(err, errLegacy):
		return provisioning.Errorf(provisioning.Invalid, "%s %w: farmboot node import %[1]s takes its nodes", backup, errLegacy)
	case errors.Is(err, errForeign):
		return provisioning.Errorf(provisioning.Invalid, "%s %w: accepted is what farmboot backup has written", backup, errForeign)
	case err != nil:
		return err
	case version == 0:
		return provisioning.Errorf(provisioning.Invalid, "%s is empty, and not a backup", backup)
	case version > len(schema()):
		return provisioning.Errorf(provisioning.Invalid, "%s has schema %d, made by a newer farmboot; this one knows up to %d: install the newer one", backup, version, len(schema()))
	}
	var verdict string
	if err := db.QueryRowContext(ctx, `PRAGMA integrity_check(1)`).Scan(&verdict); err != nil {
		return fmt.Errorf("check %s: %w", backup, explain(err))
	}
	if verdict != "ok" {
		report := strings.Split(strings.TrimSpace(verdict), "\n") // the last line is what is wrong
		return provisioning.Errorf(provisioning.Invalid, "%s is damaged (%s): restore another backup", backup, provisioning.Clip(report[len(report)-1], 100))
	}
	return nil
}

// putAside gives the database another name besides its own, until the backup has that, so
// that there is a database whenever we are killed. What SQLite keeps beside one that was not
// closed well, because it is damaged, goes first: it would be read into the backup.
func putAside(ctx context.Context, file string) (kept string, err error) {
	if _, err := os.Lstat(file); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err := closedByAll(ctx, file); err != nil {
		return "", err
	}
	kept = file + keptSuffix
	for n := 2; taken(kept); n++ {
		kept = fmt.Sprintf("%s%s-%d", file, keptSuffix, n)
	}
	for _, suffix := range []string{"-wal", "-shm"} {
		if err = os.Rename(file+suffix, kept+suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", notAside(err)
		}
	}
	if err = os.Link(file, kept); errors.Is(err, errors.ErrUnsupported) || errors.Is(err, fs.ErrPermission) {
		err = os.Rename(file, kept) // a file system without links
	}
	if err != nil {
		return "", notAside(err)
	}
	return kept, nil
}

// taken tells whether a database has that name, or something of one.
func taken(name string) bool {
	return slices.ContainsFunc([]string{"", "-wal", "-shm"}, func(suffix string) bool {
		_, err := os.Lstat(name + suffix)
		return err == nil
	})
}

func notAside(err error) error {
	return provisioning.Errorf(provisioning.Unavailable, "put the database aside: %w", err)
}

// closedByAll refuses a database that another process has open: leaving the write-ahead
// log needs it alone.
func closedByAll(ctx context.Context, file string) error {
	db, err := pool(file, "mode=rw&_busy_timeout=200", 1)
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.ExecContext(ctx, `PRAGMA busy_timeout = 200; PRAGMA journal_mode = DELETE`)
	if e, ok := errors.AsType[sqlite3.Error](err); ok && (e.Code == sqlite3.ErrBusy || e.Code == sqlite3.ErrLocked) {
		return provisioning.Errorf(provisioning.Conflict, "the database %s is in use: stop the daemon (systemctl stop farmboot), and end other farmboot commands that go on, as events -f does", file)
	}
	return nil // what else is wrong with it is why a backup is restored
}

func unwrapPath(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

func cutShort(backup string) error {
	return provisioning.Errorf(provisioning.Invalid, "%s is damaged or cut short: restore another backup", backup)
}

// isCut tells whether a file is shorter than its header says (section 1.3 of SQLite's file
// format). SQLite takes zeros for what is missing of the last page, and its own check may
// find those good. With a write-ahead log beside it, what is missing may be there.
func isCut(file string) bool {
	if log, err := os.Stat(file + "-wal"); err == nil && log.Size() > 0 {
		return false
	}
	f, err := ordinary.Open(file) // before any connection: see [index] on closing it
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, 100)
	fi, err := f.Stat()
	if _, short := io.ReadFull(f, head); err != nil || short != nil || !IsSQLite(head) {
		return false
	}
	pageSize, pages := int64(binary.BigEndian.Uint16(head[16:])), int64(binary.BigEndian.Uint32(head[28:]))
	if pageSize == 1 {
		pageSize = 1 << 16
	}
	// A program older than the field leaves it as it was, and tells so.
	return bytes.Equal(head[24:28], head[92:96]) && fi.Size() < pages*pageSize
}
