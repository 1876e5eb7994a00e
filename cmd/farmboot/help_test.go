package main

import (
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
