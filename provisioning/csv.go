package provisioning

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
)

// columns are those of a CSV file of nodes, in the order in which WriteCSV writes
// them.
var columns = []string{"mac", "farmer", "runmode", "args", "kernel", "name", "nbp"}

// MaxRows bounds an import: what a whole grid has, some 400 MB of rows in memory.
const MaxRows = 1_000_000

// ReadCSV reads nodes from CSV (RFC 4180) with a header line. The columns are mac,
// farmer, runmode, args, kernel, name and nbp, in any order; only mac must be there. A
// column that is missing, or a run mode that is empty, leaves a registered node's
// as it is; an empty farmer is none. A line that cannot be read becomes a [Row]
// with Err; the error is that of the whole file, an [Error] with code [Invalid].
func ReadCSV(from io.Reader) ([]Row, error) {
	in := csv.NewReader(from)
	in.FieldsPerRecord = -1 // said better below
	header, err := in.Read()
	if errors.Is(err, io.EOF) {
		return nil, Errorf(Invalid, "the CSV file is empty: its first line must name the columns %s", strings.Join(columns, ","))
	}
	if err != nil {
		return nil, Errorf(Invalid, "read CSV: %w", err)
	}
	if err := checkHeader(header); err != nil {
		return nil, err
	}
	var rows []Row
	for {
		record, err := in.Read()
		if errors.Is(err, io.EOF) {
			return rows, nil
		}
		if err != nil { // quotes do not match: no telling where the next line begins
			return nil, Errorf(Invalid, "read CSV: %w", err)
		}
		if len(rows) == MaxRows {
			return nil, Errorf(Invalid, "the CSV file has more than %d lines: import it in parts", MaxRows)
		}
		line, _ := in.FieldPos(0)
		rows = append(rows, parseRow(line, header, record))
	}
}

// checkHeader normalises the names of columns, and refuses those that do not exist.
func checkHeader(header []string) error {
	for i, name := range header {
		name = strings.ToLower(strings.TrimSpace(strings.TrimPrefix(name, "\ufeff"))) // spreadsheets put a byte order mark there
		if !slices.Contains(columns, name) {
			return Errorf(Invalid, "unknown column %q in the first line: accepted are %s", clip(name, 40), strings.Join(columns, ","))
		}
		if slices.Contains(header[:i], name) {
			return Errorf(Invalid, "column %q is there twice", name)
		}
		header[i] = name
	}
	if !slices.Contains(header, "mac") {
		return Errorf(Invalid, "no column mac in the first line: accepted are %s", strings.Join(columns, ","))
	}
	return nil
}

func parseRow(line int, header, record []string) Row {
	row := Row{Line: line}
	if len(record) != len(header) {
		row.Err = Errorf(Invalid, "%d fields, but the first line names %d columns", len(record), len(header))
		return row
	}
	for i, name := range header {
		if err := row.set(name, record[i]); err != nil && row.Err == nil {
			row.Err = err
		}
	}
	return row
}

// set reads one field.
func (r *Row) set(column, value string) (err error) {
	switch column {
	case "mac":
		r.MAC, err = ParseMAC(value)
	case "farmer":
		var id FarmerID
		if value = strings.TrimSpace(value); value != "" && value != "0" {
			id, err = ParseFarmerID(value)
		}
		r.Patch.Farmer = &id
	case "runmode":
		if mode := RunMode(strings.TrimSpace(value)); mode != "" {
			r.Patch.RunMode = &mode
		}
	case "args":
		r.Patch.Args = &value
	case "kernel":
		r.Patch.Kernel = &value
	case "name":
		r.Patch.Name = &value
	case "nbp":
		nbp := NBP(strings.TrimSpace(value))
		r.Patch.NBP = &nbp
	default:
		err = fmt.Errorf("column %s is not one of ours", column)
	}
	return err
}

// WriteCSV writes nodes as [ReadCSV] reads them. It ends at their first error.
func WriteCSV(to io.Writer, nodes iter.Seq2[Node, error]) error {
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
		_ = out.Write([]string{n.MAC.String(), farmer, string(n.RunMode), n.Args, n.Kernel, n.Name, string(n.NBP)})
	}
	out.Flush()
	return out.Error()
}
