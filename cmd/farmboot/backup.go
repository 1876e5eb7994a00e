package main

import (
	"context"
	"fmt"
)

// backupCmd is "farmboot backup".
type backupCmd struct {
	File string `arg:"" help:"File to write, which must not exist yet." type:"path"`
}

func (backupCmd) Help() string {
	return `The copy is consistent, also while the daemon runs. To restore it, stop the daemon,
put the copy in the place of provisioning.db (remove provisioning.db-wal and
provisioning.db-shm, if they are there), and start the daemon.

Example:

  farmboot backup /srv/backup/farmboot-2026-11-23.db`
}

func (c backupCmd) Run(ctx context.Context, e *env) (err error) {
	inv, err := e.inventory(ctx)
	if err != nil {
		return err
	}
	defer closing(inv, &err)
	if err := inv.store.Backup(ctx, c.File); err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.stdout, "backed up to %s\n", c.File)
	return err
}
