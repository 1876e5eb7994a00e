package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"
)

// printJSON writes v, indented, as the API shows it.
func printJSON(w io.Writer, v any) error {
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	out.SetIndent("", "  ")
	return out.Encode(v)
}

// table writes lines of columns, each as wide as its widest cell, without blanks at their
// ends.
type table struct {
	out   io.Writer
	text  bytes.Buffer
	w     *tabwriter.Writer // to text
	rows  int
	notes map[int]string // below which row
}

func newTable(w io.Writer, header string) *table {
	t := &table{out: w, notes: map[int]string{}}
	t.w = tabwriter.NewWriter(&t.text, 0, 0, 2, ' ', 0)
	t.row("%s", header)
	return t
}

// row writes one line; its format separates cells by tabs.
func (t *table) row(format string, cells ...any) {
	fmt.Fprintf(t.w, format+"\n", cells...) // errors stay until Flush
	t.rows++
}

// note writes a line below the last row, of which no column knows.
func (t *table) note(format string, of ...any) {
	t.notes[t.rows-1] = fmt.Sprintf("  "+format, of...)
}

func (t *table) flush() error {
	if err := t.w.Flush(); err != nil {
		return err
	}
	out := bufio.NewWriter(t.out) // errors stay until Flush
	row := 0
	for line := range strings.Lines(t.text.String()) {
		fmt.Fprintln(out, strings.TrimRight(line, " \n"))
		if note := t.notes[row]; note != "" {
			fmt.Fprintln(out, note)
		}
		row++
	}
	return out.Flush()
}

// localTime is a time for people, where they are, with its zone; "-" for none.
func localTime(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05 MST")
}

// dash stands for a cell that would be empty.
func dash(s string) string {
	if s == "" || s == "0" {
		return "-"
	}
	return s
}

// confirm asks a question on a terminal, and tells whether the answer is yes. Without a
// terminal, and with yes, it goes on without asking.
func (e *env) confirm(question string, yes bool) (bool, error) {
	in, isFile := e.stdin.(*os.File)
	if yes || !isFile || !term.IsTerminal(int(in.Fd())) {
		return true, nil
	}
	fmt.Fprintf(e.stderr, "%s [y/N] ", question)
	answer, err := bufio.NewReader(in).ReadString('\n')
	if err != nil && answer == "" {
		return false, fmt.Errorf("no answer: nothing was changed")
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return true, nil
	}
	fmt.Fprintln(e.stderr, "nothing was changed")
	return false, nil
}

// countOf says how many there are of something: "1 change", "43 changes".
func countOf(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
