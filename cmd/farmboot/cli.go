package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/alecthomas/kong"

	"farmboot/provisioning"
	"farmboot/setup"
)

// cli is the command line. Each command is a struct with its flags and a Run
// method, in a file of its own. The configuration is read, and the database opened, for a Run that
// takes it.
type cli struct {
	Config fileName `help:"Configuration file; by default ./appliance.toml, else /etc/farmboot/appliance.toml, if there is one." placeholder:"FILE"`

	ShowVersion kong.VersionFlag `name:"version" help:"Print the version."`

	Serve      serveCmd      `cmd:"" help:"Run the appliance."`
	Image      imageCmd      `cmd:"" help:"Write a boot image to a file."`
	Node       nodeCmd       `cmd:"" help:"Nodes: register, change, look at them."`
	Farmer     farmerCmd     `cmd:"" help:"Farmers."`
	Token      tokenCmd      `cmd:"" help:"Tokens, for the API and to sign in to the board."`
	Kernel     kernelCmd     `cmd:"" help:"Kernels: store them, choose what each run mode boots."`
	Alert      alertCmd      `cmd:"" help:"Alerts: where to tell what needs a person."`
	SecureBoot secureBootCmd `cmd:"" name:"secureboot" help:"Secure Boot: our certificate, and which nodes trust it."`
	Events     eventsCmd     `cmd:"" help:"What nodes did while booting; -f follows it live."`
	History    historyCmd    `cmd:"" help:"Who changed what, and taking it back."`
	Backup     backupCmd     `cmd:"" help:"Write a consistent copy of the database."`
	Status     statusCmd     `cmd:"" help:"Say whether the daemon runs, where it listens, and what does not work."`
	Restore    restoreCmd    `cmd:"" help:"Put a backup back in place, while the daemon is stopped."`
	Migrate    migrateCmd    `cmd:"" help:"Copy everything to a database of the other kind: SQLite or PostgreSQL."`
	Doctor     doctorCmd     `cmd:"" help:"Say what would stop a node from booting, on this host and its LAN, and how to mend it."`
	ConfigCmd  configCmd     `cmd:"" name:"config" help:"Look at the configuration."`
	Complete   completeCmd   `cmd:"" hidden:""`
	Completion completionCmd `cmd:"" help:"Print a script that makes your shell complete commands."`
	Man        manCmd        `cmd:"" hidden:"" help:"Print the manual page."`
	Version    versionCmd    `cmd:"" help:"Print the version."`
}

// env is what commands see of the world.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	now            func() time.Time

	configFile fileName    // --config
	opened     []io.Closer // by the command
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
		kong.BindToProvider(e.config),
		kong.BindToProvider(e.open),
		vars(),
		plainValues(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true}),
	)
	if err != nil {
		fmt.Fprintf(e.stderr, "farmboot: %v\n", err)
		return exitUsage
	}
	switch {
	case len(args) == 0:
		args = []string{"--help"}
	case args[0] == "help": // help COMMAND is COMMAND --help
		args = append(slices.Clone(args[1:]), "--help")
	}
	parsed, err := parse(parser, args)
	switch {
	case exited >= 0:
		return exited
	case err != nil:
		if refusal, ok := errors.AsType[*provisioning.Error](err); ok { // of a MAC address, or a farmer
			fmt.Fprintf(e.stderr, "farmboot: %s\n", oneLine(refusal))
			return exitRefused
		}
		fmt.Fprintf(e.stderr, "farmboot: %s (see %s)\n", oneLine(cmp.Or(inPlainWords(err), err)), helpFor(err))
		return exitUsage
	}
	e.configFile = c.Config
	if err = errors.Join(e.kernelMeant()(parsed.Run()), e.close()); err == nil {
		return exitOK
	}
	if mistakes, ok := errors.AsType[setup.Mistakes](err); ok { // of "config check", where each is an error
		for _, m := range mistakes {
			fmt.Fprintf(e.stderr, "farmboot: %s\n", oneLine(m))
		}
		return exitRefused
	}
	fmt.Fprintf(e.stderr, "farmboot: %s\n", oneLine(err))
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	return exitRefused
}

// joined is the type of what errors.Join returns; fmt.Errorf's errors of several have words
// of their own.
var joined = reflect.TypeOf(errors.Join(errExit))

// oneLine writes an error, or several that were joined, as one line.
func oneLine(err error) string {
	if reflect.TypeOf(err) != joined {
		return printable(provisioning.Detail(err))
	}
	var lines []string
	for _, err := range err.(interface{ Unwrap() []error }).Unwrap() {
		lines = append(lines, oneLine(err))
	}
	return strings.Join(lines, "; ")
}

// printable shows control characters, which people may have typed, as Go writes
// them: \n for one, so that nothing adds a line or moves the cursor.
func printable(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if unicode.IsControl(r) || r == utf8.RuneError && n == 1 {
			quoted := strconv.Quote(s[:n])
			b.WriteString(quoted[1 : len(quoted)-1])
		} else {
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
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
