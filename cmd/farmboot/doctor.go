package main

import (
	"context"
	"errors"

	"farmboot/setup/doctor"
)

type doctorCmd struct {
	JSON bool `help:"As JSON."`
}

// Help implements [kong.HelpProvider].
func (doctorCmd) Help() string {
	return `Looks at this host and at its LAN, best as root: other DHCP and PXE servers, ports,
firewall, iPXE binaries, kernels, folders, certificates. Plays two machines on the
LAN that ask for a boot and take no address. Takes some 15 seconds. Exits 1 if
something would stop a node.

Examples:

  farmboot doctor
  farmboot doctor --json`
}

// Run prints the report; the error is that it has a problem.
func (c doctorCmd) Run(ctx context.Context, e *env) error {
	cfg, err := e.config()
	if err != nil {
		return err
	}
	report := doctor.Examine(doctor.Gather(ctx, cfg, e.now()))
	if c.JSON {
		err = printJSON(e.stdout, report)
	} else {
		_, err = report.WriteTo(e.stdout)
	}
	if err == nil && !report.OK {
		err = errors.New("something would stop nodes from booting")
	}
	return err
}
