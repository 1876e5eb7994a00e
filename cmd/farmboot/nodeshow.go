package main

import (
	"context"

	"farmboot/provisioning"
)

type nodeShowCmd struct {
	MAC  string `arg:"" help:"MAC address, in any usual notation; it need not be registered."`
	JSON bool   `help:"As JSON, as the API shows it."`
}

func (c nodeShowCmd) Run(ctx context.Context, e *env) (err error) {
	_, err = provisioning.ParseMAC(c.MAC)
	return err
}
