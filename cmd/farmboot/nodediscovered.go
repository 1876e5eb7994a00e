package main

import (
	"context"
	"fmt"
	"strings"

	"farmboot/provisioning"
)

type nodeDiscoveredCmd struct {
	Limit int  `help:"At most so many; 0: all." placeholder:"N" type:"most"`
	JSON  bool `help:"As JSON, as the API shows it."`
}

func (nodeDiscoveredCmd) Help() string {
	return `Last seen first. With unknown = "hold" in the configuration they wait to be claimed, and
the list has the claim code that each shows on its screen.

Examples:

  farmboot node discovered
  farmboot node discovered --limit 10 --json
  farmboot node claim K7M3PX --farmer 1234`
}

func (c nodeDiscoveredCmd) Run(ctx context.Context, e *env, db *database) error {
	seen, err := db.registry.Discovered(ctx, operator(), c.Limit)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, append([]provisioning.Discovered{}, seen...)) // an empty list, not null
	}
	held := db.cfg.Provisioning.Unknown == provisioning.Hold
	code := func(text string) string { // no screen shows one else
		if !held {
			return ""
		}
		return "\t" + text
	}
	t := newTable(e.stdout, "MAC"+code("CODE")+"\tADDRESS\tSERIAL\tMAKER\tPRODUCT\tNIC MAKER\tFIRMWARE\tBOOTS\tLAST SEEN")
	for _, d := range seen {
		t.row("%s%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s", d.MAC, code(d.Code), dash(d.Address), dash(d.Serial), dash(d.Manufacturer), dash(d.Product), dash(d.Vendor),
			dash(strings.Join(nonEmpty(d.Arch, d.Firmware), ", ")), fmt.Sprint(d.Boots), localTime(d.LastSeen))
	}
	return t.flush()
}
