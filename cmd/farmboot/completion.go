package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
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
func (c completeCmd) Run(e *env, k *kong.Kong) error {
	words := c.Words
	if len(words) > 0 && words[0] == "--" {
		words = words[1:]
	}
	for _, s := range complete(k.Model.Node, words) {
		if _, err := fmt.Fprintln(e.stdout, s); err != nil {
			return err
		}
	}
	return nil
}

// complete returns what the last word could be, of a command line below node; it
// may be empty. Nil where only the user can know.
func complete(node *kong.Node, words []string) []string {
	if len(words) == 0 {
		return nil
	}
	words, last := words[:len(words)-1], words[len(words)-1]
	var value *kong.Flag // whose value comes next
	for _, w := range words {
		switch {
		case value != nil:
			value = nil
		case strings.HasPrefix(w, "-"):
			value = valueFlag(node, w)
		default:
			if child := childOf(node, w); child != nil {
				node = child
			}
		}
	}
	var candidates []string
	switch {
	case value != nil:
		candidates = enumOf(value.Value)
	case strings.HasPrefix(last, "-"):
		for _, group := range node.AllFlags(true) {
			for _, f := range group {
				candidates = append(candidates, "--"+f.Name)
			}
		}
	default:
		for _, child := range node.Children {
			if !child.Hidden {
				candidates = append(candidates, child.Name)
			}
		}
		for _, p := range node.Positional {
			candidates = append(candidates, enumOf(p)...)
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

// enumOf returns the values that v can have, where there are only a few.
func enumOf(v *kong.Value) []string {
	if v.Enum == "" {
		return nil
	}
	return strings.Split(v.Enum, ",")
}
