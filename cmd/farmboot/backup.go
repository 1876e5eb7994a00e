package main

import (
	"context"
	"fmt"
	"os"
)

// backupCmd is "farmboot backup".
type backupCmd struct {
	File fileName `arg:"" help:"File to write, which must not exist yet."`
}

func (backupCmd) Help() string {
	return `The copy is consistent, also while the daemon runs. farmboot restore puts it back.
A stick with FAT on it will do: no file there is larger than 4 GiB, and everybody who has
the stick can read it.

Example:

  farmboot backup /srv/backup/farmboot-2026-11-23.db`
}

func (c backupCmd) Run(ctx context.Context, e *env) error {
	if c.File == "-" {
		return usageError{"backup: a database cannot be written to standard output: give the name of a file"}
	}
	if err := notFolder(c.File, "farmboot.db"); err != nil {
		return err
	}
	db, err := e.open(ctx)
	if err != nil {
		return err
	}
	if err := db.store.Backup(ctx, string(c.File)); err != nil {
		return err
	}
	if fi, err := os.Stat(string(c.File)); err == nil && fi.Mode().Perm()&0o077 != 0 { // FAT, say
		fmt.Fprintf(e.stderr, "farmboot: warning: others may read %s: its file system keeps no permissions\n", printable(string(c.File)))
	}
	_, err = fmt.Fprintf(e.stdout, "backed up to %s\n", printable(string(c.File)))
	return err
}
