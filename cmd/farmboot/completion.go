package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"farmboot/ipxe/kernel"
	"farmboot/provisioning"
)

// completionCmd prints what makes a shell complete our command lines. The shell
// asks us each time ("farmboot complete WORD..."), so it never knows a command
// that we do not have.
type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help implements [kong.HelpProvider].
func (completionCmd) Help() string {
	return `Examples:
  farmboot completion bash > /etc/bash_completion.d/farmboot
  farmboot completion zsh  > "${fpath[1]}/_farmboot"
  farmboot completion fish > ~/.config/fish/completions/farmboot.fish`
}

// completions are the scripts: each hands the words so far to us, and files where
// we have no answer to the shell.
var completions = map[string]string{
	"bash": `_farmboot() {
	local IFS=$'\n'
	COMPREPLY=($(farmboot complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o default -F _farmboot farmboot
`,
	"zsh": `#compdef farmboot
local -a candidates
candidates=("${(@f)$(farmboot complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
if [[ -n "$candidates" ]]; then compadd -- $candidates; else _files; fi
`,
	"fish": `complete -c farmboot -a '(set -l w (commandline -opc) (commandline -ct); farmboot complete -- $w[2..-1] 2>/dev/null)'
`,
}

// Run prints the script.
func (c completionCmd) Run(e *env) error {
	_, err := io.WriteString(e.stdout, completions[c.Shell])
	return err
}

// completeCmd answers a shell: one candidate a line for the last of the words.
type completeCmd struct {
	Words []string `arg:"" optional:"" passthrough:""`
}

// Run prints the candidates.
func (c completeCmd) Run(ctx context.Context, e *env, k *kong.Kong) error {
	words := c.Words
	if len(words) > 0 && words[0] == "--" {
		words = words[1:]
	}
	// The configuration that the command line would be run with.
	for i, w := range words {
		if w == "--config" && i+1 < len(words)-1 {
			e.configFile = fileName(words[i+1])
		} else if file, ok := strings.CutPrefix(w, "--config="); ok && i < len(words)-1 {
			e.configFile = fileName(file)
		}
	}
	for _, s := range complete(k.Model.Node, words, func(name string) []string { return e.values(ctx, name) }) {
		if _, err := fmt.Fprintln(e.stdout, s); err != nil {
			return err
		}
	}
	return nil
}

// complete returns what the last word could be, of a command line below node; it may be
// empty. values returns what a flag or an argument of that name can be. Nil where only
// the user can know.
func complete(node *kong.Node, words []string, values func(name string) []string) []string {
	if len(words) == 0 {
		return nil
	}
	words, last := words[:len(words)-1], words[len(words)-1]
	var value *kong.Flag // whose value comes next
	given := 0           // arguments of the command
	for _, w := range words {
		switch {
		case value != nil:
			value = nil
		case strings.HasPrefix(w, "-"):
			value = valueFlag(node, w)
		default:
			if child := childOf(node, w); child != nil {
				node = child
			} else {
				given++
			}
		}
	}
	var candidates []string
	switch {
	case value != nil:
		candidates = valuesOf(value.Value, values)
	case strings.HasPrefix(last, "-"):
		for _, f := range slices.Concat(node.AllFlags(true)...) {
			candidates = append(candidates, "--"+f.Name)
		}
	default:
		for _, child := range node.Children {
			if !child.Hidden {
				candidates = append(candidates, child.Name)
			}
		}
		if n := len(node.Positional); n > 0 && (given < n || node.Positional[n-1].IsCumulative()) {
			candidates = append(candidates, valuesOf(node.Positional[min(given, n-1)], values)...)
		}
	}
	candidates = slices.DeleteFunc(candidates, func(s string) bool { return !strings.HasPrefix(s, last) })
	slices.Sort(candidates)
	return candidates
}

func childOf(node *kong.Node, name string) *kong.Node {
	i := slices.IndexFunc(node.Children, func(c *kong.Node) bool { return c.Name == name })
	if i < 0 {
		return nil
	}
	return node.Children[i]
}

// valueFlag returns the flag that word is, if its value is the next word.
func valueFlag(node *kong.Node, word string) *kong.Flag {
	for _, group := range node.AllFlags(false) {
		for _, f := range group {
			long := word == "--"+f.Name
			short := f.Short != 0 && word == "-"+string(f.Short)
			if (long || short) && !f.IsBool() {
				return f
			}
		}
	}
	return nil
}

// valuesOf returns the values that v can have, where they are known.
func valuesOf(v *kong.Value, values func(name string) []string) []string {
	if v.Enum != "" {
		return strings.Split(v.Enum, ",")
	}
	return values(strings.ToLower(v.Name))
}

// values lists what a flag or an argument of that name can be, as the configuration and
// the database say; nothing where they cannot be read.
func (e *env) values(ctx context.Context, name string) (values []string) {
	if !slices.Contains([]string{"runmode", "mac", "kernel", "farmer", "id", "subject"}, name) {
		return nil
	}
	cfg, err := e.config()
	if err != nil {
		return nil
	}
	if name == "runmode" {
		return cfg.RunModes.Keywords()
	}
	if name == "kernel" {
		kernels, _ := kernel.Open(cfg.Kernel.Path, cfg.Kernel.NetPath).List()
		for _, k := range kernels {
			values = append(values, k.Name)
		}
		return values
	}
	if _, err := os.Stat(cfg.Provisioning.Database); err != nil && !cfg.Provisioning.Postgres() {
		return nil // looking makes no database
	}
	db, err := e.open(ctx)
	if err != nil {
		return nil
	}
	switch name {
	case "mac", "subject":
		nodes, _ := db.registry.Nodes(ctx, operator(), provisioning.NodeQuery{Limit: completed})
		for _, n := range nodes {
			values = append(values, n.MAC.String())
		}
	case "farmer":
		farmers, _ := db.registry.Farmers(ctx, operator())
		for _, f := range farmers[:min(len(farmers), completed)] {
			values = append(values, f.ID.String())
		}
	case "id":
		tokens, _ := db.registry.Tokens(ctx, operator())
		for _, t := range tokens {
			values = append(values, t.ID)
		}
	}
	return values
}

// completed is how many values a shell is given at most.
const completed = 1000
