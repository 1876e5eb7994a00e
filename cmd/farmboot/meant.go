package main

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/alecthomas/kong"

	"farmboot/ipxe/kernel"
	"farmboot/provisioning"
	"farmboot/provisioning/cause"
	"farmboot/provisioning/typo"
)

// inPlainWords says of what the parser does not take what is accepted in its place:
//   - of a command by the name that other programs have for it, or that systemctl has,
//   - of a command without its group: "claim" for "node claim", "enroll" for "secureboot enrol",
//   - of a flag for what is given without one, or in another way,
//   - of a MAC address, or the name of a kernel, where that is the value of a flag,
//   - of a number below 0, which the parser takes for a flag that is not known.
//
// It is nil if the error is of something else.
func inPlainWords(err error) error {
	var perr *kong.ParseError
	if !errors.As(err, &perr) || perr.Context == nil || len(perr.Context.Path) == 0 {
		return nil
	}
	path := perr.Context.Path
	in := cmp.Or(perr.Context.Selected(), perr.Context.Model.Node)
	if flag, unknown := strings.CutPrefix(perr.Error(), "unknown flag "); unknown && !isNegative(flag) {
		flag, _, _ = strings.Cut(flag, ",")
		return flagMeant(in, flag)
	}
	rest := path[len(path)-1].Remainder()
	if len(rest) == 0 {
		return nil
	}
	if in == perr.Context.Model.Node {
		if command := ofService(rest[0]); command != "" {
			return fmt.Errorf("unexpected argument %s: the daemon is a service: %s", rest[0], command)
		}
	}
	if ours := meant(in, rest[0]); ours != "" {
		return fmt.Errorf("unexpected argument %s, did you mean %s?", rest[0], ours)
	}
	if perr.Context.Selected() == nil {
		return nil
	}
	wanted := perr.Context.Selected().Positional
	if _, err := provisioning.ParseMAC(rest[0]); err == nil && len(wanted) == 0 {
		for _, f := range perr.Context.Selected().Flags {
			if f.Name == "mac" || f.Name == "subject" {
				return fmt.Errorf("unexpected argument %s, did you mean --%s %[1]s?", rest[0], f.Name)
			}
		}
	}
	if meant := flagWithout(perr.Context, rest); meant != "" {
		return fmt.Errorf("unexpected argument %s, did you mean %s?", rest[0], meant)
	}
	if strings.HasSuffix(rest[0], kernelSuffix) && !strings.HasPrefix(rest[0], "-") {
		for _, f := range in.Flags {
			if f.Name == "kernel" {
				return fmt.Errorf("unexpected argument %s, did you mean --kernel %[1]s?", rest[0])
			}
		}
	}
	if !isNegative(rest[0]) {
		return nil
	}
	for _, p := range path { // what has its value already
		if p.Positional != nil && !p.Positional.IsCumulative() {
			wanted = wanted[1:]
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	return fmt.Errorf("<%s>: bad value %q: accepted is: %s", wanted[0].Name, provisioning.Clip(rest[0], 40), strings.TrimSuffix(wanted[0].Help, "."))
}

// flagWithout returns, where a command takes no more arguments, the flag whose name, or whose
// number, somebody gave as one: "--undo 10" for "undo 10", and for "10"; "": there is none.
func flagWithout(ctx *kong.Context, rest []string) string {
	var flags []string
	_, notNumber := strconv.ParseUint(rest[0], 10, 63)
	for _, f := range ctx.Selected().Flags {
		switch {
		case slices.ContainsFunc(ctx.Path, func(p *kong.Path) bool { return p.Flag == f }): // it is given
		case f.Name == rest[0] && !f.IsBool() && len(rest) > 1 && !strings.HasPrefix(rest[1], "-"):
			return fmt.Sprintf("--%s %s", f.Name, rest[1])
		case f.Name == rest[0]:
			return "--" + f.Name
		case notNumber == nil && len(ctx.Selected().Positional) == 0 && isNumber(f.Target.Type()):
			flags = append(flags, fmt.Sprintf("--%s %s", f.Name, rest[0]))
		}
	}
	return strings.Join(flags, " or ")
}

// isNumber tells whether a flag of that type is a number of something.
func isNumber(t reflect.Type) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t == reflect.TypeFor[int]() || t == reflect.TypeFor[int64]()
}

// kernelMeant returns a function that returns an error with the stored kernel that was probably
// meant, where the error is that there is none of a name. It looks once which are stored.
func (e *env) kernelMeant() func(error) error {
	stored := sync.OnceValue(func() (names []string) {
		cfg, err := e.config()
		if err != nil {
			return nil
		}
		kernels, _ := kernel.Open(cfg.Kernel.Path, cfg.Kernel.NetPath).List() // a folder that is not there has none
		for _, k := range kernels {
			names = append(names, k.Name)
		}
		return names
	})
	return func(err error) error {
		wanted := kernelWanted(err)
		if wanted == "" || strings.Contains(wanted, "/") { // the default of a run mode
			return err
		}
		meant := cmp.Or(typo.Nearest(wanted, stored()), typo.Nearest(wanted+kernelSuffix, stored()))
		if meant == "" {
			return err
		}
		return fmt.Errorf("%w; did you mean %s?", err, meant)
	}
}

// kernelWanted returns the name of which err, or what led to it, says that there is no kernel; "":
// it is about something else.
func kernelWanted(err error) string {
	for ; err != nil; err = errors.Unwrap(err) { // what wraps a refusal has no cause itself
		if cause.NoneYet(err) {
			return provisioning.CauseOf(err).Kernel
		}
		if all, ok := err.(interface{ Unwrap() []error }); ok { // as the parser makes of a command's error
			for _, one := range all.Unwrap() {
				if name := kernelWanted(one); name != "" {
					return name
				}
			}
		}
	}
	return ""
}

// ofService is the command of systemd for what people want of the daemon.
func ofService(word string) string {
	switch word {
	case "restart", "stop", "reload":
		return "systemctl " + word + " farmboot"
	case "log", "logs", "journal":
		return "journalctl -u farmboot"
	}
	return ""
}

// elsewhere is what other programs call commands that we have, those first that are likelier
// meant. The parser finds words that are spelled alike, and these are not, or mean the opposite.
var elsewhere = []struct {
	ours   string // "enrol --cancel": with a flag
	theirs []string
}{
	{"check", []string{"test", "validate", "lint"}},
	{"rollback", []string{"revert", "back", "undo", "downgrade"}},
	{"history --undo", []string{"undo"}}, // of what is no kernel
	{"enrol --cancel", []string{"cancel", "unenrol", "unenroll"}},
	{"enrol", []string{"enroll", "trust", "import", "mok"}}, // mokutil --import
	{"rotate", []string{"renew", "generate", "replace"}},
	{"wake", []string{"wol", "start", "poweron", "power-on"}},
	{"add", []string{"create", "new", "register", "store", "upload", "put", "import"}},
	{"rm", []string{"remove", "delete", "del", "erase", "unregister", "revoke"}},
	{"serve", []string{"run", "start", "daemon", "server"}},
	{"set", []string{"update", "change", "edit", "modify", "rename"}},
	{"show", []string{"get", "info", "view", "describe", "status"}},
	{"list", []string{"ls", "all", "index", "show", "get", "info", "view", "describe"}},
	{"use", []string{"set", "default", "point", "activate"}},
	{"sync", []string{"pull", "fetch", "update", "refresh"}},
	{"discovered", []string{"unknown", "unregistered", "waiting", "pending", "seen", "strangers"}},
	{"doctor", []string{"diagnose", "verify", "test"}},
}

// meant returns, in quotes, the command below node that somebody means by the name that it
// has in other programs, or without its group; "": there is none.
func meant(node *kong.Node, word string) string {
	if childOf(node, word) != nil {
		return ""
	}
	if ours := calledElsewhere(node, word); ours != "" {
		return fmt.Sprintf("%q", ours)
	}
	var grouped, called []string
	for _, group := range node.Children {
		if child := childOf(group, strings.ToLower(word)); child != nil && !child.Hidden {
			grouped = append(grouped, fmt.Sprintf("%q", group.Name+" "+child.Name))
		} else if ours := calledElsewhere(group, word); ours != "" {
			called = append(called, fmt.Sprintf("%q", group.Name+" "+ours))
		}
	}
	if grouped == nil {
		grouped = called
	}
	if last := len(grouped) - 1; last > 0 {
		return strings.Join(grouped[:last], ", ") + " or " + grouped[last]
	}
	return strings.Join(grouped, "")
}

// calledElsewhere returns the command below node that other programs call so; "": none.
func calledElsewhere(node *kong.Node, word string) string {
	for _, e := range elsewhere {
		command, _, _ := strings.Cut(e.ours, " ")
		if childOf(node, command) != nil && slices.Contains(e.theirs, strings.ToLower(word)) {
			return e.ours
		}
	}
	return ""
}

// fileFlags are how other programs name the file, or folder, that is an argument of ours.
var fileFlags = []string{"o", "out", "output", "i", "in", "input", "f", "file", "d", "dir", "folder", "url"}

// flagMeant says how a command is given what somebody wrote a flag for that it does not have.
// Of short ones the parser's guess is -h, whatever they are.
func flagMeant(in *kong.Node, flag string) error {
	name := strings.ToLower(strings.TrimLeft(flag, "-"))
	has := func(name string) bool {
		return slices.ContainsFunc(in.Flags, func(f *kong.Flag) bool { return f.Name == name })
	}
	for _, p := range in.Positional {
		if p.Name == name || p.Target.Type() == reflect.TypeFor[fileName]() && slices.Contains(fileFlags, name) {
			also := ""
			if name == "f" && has("force") {
				also = ", and --force has no short form"
			}
			return fmt.Errorf("unknown flag %s: <%s> is given without a flag%s", flag, p.Name, also)
		}
	}
	if in.Parent == nil && len(name) > 1 {
		switch whose := commandsWith(in, name); len(whose) {
		case 0:
		case 1:
			return fmt.Errorf("unknown flag %s, did you mean \"%s --%s\"?", flag, whose[0], name)
		default:
			return fmt.Errorf("unknown flag %s here: put flags after the command", flag)
		}
	}
	switch {
	case in.Path() == "node list" && slices.Contains([]string{"waiting", "unregistered", "unknown", "discovered", "held", "pending"}, name):
		return fmt.Errorf("unknown flag %s, did you mean \"node discovered\"?", flag)
	case slices.Contains([]string{"o", "output", "format"}, name) && has("json"):
		return fmt.Errorf("unknown flag %s, did you mean \"--json\"?", flag)
	case name == "v" && has("version"):
		return fmt.Errorf("unknown flag %s, did you mean \"--version\"?", flag)
	}
	if len(name) == 1 {
		return fmt.Errorf("unknown flag %s", flag)
	}
	return nil
}

// commandsWith lists the commands below node that have a flag of that name.
func commandsWith(node *kong.Node, name string) (commands []string) {
	for _, child := range node.Children {
		switch {
		case child.Hidden:
		case slices.ContainsFunc(child.Flags, func(f *kong.Flag) bool { return f.Name == name }):
			commands = append(commands, child.Path())
		default:
			commands = append(commands, commandsWith(child, name)...)
		}
	}
	return commands
}
