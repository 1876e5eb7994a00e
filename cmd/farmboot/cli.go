package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/alecthomas/kong"
)

// cli is the command line. Each command is a struct with its flags and a Run
// method, in a file of its own.
type cli struct {
	Config string `help:"Configuration file; by default ./appliance.toml, else /etc/farmboot/appliance.toml, if there is one." placeholder:"FILE" type:"path"`

	Serve      serveCmd      `cmd:"" help:"Run the appliance."`
	Image      imageCmd      `cmd:"" help:"Write a boot image to a file."`
	Node       nodeCmd       `cmd:"" help:"Nodes: register, change, look at them."`
	Farmer     farmerCmd     `cmd:"" help:"Farmers."`
	Token      tokenCmd      `cmd:"" help:"Tokens for the API."`
	Kernel     kernelCmd     `cmd:"" help:"Kernels: store them, choose what each run mode boots."`
	Backup     backupCmd     `cmd:"" help:"Write a consistent copy of the database."`
	Doctor     doctorCmd     `cmd:"" help:"Say what would stop a node from booting, on this host and its LAN, and how to mend it."`
	ConfigCmd  configCmd     `cmd:"" name:"config" help:"Look at the configuration."`
	Complete   completeCmd   `cmd:"" hidden:""`
	Completion completionCmd `cmd:"" help:"Print a script that makes your shell complete commands."`
	Version    versionCmd    `cmd:"" help:"Print the version."`
}

// env is what commands see of the world.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	now            func() time.Time

	configFile string // --config
}

// Exit statuses.
const (
	exitOK      = 0
	exitRefused = 1 // understood, but it cannot be done
	exitUsage   = 2 // not understood
)

// usageError is a command line that is well-formed for the parser, but means
// nothing.
type usageError struct{ message string }

func (e usageError) Error() string { return e.message }

// run runs one command line and returns the exit status.
func run(ctx context.Context, args []string, e *env) int {
	var c cli
	exited := -1 // set when the parser printed a help text, and would exit
	parser, err := kong.New(&c,
		kong.Name("farmboot"),
		kong.Description("Boots the machines of a farm from the network, and makes images for those that are elsewhere."),
		kong.Writers(e.stdout, e.stderr),
		kong.Exit(func(code int) { exited = code; panic(errExit) }),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(e),
		imageVars(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}),
	)
	if err != nil {
		fmt.Fprintf(e.stderr, "farmboot: %v\n", err)
		return exitUsage
	}
	parsed, err := parse(parser, args)
	switch {
	case exited >= 0:
		return exited
	case err != nil:
		fmt.Fprintf(e.stderr, "farmboot: %v (see %s)\n", err, helpFor(err))
		return exitUsage
	}
	e.configFile = c.Config
	err = parsed.Run()
	var usage usageError
	switch {
	case errors.As(err, &usage):
		fmt.Fprintf(e.stderr, "farmboot: %v\n", err)
		return exitUsage
	case err != nil:
		fmt.Fprintf(e.stderr, "farmboot: %v\n", err)
		return exitRefused
	}
	return exitOK
}

var errExit = errors.New("exit")

// parse is parser.Parse, made to return where the parser would exit.
func parse(parser *kong.Kong, args []string) (ctx *kong.Context, err error) {
	defer func() {
		if p := recover(); p != nil && p != any(errExit) {
			panic(p)
		}
	}()
	return parser.Parse(args)
}

// helpFor names the help text that belongs to a parse error.
func helpFor(err error) string {
	var perr *kong.ParseError
	if errors.As(err, &perr) && perr.Context != nil && perr.Context.Command() != "" {
		if n := perr.Context.Selected(); n != nil {
			return "farmboot " + n.Path() + " --help"
		}
	}
	return "farmboot --help"
}
