package main

import (
	"cmp"
	"errors"
	"fmt"

	"farmboot/setup"
)

type configCmd struct {
	Check configCheckCmd `cmd:"" help:"Say what is wrong with a configuration file: every mistake with its line and column."`
}

type configCheckCmd struct {
	File fileName `arg:"" optional:"" help:"File to check; by default what --config says."`
}

// Help implements [kong.HelpProvider].
func (configCheckCmd) Help() string {
	return `Examples:

  farmboot config check
  farmboot config check /etc/farmboot/appliance.toml`
}

// Run prints "FILE: ok", or returns all mistakes.
func (c configCheckCmd) Run(e *env) error {
	file := cmp.Or(c.File, e.configFile)
	if file == "-" {
		return noStdin
	}
	cfg, err := setup.Load(string(file))
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.stdout, "%s: ok\n", printable(cmp.Or(cfg.File, "no configuration file, all defaults")))
	return err
}

// noStdin refuses standard input, which has no folder: paths in a configuration may be
// relative to that of its file.
var noStdin = usageError{"a configuration is not read from standard input, as paths in it are relative to its folder: give the name of a file"}

// config reads the configuration. Of several mistakes in it the error has the first,
// for an error is one line; "config check" tells all of them.
func (e *env) config() (setup.Config, error) {
	if e.configFile == "-" {
		return setup.Config{}, noStdin
	}
	cfg, err := setup.Load(string(e.configFile))
	if mistakes, ok := errors.AsType[setup.Mistakes](err); ok && len(mistakes) > 1 {
		check := "farmboot config check"
		if e.configFile != "" {
			check += " " + string(e.configFile)
		}
		return cfg, fmt.Errorf("%w (and %d more: see %s)", mistakes[0], len(mistakes)-1, check)
	}
	return cfg, err
}
