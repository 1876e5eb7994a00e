package main

import (
	"fmt"

	"farmboot/ipxe"
	"farmboot/provisioning"
	"farmboot/setup"
)

type configCmd struct {
	Check configCheckCmd `cmd:"" help:"Say what is wrong with a configuration file: every mistake with its line and column."`
}

type configCheckCmd struct {
	File string `arg:"" optional:"" help:"File to check; by default what --config says." type:"path"`
}

// Help is shown by "farmboot config check --help".
func (configCheckCmd) Help() string {
	return `Examples:

  farmboot config check
  farmboot config check /etc/farmboot/appliance.toml`
}

// Run prints "FILE: ok", or returns all mistakes.
// Run prints "FILE: ok", or returns all mistakes.
func (c configCheckCmd) Run(e *env) error {
	if c.File != "" {
		e.configFile = c.File
	}
	cfg, err := e.config()
	if err != nil {
		return err
	}
	file := cfg.File
	if file == "" {
		file = "no configuration file, all defaults"
	}
	_, err = fmt.Fprintf(e.stdout, "%s: ok\n", file)
	return err
}

// config reads the configuration and makes sure that what it says of unregistered
// nodes composes to a kernel command line.
func (e *env) config() (setup.Config, error) {
	cfg, err := setup.Load(e.configFile)
	if err != nil {
		return setup.Config{}, err
	}
	composer := ipxe.Composer{KernelArgs: cfg.Boot.KernelArgs, RunModes: cfg.RunModes}
	p := cfg.Provisioning
	if _, err := composer.Cmdline(ipxe.NodeTarget(provisioning.Node{RunMode: p.RunMode, Farmer: p.Farmer, Args: p.Args})); err != nil {
		return setup.Config{}, fmt.Errorf("%s: [provisioning] runmode, farmer and args with [boot] kernel-args: %w", cfg.File, err)
	}
	return cfg, nil
}
