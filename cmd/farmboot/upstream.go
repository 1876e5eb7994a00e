package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"farmboot/ipxe/kernel"
	"farmboot/ipxe/upstream"
	"farmboot/provisioning"
	"farmboot/provisioning/human"
	"farmboot/setup"
)

// newUpstream returns what takes kernels from upstream, as the configuration says, and
// makes the store take from there what it has not; nil: there is no upstream. by is who has it do
// that; the zero Actor: itself. Close it.
func newUpstream(cfg setup.Config, by provisioning.Actor, kernels *kernel.Store, editor *kernel.Editor, log *slog.Logger, now func() time.Time) (*upstream.Upstream, error) {
	if cfg.Kernel.Upstream == "" {
		return nil, nil
	}
	o := upstream.Options{
		Modes: cfg.RunModes.Ordered(), By: by,
		Base: cfg.Kernel.Upstream, Trust: cfg.Kernel.Trust, Keep: cfg.Kernel.Keep,
		Client: upstream.NewClient(upstream.DefaultLimits), Store: kernels, Editor: editor, Log: log, Now: now,
	}
	u, err := upstream.New(o)
	if err == nil {
		kernels.SetUpstream(u)
	}
	return u, err
}

// ownKernels lists the kernels that nodes boot besides those of their run modes.
func ownKernels(ctx context.Context, list provisioning.ListNodes) ([]string, error) {
	names := map[string]bool{}
	for n, err := range list.All(ctx, provisioning.NodeQuery{}) {
		if err != nil {
			return nil, err
		}
		if n.Kernel != "" {
			names[n.Kernel] = true
		}
	}
	return slices.Collect(maps.Keys(names)), nil
}

type kernelSyncCmd struct {
	DryRun bool `help:"Only say what would change. It checks the first bytes of each kernel, not its signature."`
}

func (kernelSyncCmd) Help() string {
	return `Takes the kernels of the run modes, and those that nodes boot by name, from the
service that [kernel] upstream names, where it has newer ones. Run modes boot them
from then on, even if somebody gave them another kernel meanwhile. A kernel that
is cut short, wrongly signed or no kernel at all is not taken, and what was here
stays. The daemon does the same every so often ([kernel] refresh), but leaves alone
what somebody has changed.

Examples:

  farmboot kernel sync --dry-run
  farmboot kernel sync`
}

func (c kernelSyncCmd) Run(ctx context.Context, e *env, db *database) error {
	if db.upstream == nil {
		return provisioning.Errorf(provisioning.Conflict, "there is no upstream to take kernels from: name one in [kernel] upstream")
	}
	names, err := ownKernels(ctx, db.store.Nodes)
	if err != nil {
		return err
	}
	bar := newProgress(e.stderr, e.now)
	had := 0
	err = db.upstream.Sync(ctx, upstream.SyncOptions{
		Names: names, DryRun: c.DryRun, Insist: true,
		Progress: bar.show,
		Tell: func(r upstream.Result) {
			had++
			bar.end()
			fmt.Fprintln(e.stdout, c.line(r))
		},
	})
	bar.end()
	if had == 0 && err == nil {
		return provisioning.Errorf(provisioning.NotFound, "%s has no kernel for any of our run modes", db.cfg.Kernel.Upstream)
	}
	return err
}

// line says what became of a kernel.
func (c kernelSyncCmd) line(r upstream.Result) string {
	size := ""
	if r.Size > 0 {
		size = " (" + human.Bytes(r.Size) + ")"
	}
	instead := ""
	if r.Leaves != "" {
		instead = fmt.Sprintf(" in place of %s, which somebody gave it", r.Leaves)
	}
	switch mode, isDefault := kernel.ModeOf(r.Kernel); {
	case r.Changed && c.DryRun && instead != "":
		return fmt.Sprintf("%s: would be taken%s; run mode %s would boot it%s", r.Kernel, size, mode, instead)
	case r.Changed && c.DryRun:
		return fmt.Sprintf("%s: would be taken%s", r.Kernel, size)
	case r.Pointed && c.DryRun:
		return fmt.Sprintf("run mode %s would boot %s%s", mode, r.Name, instead)
	case r.Pointed:
		return fmt.Sprintf("run mode %s boots %s%s%s", mode, r.Name, size, instead)
	case r.Changed:
		return fmt.Sprintf("%s: took %s%s", r.Kernel, r.Name, size)
	case isDefault:
		return fmt.Sprintf("run mode %s: %s is what upstream has", mode, r.Name)
	default:
		return fmt.Sprintf("%s: unchanged", r.Kernel)
	}
}

// closer makes a Close that cannot fail an [io.Closer].
type closer func()

func (c closer) Close() error { c(); return nil }

// runUpstream takes new kernels from upstream every so often.
func (a *appliance) runUpstream(ctx context.Context) error {
	err := a.upstream.Run(ctx, a.cfg.Kernel.Refresh, func(ctx context.Context) ([]string, error) { return ownKernels(ctx, a.store.Nodes) })
	a.upstream.Close()
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
