package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"farmboot/ipxe"
	"farmboot/ipxe/kernel"
	"farmboot/ipxe/rollout"
	"farmboot/ipxe/upstream"
	"farmboot/provisioning"
	"farmboot/provisioning/postgres"
	"farmboot/provisioning/registry"
	"farmboot/provisioning/sqlite"
	"farmboot/provisioning/sqlstore"
	"farmboot/setup"
	"farmboot/setup/oui"
)

// database is what commands need that look at nodes, farmers and tokens, or change
// them. They open the store themselves, so they work whether or not the daemon runs;
// the daemon asks the store every time, so it sees changes at once.
type database struct {
	cfg      setup.Config
	store    wholeStore
	registry *registry.Registry
	assigner *provisioning.Assigner
	composer ipxe.Composer
	kernels  *kernel.Store
	editor   *kernel.Editor     // of kernels
	upstream *upstream.Upstream // nil: there is none
	rollout  *rollout.Rollout

	newFarmers map[provisioning.FarmerID]bool // who were registered because this command mentioned them
}

// open opens the database that the configuration names. [run] closes it.
func (e *env) open(ctx context.Context) (*database, error) {
	cfg, err := e.config()
	if err != nil {
		return nil, err
	}
	if err := mayOpen(cfg); err != nil {
		return nil, err
	}
	if err := e.beside(ctx, cfg); err != nil {
		return nil, err
	}
	_, missing := os.Stat(cfg.Provisioning.Database)
	store, err := openStore(ctx, cfg.Provisioning)
	if err != nil {
		return nil, err
	}
	if cfg.File == "" && errors.Is(missing, fs.ErrNotExist) {
		fmt.Fprintf(e.stderr, "farmboot: warning: there is no configuration file here (%s), nor %s: this is a new database, %s\n",
			setup.DefaultFile, setup.SystemFile, printable(cfg.Provisioning.Database))
	}
	e.opened = append(e.opened, store)
	composer := cfg.Composer()
	kernels := kernel.Open(cfg.Kernel.Path, cfg.Kernel.NetPath)
	nodes := registry.New(store, rulesOf(cfg, composer, kernels), e.now)
	newFarmers := make(map[provisioning.FarmerID]bool)
	nodes.EndEnrolments(openLedger(cfg, e.now))
	nodes.HearFarmers(func(f provisioning.FarmerID) { newFarmers[f] = true })
	editor := kernel.NewEditor(kernels, nodes)
	up, err := newUpstream(cfg, operator(), kernels, editor, slog.New(slog.DiscardHandler), e.now)
	if err != nil {
		return nil, err
	}
	if up != nil {
		e.opened = append(e.opened, closer(up.Close))
	}
	return &database{
		cfg:      cfg,
		store:    store,
		registry: nodes,
		assigner: provisioning.NewAssigner(store, unknownOf(cfg), e.now),
		composer: composer,
		kernels:  kernels,
		editor:   editor,
		upstream: up,
		rollout:  rollout.New(store, kernels, editor, e.now),

		newFarmers: newFarmers,
	}, nil
}

// mayOpen refuses users who may not read and write the database, and says who may.
func mayOpen(cfg setup.Config) error {
	if cfg.Provisioning.Postgres() {
		return nil
	}
	for _, path := range []string{cfg.Provisioning.Database, filepath.Dir(cfg.Provisioning.Database)} {
		err := unix.Access(path, unix.R_OK|unix.W_OK)
		if errors.Is(err, unix.EACCES) {
			not := "read"
			if unix.Access(path, unix.R_OK) == nil {
				not = "change" // who reads takes part in SQLite's locks and log, by writing
			}
			return fmt.Errorf("you may not %s %s: run this %s", not, path, whoMay(path))
		}
		if err == nil {
			return nil
		}
	}
	return nil
}

// whoMay says who may use a file: "as root, or in group farmboot".
func whoMay(path string) string {
	for ; path != "/" && path != "."; path = filepath.Dir(path) {
		fi, err := os.Stat(path)
		if err != nil { // it cannot be looked at either: the folder around it tells
			continue
		}
		if st, ok := fi.Sys().(*syscall.Stat_t); ok && fi.Mode()&0o020 != 0 && st.Gid != 0 {
			if g, err := user.LookupGroupId(strconv.FormatUint(uint64(st.Gid), 10)); err == nil {
				return "as root, or in group " + g.Name
			}
		}
		break
	}
	return "as root"
}

// close closes what a command opened, last opened first.
func (e *env) close() error {
	var errs []error
	for _, c := range slices.Backward(e.opened) {
		errs = append(errs, c.Close())
	}
	e.opened = nil
	return errors.Join(errs...)
}

// wholeStore is a database that can also be copied to another.
type wholeStore interface {
	provisioning.Store
	sqlstore.Whole
}

func openStore(ctx context.Context, p setup.Provisioning) (wholeStore, error) {
	if p.Postgres() {
		return postgres.Open(ctx, p.Database)
	}
	return sqlite.Open(ctx, p.Database)
}

func rulesOf(cfg setup.Config, composer ipxe.Composer, kernels *kernel.Store) registry.Rules {
	return registry.Rules{
		RunModes:  cfg.RunModes,
		RunMode:   cfg.Provisioning.RunMode,
		CheckNode: composer.CheckNode,
		Warnings:  cfg.Warnings,
		Vendor:    oui.Open(oui.Folder).Maker,
		KernelExists: func(name string) error {
			if err := kernel.CheckName(name); err != nil {
				return err
			}
			return kernels.Available(context.Background(), name)
		},
	}
}

func unknownOf(cfg setup.Config) provisioning.Unknown {
	p := cfg.Provisioning
	return provisioning.Unknown{Policy: p.Unknown, RunMode: p.RunMode, Farmer: p.Farmer, Args: p.Args}
}

// operator is who runs the command: whoever may read and write the database is an
// admin.
func operator() provisioning.Actor {
	a := provisioning.Actor{Name: "unknown", Role: provisioning.RoleAdmin, From: "cli"}
	if u, err := user.Current(); err == nil {
		a.Name = u.Username
	}
	return a
}
