package main

import (
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// printJSON writes v, indented, as the API shows it.
func printJSON(w io.Writer, v any) error {
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	out.SetIndent("", "  ")
	return out.Encode(v)
}

// table writes lines of columns, each as wide as its widest cell.
type table struct{ w *tabwriter.Writer }

func newTable(w io.Writer, header string) table {
	t := table{tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)}
	fmt.Fprintln(t.w, header) // errors stay until Flush
	return t
}

// row writes one line; its format separates cells by tabs.
func (t table) row(format string, cells ...any) { fmt.Fprintf(t.w, format+"\n", cells...) }

func (t table) flush() error { return t.w.Flush() }

// localTime is a time for people, where they are; "-" for none.
func localTime(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05")
}

// dash stands for a cell that would be empty.
func dash(s string) string {
	if s == "" || s == "0" {
		return "-"
	}
	return s
}
