package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

// TestHelpHasExamples holds every command to an example, or to a long help text
// where there is nothing to show.
func TestHelpHasExamples(t *testing.T) {
	parser, err := kong.New(&cli{}, kong.Name("farmboot"), vars())
	if err != nil {
		t.Fatal(err)
	}
	for _, leaf := range parser.Model.Leaves(true) {
		path := strings.TrimPrefix(leaf.FullPath(), "farmboot ")
		if leaf.Help == "" {
			t.Errorf("%s: no help", path)
		}
		if len(leaf.Positional)+len(leaf.Flags) > 0 && !strings.Contains(leaf.Detail, "farmboot "+strings.Fields(path)[0]) {
			t.Errorf("%s: --help shows no example", path)
		}
		for _, f := range leaf.Flags {
			if f.Help == "" {
				t.Errorf("%s: --%s has no help", path, f.Name)
			}
		}
	}
}

// TestEmptyValues holds every flag to refuse an empty value, which is that of a shell's
// variable that was not set; or its help to say what that means.
func TestEmptyValues(t *testing.T) {
	parser, err := kong.New(&cli{}, kong.Name("farmboot"), vars())
	if err != nil {
		t.Fatal(err)
	}
	for _, leaf := range parser.Model.Leaves(false) {
		for _, flags := range leaf.AllFlags(false) {
			for _, f := range flags {
				if f.IsBool() || strings.Contains(f.Help, "empty: ") {
					continue
				}
				command := append(strings.Fields(strings.TrimPrefix(leaf.Path(), "farmboot ")), "--"+f.Name, "")
				var out, complaint bytes.Buffer
				code := run(t.Context(), command, &env{stdin: strings.NewReader(""), stdout: &out, stderr: &complaint})
				if want := "farmboot: --" + f.Name + ": its value is empty: "; code != exitUsage || !strings.HasPrefix(complaint.String(), want) {
					t.Errorf("%q: exit status %d, %q; want %d, %q", command, code, complaint.String(), exitUsage, want)
				}
			}
		}
	}
}
