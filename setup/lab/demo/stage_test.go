package main

import (
	"fmt"
	"strings"
	"testing"
)

// TestLines: a command writes a table cell by cell, and a line is one all the same.
func TestLines(t *testing.T) {
	var got []string
	l := &lines{each: func(line string) { got = append(got, line) }}
	for _, piece := range []string{"MAC", "", "   52:54\r", "\nwhole\n\ntwo", " lines\nlast"} {
		if n, err := fmt.Fprint(l, piece); n != len(piece) || err != nil {
			t.Errorf("wrote %d of %q: %v", n, piece, err)
		}
	}
	if got, want := strings.Join(got, "|"), "MAC   52:54|whole||two lines"; got != want {
		t.Errorf("lines are %q, want %q", got, want)
	}
	l.flush()
	l.flush()
	if got, want := strings.Join(got, "|"), "MAC   52:54|whole||two lines|last"; got != want {
		t.Errorf("in the end lines are %q, want %q", got, want)
	}
}
