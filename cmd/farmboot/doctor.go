package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"slices"

	"farmboot/ipxe/kernel"
	"farmboot/provisioning"
	"farmboot/setup"
	"farmboot/setup/doctor"
)

type doctorCmd struct {
	JSON bool `help:"As JSON."`
}

// Help implements [kong.HelpProvider].
func (doctorCmd) Help() string {
	return `Looks at this host and at its LAN, best as root: other DHCP and PXE servers, ports,
firewall, iPXE binaries, kernels, database, certificates. Plays machines on the LAN
(BIOS, UEFI, UEFI HTTP Boot, iPXE) that ask for a boot and take no address. Takes some
15 seconds, twice that where the DHCP server is slow, and a minute where none answers.
Exits 1 if something would stop a node.

Examples:

  farmboot doctor
  farmboot doctor --json`
}

// Run prints the report; the error is that it has a problem.
func (c doctorCmd) Run(ctx context.Context, e *env, cfg setup.Config) error {
	kernels := kernel.Open(cfg.Kernel.Path, cfg.Kernel.NetPath)
	up, err := newUpstream(cfg, provisioning.Actor{}, kernels, nil, slog.New(slog.DiscardHandler), e.now) // asked, and nothing taken
	if err != nil {
		return err
	}
	if up != nil {
		defer up.Close()
	}
	inUse := func(ctx context.Context) (doctor.InUse, error) { return inUse(ctx, cfg) }
	at := newProgress(e.stderr, e.now)
	facts := doctor.Gather(ctx, cfg, e.now(), kernels, inUse, at.say)
	at.end()
	report := doctor.Examine(facts)
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

// inUse reads from the database what registered nodes boot. Where there is no database
// yet there are no nodes, and none is made.
func inUse(ctx context.Context, cfg setup.Config) (_ doctor.InUse, err error) {
	u := doctor.InUse{RunModes: make(map[provisioning.RunMode]int), Kernels: make(map[string]int)}
	if _, err := os.Stat(cfg.Provisioning.Database); !cfg.Provisioning.Postgres() && errors.Is(err, fs.ErrNotExist) {
		return u, nil
	}
	store, err := openStore(ctx, cfg.Provisioning)
	if err != nil {
		return u, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	gone := make(map[provisioning.RunMode]int) // nodes, by a run mode that the configuration does not have
	for n, err := range provisioning.ListNodes(store.Nodes).All(ctx, provisioning.NodeQuery{}) {
		if err != nil {
			return u, err
		}
		if !n.Exit && cfg.RunModes.Check(n.RunMode) != nil {
			gone[n.RunMode]++
		}
		switch n.Kernel {
		case "":
			u.RunModes[n.RunMode]++
		default:
			u.Kernels[n.Kernel]++
		}
	}
	for _, m := range slices.Sorted(maps.Keys(gone)) {
		u.Unconfigured = append(u.Unconfigured, provisioning.Unconfigured{RunMode: m, Nodes: gone[m]})
	}
	return u, nil
}
