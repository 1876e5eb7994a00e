package main

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"farmboot/ipxe/kernel/kerneltest"
	"farmboot/setup/docs"
)

// manual returns the texts that people read, by file name.
func manual(t *testing.T) map[string]string {
	t.Helper()
	texts := make(map[string]string)
	files, err := fs.Glob(docs.Files, "*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		text, err := fs.ReadFile(docs.Files, name)
		if err != nil {
			t.Fatal(err)
		}
		texts[name] = string(text)
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	texts["README.md"] = string(readme)
	return texts
}

var shellBlock = regexp.MustCompile("(?ms)^```sh\n(.*?)^```")

// TestManualNamesCommandsThatThereAre: each command of ours, each of its flags and each
// setting that the manual or the README names exists.
func TestManualNamesCommandsThatThereAre(t *testing.T) {
	parser, err := kong.New(&cli{}, kong.Name("farmboot"), vars())
	if err != nil {
		t.Fatal(err)
	}
	reference, err := os.ReadFile("../../appliance.toml")
	if err != nil {
		t.Fatal(err)
	}
	inline := regexp.MustCompile("`farmboot ([a-z][^`]*)`")
	line := regexp.MustCompile(`(?m)^(?:podman exec (?:-i )?farmboot )?farmboot ([a-z].*)$`)
	setting := regexp.MustCompile("`\\[([a-z-]+)\\] ([a-z-]+)")
	commands, settings := 0, 0
	for name, text := range manual(t) {
		said := inline.FindAllStringSubmatch(text, -1)
		for _, block := range shellBlock.FindAllStringSubmatch(text, -1) {
			said = append(said, line.FindAllStringSubmatch(block[1], -1)...)
		}
		for _, m := range said {
			commands++
			words, _, _ := strings.Cut(m[1], " #")
			if wrong := checkCommand(parser.Model.Node, strings.Fields(words)); wrong != "" {
				t.Errorf("%s names \"farmboot %s\": %s", name, strings.TrimSpace(words), wrong)
			}
		}
		for _, m := range setting.FindAllStringSubmatch(text, -1) {
			settings++
			_, table, ok := strings.Cut(string(reference), "\n["+m[1]+"]\n")
			table, _, _ = strings.Cut(table, "\n[")
			if !ok || !regexp.MustCompile(`(?m)^#? ?`+regexp.QuoteMeta(m[2])+` = `).MatchString(table) {
				t.Errorf("%s names [%s] %s, which appliance.toml does not have", name, m[1], m[2])
			}
		}
	}
	if commands < 20 || settings < 5 {
		t.Errorf("only %d commands and %d settings were found", commands, settings)
	}
}

// checkCommand says what is wrong with a command line; "": nothing.
func checkCommand(node *kong.Node, words []string) string {
	for len(node.Children) > 0 && len(words) > 0 {
		var child *kong.Node
		for _, c := range node.Children {
			if c.Name == words[0] {
				child = c
			}
		}
		if child == nil {
			return fmt.Sprintf("there is no %q", words[0])
		}
		node, words = child, words[1:]
	}
	flags := make(map[string]bool)
	for _, group := range node.AllFlags(false) {
		for _, f := range group {
			flags["--"+f.Name] = true
			if f.Short != 0 {
				flags["-"+string(f.Short)] = true
			}
		}
	}
	for _, word := range words {
		if flag, _, _ := strings.Cut(word, "="); strings.HasPrefix(flag, "-") && flag != "-" && !flags[flag] {
			return "there is no flag " + flag
		}
	}
	return ""
}

// TestManualsAPIExamplesRun runs the examples of the page about the API, in their order.
func TestManualsAPIExamplesRun(t *testing.T) {
	d := startDaemon(t)
	var token struct{ Secret string }
	if status, out, errs := d.command("token", "add", "--role", "admin", "--json"); status != exitOK {
		t.Fatal(errs)
	} else if err := json.Unmarshal([]byte(out), &token); err != nil || token.Secret == "" {
		t.Fatalf("token add (%v): %s", err, out)
	}
	config, err := os.ReadFile(d.file)
	if err != nil {
		t.Fatal(err)
	}
	tls := regexp.MustCompile(`tls-port = (\d+)`).FindSubmatch(config)
	if tls == nil {
		t.Fatalf("no tls-port in %s", config)
	}
	page, err := fs.ReadFile(docs.Files, "api.md")
	if err != nil {
		t.Fatal(err)
	}
	// The daemon of a test has other ports than an appliance.
	script := fmt.Sprintf("set -euo pipefail\ncurl() { command curl --connect-to \"$APPLIANCE:80:127.0.0.1:%d\" --connect-to \"$APPLIANCE:443:127.0.0.1:%s\" \"$@\"; }\nset -x\n", d.port, tls[1])
	examples := shellBlock.FindAllStringSubmatch(string(page), -1)
	if len(examples) < 5 {
		t.Fatalf("only %d examples were found", len(examples))
	}
	for _, block := range examples {
		script += block[1]
	}
	cmd := exec.CommandContext(t.Context(), "bash", "-c", script)
	cmd.Dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(cmd.Dir, "zos.efi"), []byte(kerneltest.EFI("Zero-OS")), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), "APPLIANCE=127.0.0.1", "TOKEN="+token.Secret)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v:\n%s", err, out)
	}
}
