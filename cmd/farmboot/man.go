package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

// manCmd prints the manual page farmboot(8), made of the same help texts that --help
// shows, for packages to install.
type manCmd struct{}

// Run prints the page in the language of man(7).
func (manCmd) Run(e *env, k *kong.Kong) error {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line(".TH FARMBOOT 8 \"\" \"Farmboot %s\" \"System Administration\"", roff(versionString()))
	line(".SH NAME\nfarmboot \\- boots the machines of a farm from the network")
	line(".SH SYNOPSIS\n.B farmboot\n.I command\n[\\fB\\-\\-config\\fR \\fIFILE\\fR] ...")
	line(".SH DESCRIPTION\n%s", roff(k.Model.Help))
	line(".SH COMMANDS")
	for _, c := range k.Model.Leaves(true) {
		line(".SS %s", roff(commandLine(c)))
		line("%s", roff(c.Help))
		for _, f := range c.Flags {
			if !f.Hidden {
				line(".TP\n\\fB%s\\fR\n%s", roff(f.String()), roff(f.Help))
			}
		}
		if text := c.Detail; text != "" {
			line(".PP\n.nf\n%s\n.fi", roff(text))
		}
	}
	line(".SH FILES\n.TP\n\\fI/etc/farmboot/appliance.toml\\fR\nThe configuration; every key is explained in it.")
	line(".TP\n\\fI/var/lib/farmboot\\fR\nEverything that farmboot writes: database, certificates, kernels.")
	line(".SH EXIT STATUS\n0 if it was done, 1 if it was refused, 2 for a command line that means nothing.")
	line(".SH SEE ALSO\nThe pages under /help of a running appliance.")
	_, err := io.WriteString(e.stdout, b.String())
	return err
}

// commandLine is what is typed: "farmboot node add <mac>".
func commandLine(c *kong.Node) string {
	words := []string{c.FullPath()}
	for _, p := range c.Positional {
		words = append(words, p.Summary())
	}
	return strings.Join(words, " ")
}

// roff writes a text so that nothing in it is a command of roff(7).
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	lines := strings.Split(s, "\n")
	for i, l := range lines {
		if strings.HasPrefix(l, ".") || strings.HasPrefix(l, "'") {
			lines[i] = `\&` + l
		}
	}
	return strings.Join(lines, "\n")
}
