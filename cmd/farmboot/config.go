package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"time"

	"farmboot/ipxe/binary"
	"farmboot/provisioning/filenames"
	"farmboot/provisioning/ordinary"
	"farmboot/setup"
	"farmboot/setup/ca"
)

type configCmd struct {
	Check configCheckCmd `cmd:"" help:"Say what is wrong with a configuration file, every mistake with its line and column, and with the certificate, key and secret that it names."`
}

type configCheckCmd struct {
	File fileName `arg:"" optional:"" help:"File to check; by default what --config says."`
}

// Help implements [kong.HelpProvider].
func (configCheckCmd) Help() string {
	return `Looks at the files too that http.tls-cert, http.tls-key and openid.client-secret-file
name, and at those in the folder of ipxe.template: run it as root, who may read them. The daemon need
not run, and nothing is changed. What is wrong besides on this host and its LAN: farmboot doctor.

Examples:

  farmboot config check
  farmboot config check /etc/farmboot/appliance.toml`
}

// Run prints "FILE: ok", with what was not looked at, or returns all mistakes.
func (c configCheckCmd) Run(e *env) error {
	file := cmp.Or(c.File, e.configFile)
	if file == "-" {
		return noStdin
	}
	cfg, err := setup.Load(string(file))
	mistakes, ok := errors.AsType[setup.Mistakes](err)
	if err != nil && !ok {
		return err
	}
	var unread bool
	if !cfg.StateInDoubt { // relative names are below that
		name := string(cmp.Or(file, fileName(cfg.File)))
		var warnings []string
		warnings, unread, err = checkFiles(cfg, aCommand, e.now())
		if err == nil && ownTemplate(cfg) {
			problems := binary.Load(cfg.IPXE.Template).Problems()
			for _, file := range slices.Sorted(maps.Keys(problems)) {
				if optional(file) && errors.Is(problems[file], fs.ErrNotExist) {
					continue
				}
				warnings = append(warnings, "ipxe.template: "+oneLine(problems[file]))
			}
		}
		for _, w := range warnings {
			fmt.Fprintf(e.stderr, "farmboot: warning: %s: %s\n", printable(name), printable(w))
		}
		if err != nil {
			mistakes = append(mistakes, setup.Mistake{File: name, Message: oneLine(err)})
		}
	}
	if len(mistakes) > 0 {
		return mistakes
	}
	verdict := "ok"
	if unread {
		verdict = "no mistake in the file itself; what it names could not be read"
	}
	_, err = fmt.Fprintf(e.stdout, "%s: %s\n", printable(cmp.Or(cfg.File, "no configuration file, all defaults")), verdict)
	return err
}

// reader is who looks at files.
type reader int

const (
	aCommand  reader = iota // the daemon may be another user, who may read them
	theDaemon               // which does not start without them
)

// checkFiles looks at the files that a configuration names, and that the operator makes: err is
// what keeps the daemon from starting, warnings are the rest; unread tells that we may not read
// one of them.
func checkFiles(cfg setup.Config, by reader, now time.Time) (warnings []string, unread bool, err error) {
	if cert, key := cfg.HTTP.TLSCert, cfg.HTTP.TLSKey; cert != "" && key != "" {
		var weak []string
		weak, err = ca.Inspect("", cert, key, now)
		for _, w := range weak {
			warnings = append(warnings, fmt.Sprintf("http.tls-cert %s: %s", cert, w))
		}
		if why := ca.NotFor(cfg.BaseHostname(), cert, key); why != "" {
			warnings = append(warnings, fmt.Sprintf("http.tls-cert %s: %s: get one for that name, unless a proxy there has one", cert, why))
		}
		if errors.Is(err, fs.ErrPermission) && by == aCommand {
			warnings, unread, err = append(warnings, oneLine(err)+": check it as root"), true, nil
		}
	}
	if fault := checkSecret(cfg); fault != nil {
		warning := oneLine(fault)
		if errors.Is(fault, fs.ErrPermission) {
			warning, unread = warning+": check it as root", true
		}
		warnings = append(warnings, warning)
	}
	if ownTemplate(cfg) {
		err = errors.Join(err, findTemplate(cfg.IPXE.Template))
	}
	return warnings, unread, err
}

// ownTemplate tells whether the operator makes the template folder; the usual one is made when
// farmboot is installed.
func ownTemplate(cfg setup.Config) bool {
	return cfg.IPXE.Template != setup.Default().IPXE.Template
}

// optional tells whether a template need not have a file: setup/template.sh gathers it where it can,
// and without it only the nodes of its architecture do not boot.
func optional(file string) bool {
	return file == filenames.ARM64 || file == filenames.RISCV64
}

// checkSecret says what is wrong with the file of the client's secret, without which nobody can sign
// in with the OpenID provider; nil: nothing is, or no such file is configured.
func checkSecret(cfg setup.Config) error {
	file := cfg.OpenID.ClientSecretFile
	if file == "" {
		return nil
	}
	text, err := ordinary.ReadFile(file)
	if err == nil && len(bytes.TrimSpace(text)) == 0 {
		err = fmt.Errorf("%s is empty: write the secret there that the provider has given this client, or leave client-secret-file out if it has none", file)
	}
	if err != nil {
		return fmt.Errorf("openid.client-secret-file: %w", err)
	}
	return nil
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
