package main

import (
	"context"
	"os/user"

	"farmboot/ipxe"
	"farmboot/ipxe/kernel"
	"farmboot/provisioning"
	"farmboot/provisioning/postgres"
	"farmboot/provisioning/sqlite"
	"farmboot/setup"
)

// inventory is what commands need that look at nodes, farmers and tokens, or change
// them. They open the database themselves, so they work whether or not the daemon
// runs; the daemon asks the database every time, so it sees changes at once.
type inventory struct {
	cfg      setup.Config
	store    provisioning.Store
	registry *provisioning.Registry
	assigner *provisioning.Assigner
	composer ipxe.Composer
}

// inventory opens the database that the configuration names. Close it.
func (e *env) inventory(ctx context.Context) (*inventory, error) {
	cfg, err := e.config()
	if err != nil {
		return nil, err
	}
	store, err := openStore(ctx, cfg)
	if err != nil {
		return nil, err
	}
	composer := cfg.Composer()
	return &inventory{
		cfg:      cfg,
		store:    store,
		registry: provisioning.NewRegistry(store, rulesOf(cfg, composer), e.now),
		assigner: provisioning.NewAssigner(store, unknownOf(cfg), e.now),
		composer: composer,
	}, nil
}

func (i *inventory) Close() error { return i.store.Close() }

func openStore(ctx context.Context, cfg setup.Config) (provisioning.Store, error) {
	if cfg.Provisioning.Postgres() {
		return postgres.Open(ctx, cfg.Provisioning.Database)
	}
	return sqlite.Open(ctx, cfg.Provisioning.Database)
}

func rulesOf(cfg setup.Config, composer ipxe.Composer) provisioning.Rules {
	kernels := kernel.Open(cfg.Kernel.Path, cfg.Kernel.NetPath)
	return provisioning.Rules{
		RunModes:  cfg.RunModes,
		RunMode:   cfg.Provisioning.RunMode,
		CheckNode: composer.CheckNode,
		Warnings:  composer.Warnings,
		KernelExists: func(name string) error {
			if err := kernel.CheckName(name); err != nil {
				return err
			}
			_, err := kernels.Stat(name)
			return err
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
