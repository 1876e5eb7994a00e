package registry

import (
	"bufio"
	"encoding/csv"
	"errors"
	"io"
	"iter"
	"slices"
	"strings"

	"farmboot/provisioning"
)

// columns are those of a CSV file of nodes, in the order in which WriteCSV writes
// them.
var columns = []string{"mac", "farmer", "runmode", "args", "kernel", "name", "nbp"}

// ReadCSV reads nodes from CSV (RFC 4180) with a header line. The columns are mac,
// farmer, runmode, args, kernel, name and nbp, in any order; only mac must be there. A
// column that is missing, or a run mode that is empty, leaves a registered node's
// as it is; an empty farmer is none. Lines whose fields are all empty are skipped. The
// apostrophe that [WriteCSV] puts before a formula is taken off. A line that cannot be
// read becomes a [provisioning.Row] with Err; the error is that of the whole file, an [provisioning.Error] with
// code [provisioning.Invalid].
func ReadCSV(from io.Reader) ([]provisioning.Row, error) {
	text := bufio.NewReader(from)
	if mark, _ := text.Peek(len(byteOrderMark)); string(mark) == byteOrderMark {
		_, _ = text.Discard(len(mark)) // it is in the buffer
	}
	if err := checkSeparator(text); err != nil {
		return nil, err
	}
	in := csv.NewReader(text)
	in.FieldsPerRecord = -1 // said better below
	header, err := in.Read()
	if errors.Is(err, io.EOF) {
		return nil, provisioning.Errorf(provisioning.Invalid, "the CSV file is empty: its first line must name the columns %s", strings.Join(columns, ","))
	}
	if err != nil {
		return nil, provisioning.Errorf(provisioning.Invalid, "read CSV: %w", err)
	}
	if err := checkHeader(header); err != nil {
		return nil, err
	}
	var rows []provisioning.Row
	for {
		record, err := in.Read()
		if errors.Is(err, io.EOF) {
			return rows, nil
		}
		if err != nil { // quotes do not match: no telling where the next line begins
			return nil, provisioning.Errorf(provisioning.Invalid, "read CSV: %w", err)
		}
		if empty(record) { // spreadsheets append such lines
			continue
		}
		if len(rows) == provisioning.MaxRows {
			return nil, provisioning.Errorf(provisioning.Invalid, "the CSV file has more than %d lines: import it in parts", provisioning.MaxRows)
		}
		line, _ := in.FieldPos(0)
		rows = append(rows, parseRow(line, header, record))
	}
}

// byteOrderMark is what spreadsheets put in front of UTF-8 text.
const byteOrderMark = "\ufeff"

// checkSeparator refuses a first line that has no commas, but what spreadsheets of
// some countries write in their place. It takes nothing from the text.
func checkSeparator(text *bufio.Reader) error {
	head, _ := text.Peek(text.Size()) // or all that there is
	line, _, _ := strings.Cut(string(head), "\n")
	if i := strings.IndexAny(line, ";\t"); i >= 0 && !strings.Contains(line, ",") {
		return provisioning.Errorf(provisioning.Invalid, "the columns of the first line are separated by %s instead of commas, as in mac,farmer", map[byte]string{';': ";", '\t': "tabs"}[line[i]])
	}
	return nil
}

// empty tells whether nothing is in a line.
func empty(record []string) bool {
	return !slices.ContainsFunc(record, func(field string) bool { return strings.TrimSpace(field) != "" })
}

// checkHeader normalises the names of columns, and refuses those that do not exist.
func checkHeader(header []string) error {
	for i, name := range header {
		name = strings.ToLower(strings.TrimSpace(name))
		if !slices.Contains(columns, name) {
			return provisioning.Errorf(provisioning.Invalid, "unknown column %q in the first line: accepted are %s", provisioning.Clip(name, 40), strings.Join(columns, ","))
		}
		if slices.Contains(header[:i], name) {
			return provisioning.Errorf(provisioning.Invalid, "column %q is there twice", name)
		}
		header[i] = name
	}
	if !slices.Contains(header, "mac") {
		return provisioning.Errorf(provisioning.Invalid, "no column mac in the first line: accepted are %s", strings.Join(columns, ","))
	}
	return nil
}

func parseRow(line int, header, record []string) provisioning.Row {
	row := provisioning.Row{Line: line}
	if len(record) != len(header) {
		row.Err = provisioning.Errorf(provisioning.Invalid, "%d fields, but the first line names %d columns", len(record), len(header))
		return row
	}
	for i, name := range header {
		if err := row.Set(name, plain(record[i])); err != nil && row.Err == nil {
			row.Err = err
		}
	}
	return row
}

// harmless is text as a field that no spreadsheet takes for a formula: a farmer
// chooses the name of his node, and an admin opens the list. [plain] undoes it.
func harmless(text string) string {
	if isFormula(strings.TrimLeft(text, apostrophe)) {
		return apostrophe + text
	}
	return text
}

// plain undoes [harmless].
func plain(field string) string {
	if text, ok := strings.CutPrefix(field, apostrophe); ok && isFormula(strings.TrimLeft(text, apostrophe)) {
		return text
	}
	return field
}

// apostrophe before a formula makes text of it.
const apostrophe = "'"

// isFormula tells whether spreadsheets would calculate text (OWASP, CSV injection).
func isFormula(text string) bool {
	return text != "" && strings.IndexByte("=+-@\t\r", text[0]) >= 0
}

// WriteCSV writes nodes as [ReadCSV] reads them, with an apostrophe before what a
// spreadsheet would take for a formula. It ends at their first error.
func WriteCSV(to io.Writer, nodes iter.Seq2[provisioning.Node, error]) error {
	out := csv.NewWriter(to)
	_ = out.Write(columns) // errors stay until Flush
	for n, err := range nodes {
		if err != nil {
			return err
		}
		farmer := ""
		if n.Farmer != 0 {
			farmer = n.Farmer.String()
		}
		_ = out.Write([]string{n.MAC.String(), farmer, string(n.RunMode), harmless(n.Args), harmless(n.Kernel), harmless(n.Name), string(n.NBP)})
	}
	out.Flush()
	return out.Error()
}
