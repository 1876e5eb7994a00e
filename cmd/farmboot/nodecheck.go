package main

import (
	"cmp"
	"context"
	"fmt"

	"farmboot/ipxe"
	"farmboot/ipxe/kernel"
	"farmboot/provisioning"
)

// warn tells, on stderr, what is probably a mistake about nodes that were stored all the
// same: each once, and of several nodes how many it is about.
func (d *database) warn(ctx context.Context, e *env, nodes ...provisioning.Node) error {
	var warnings []string // each once
	count := map[string]int{}
	add := func(warning string) {
		if count[warning]++; count[warning] == 1 {
			warnings = append(warnings, warning)
		}
	}
	foreign, _ := d.foreign(ctx, nodes...) // the nodes are stored: a warning less is no failure
	for _, n := range nodes {
		for _, warning := range d.cfg.Warnings(n) {
			add(warning)
		}
		if n.Exit {
			continue // it boots from its disk
		}
		if _, err := d.composer.Bootable(ipxe.NodeTarget(n), d.kernels.WithUpstream()); err != nil {
			add(err.Error())
		}
		if why := foreign[n.MAC]; why != "" {
			add(why)
		}
	}
	for _, warning := range warnings {
		of := ""
		if len(nodes) > 1 {
			of = countOf(count[warning], "node") + ": "
		}
		if _, err := fmt.Fprintf(e.stderr, "farmboot: warning: %s%s\n", of, warning); err != nil {
			return err
		}
	}
	return nil
}

// foreign says of each node whose kernel is for other machines than its own, or than most are where
// that was not seen, that it is.
func (d *database) foreign(ctx context.Context, nodes ...provisioning.Node) (map[provisioning.MAC]string, error) {
	archs := map[string]string{} // by file, for many nodes boot the same
	var of []provisioning.MAC
	for _, n := range nodes {
		file := ipxe.NodeTarget(n).KernelPath()
		arch, known := archs[file]
		if !known {
			arch = d.kernels.Arch(file)
			archs[file] = arch
		}
		if arch != "" && !n.Exit {
			of = append(of, n.MAC)
		}
	}
	machines, err := d.registry.Machines(ctx, operator(), of)
	if err != nil {
		return nil, err
	}
	foreign := map[provisioning.MAC]string{}
	for _, n := range nodes {
		file := ipxe.NodeTarget(n).KernelPath()
		if why := kernel.Foreign(archs[file], machines[n.MAC].Arch); why != "" {
			foreign[n.MAC] = "kernel " + file + " " + why
		}
	}
	return foreign, nil
}

type nodeCheckCmd struct {
	Args    string                `arg:"" optional:"" help:"Extra kernel arguments, in one word; or the MAC address of a registered node; empty: none." empty:""`
	Runmode provisioning.RunMode  `help:"Run mode; by default the node's, or that of [provisioning]." placeholder:"R"`
	Farmer  provisioning.FarmerID `help:"Farmer id; by default the node's." placeholder:"F"`
	JSON    bool                  `help:"As JSON, as the API shows it."`
}

func (nodeCheckCmd) Help() string {
	return `Examples:

  farmboot node check "zos-debug vlan:priv=30" --farmer 1234
  farmboot node check 52:54:00:00:00:b1
  farmboot node check 52:54:00:00:00:b1 --runmode test        if it were of that run mode`
}

func (c nodeCheckCmd) Run(ctx context.Context, e *env) error {
	report, err := c.report(ctx, e)
	if err != nil {
		return err
	}
	if c.JSON {
		if err := printJSON(e.stdout, report); err != nil {
			return err
		}
	} else if err := printCheck(e, report); err != nil {
		return err
	}
	for _, f := range report.Findings {
		if f.Severity == ipxe.Fault {
			return provisioning.Errorf(provisioning.Invalid, "%s", f)
		}
	}
	return nil
}

// report is of what a registered node boots, its kernel too, but for what the flags say; or of what
// they say alone.
func (c nodeCheckCmd) report(ctx context.Context, e *env) (ipxe.Report, error) {
	mac, notMAC := provisioning.ParseMAC(c.Args)
	if notMAC == nil {
		db, err := e.open(ctx)
		if err != nil {
			return ipxe.Report{}, err
		}
		n, err := db.registry.Node(ctx, operator(), mac)
		if err != nil {
			return ipxe.Report{}, err
		}
		n.RunMode, n.Farmer = cmp.Or(c.Runmode, n.RunMode), cmp.Or(c.Farmer, n.Farmer)
		if n.Exit { // it boots from its disk, no kernel
			report := db.composer.Check(ipxe.NodeTarget(n))
			report.Findings = append(report.Findings, ipxe.Finding{
				Severity: ipxe.Note,
				Message:  "it gets none of this, but goes on to its next boot device at every boot: farmboot node set " + mac.String() + " --no-exit ends that",
			})
			return report, nil
		}
		r := db.composer.CheckWith(ipxe.NodeTarget(n), db.kernels.WithUpstream())
		foreign, err := db.foreign(ctx, n)
		if err != nil {
			return ipxe.Report{}, err
		}
		if why := foreign[mac]; why != "" {
			r.Findings = append(r.Findings, ipxe.Finding{Severity: ipxe.Warning, Message: why})
		}
		return r, nil
	}
	if provisioning.MeantAsMAC(c.Args, 11) {
		return ipxe.Report{}, notMAC
	}
	cfg, err := e.config()
	if err != nil {
		return ipxe.Report{}, err
	}
	target := ipxe.Target{RunMode: cmp.Or(c.Runmode, cfg.Provisioning.RunMode), Farmer: c.Farmer, Args: c.Args}
	return cfg.Composer().Check(target), nil
}

func printCheck(e *env, r ipxe.Report) error {
	if r.Cmdline != "" {
		fmt.Fprintf(e.stdout, "%s\n\n", r.Cmdline)
	}
	t := newTable(e.stdout, "KEY\tVALUE\tMEANING")
	for _, reading := range r.Readings {
		t.row("%s\t%s\t%s", reading.Key, dash(reading.Value), reading.Meaning)
	}
	if len(r.Readings) > 0 {
		if err := t.flush(); err != nil {
			return err
		}
	}
	for _, f := range r.Findings {
		if f.Severity != ipxe.Fault { // those are the command's error
			fmt.Fprintf(e.stdout, "%s: %s\n", f.Severity, f)
		}
	}
	return nil
}
