package main

import (
	"context"
	"fmt"
	"time"

	"farmboot/provisioning"
	"farmboot/setup/wol"
)

type nodeWakeCmd struct {
	nodeChoice
	Wave  int           `default:"20" help:"So many at a time." placeholder:"N"`
	Pause time.Duration `default:"10s" help:"And that long until the next." placeholder:"TIME"`
}

func (nodeWakeCmd) Help() string {
	return `Sends magic packets into the LAN that [network] interface names, and nowhere else. The
nodes' firmware must have Wake-on-LAN switched on. They need not be registered, but a MAC address
that nobody knows gets a warning.

Examples:

  farmboot node wake 52:54:00:00:00:b1
  farmboot node wake --match farmer=1234 --wave 10 --pause 30s`
}

func (c nodeWakeCmd) Run(ctx context.Context, e *env) error {
	if c.Wave < 1 || c.Pause < 0 {
		return usageError{"node wake: accepted are a --wave of at least 1 and a --pause of 0 or more"}
	}
	macs, query, err := c.which()
	if err != nil {
		return err
	}
	db, err := e.open(ctx)
	if err != nil {
		return err
	}
	ifaces, err := db.cfg.Interfaces()
	if err != nil {
		return err
	}
	macs, err = c.confirmed(ctx, e, db, macs, query, "Wake")
	if err != nil || macs == nil {
		return err
	}
	if c.Match == "" { // else they are registered
		if err := db.warnOfStrangers(ctx, e, macs...); err != nil {
			return err
		}
	}
	for _, i := range ifaces {
		err := wol.Wake(ctx, i.Name, macs, wol.Waves{Size: c.Wave, Pause: c.Pause}, func(wave []provisioning.MAC) {
			for _, mac := range wave {
				fmt.Fprintf(e.stdout, "sent to %s on %s\n", mac, i.Name)
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}
