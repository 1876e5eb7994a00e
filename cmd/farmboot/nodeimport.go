package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"farmboot/provisioning"
	"farmboot/provisioning/registry"
	"farmboot/provisioning/sqlite"
)

type nodeImportCmd struct {
	File    fileName `arg:"" help:"CSV file with a header line, - for standard input, or a legacy bootstrap.sqlite3."`
	Update  bool     `help:"Change nodes that are registered already; without it they are refused."`
	Skip    bool     `help:"Leave out lines that are refused, and import the others."`
	DryRun  bool     `help:"Only tell what would be done."`
	Verbose bool     `short:"v" help:"Name every line, not only those that are refused or have a warning."`
	JSON    bool     `help:"Report as JSON, as the API shows it."`
}

func (nodeImportCmd) Help() string {
	return `All or nothing: if a line is refused, every such line is reported and nothing is
written. The columns of the CSV file are mac, farmer, runmode, args, kernel, name,
nbp and exit, in any order, as its first line names them; only mac must be there. With --update,
columns that are not there stay as they are.

Examples:

  farmboot node import nodes.csv
  farmboot node import --update --dry-run nodes.csv
  farmboot node import bootstrap.sqlite3`
}

func (c nodeImportCmd) Run(ctx context.Context, e *env) error {
	rows, err := c.read(ctx, e)
	if err != nil {
		return err
	}
	db, err := e.open(ctx)
	if err != nil {
		return err
	}
	if len(rows) == 0 {
		fmt.Fprintf(e.stderr, "farmboot: warning: there is no node in %s\n", c.source())
	}
	report, refused := db.registry.Import(ctx, operator(), rows,
		registry.ImportOptions{Update: c.Update, SkipRefused: c.Skip, DryRun: c.DryRun})
	if report.Rows == nil { // the store's fault, not a line's
		return refused
	}
	meant := e.kernelMeant()
	for i, row := range report.Rows {
		if row.Err != nil {
			report.Rows[i].Message = meant(row.Err).Error()
		}
	}
	if c.JSON {
		err = printJSON(e.stdout, report)
	} else {
		err = printImport(e.stdout, report, c.Verbose)
		if report.Written || c.DryRun && refused == nil {
			err = errors.Join(err, db.printNewFarmers(e.stderr, report.Written))
		}
	}
	if err != nil {
		return err
	}
	return orTake(refused, report)
}

// orTake says what takes the lines of an import all the same that was refused.
func orTake(refused error, report registry.ImportReport) error {
	if refused == nil {
		return nil
	}
	var ways []string
	if slices.ContainsFunc(report.Rows, func(r registry.ImportedRow) bool { return errors.Is(r.Err, registry.ErrRegistered) }) {
		ways = append(ways, "--update changes nodes that are registered already")
	}
	switch others := len(report.Rows) - report.Counts[registry.Refused]; others {
	case 0:
	case 1:
		ways = append(ways, "--skip imports the other one")
	default:
		ways = append(ways, "--skip imports the other "+countOf(others, "line"))
	}
	if ways == nil {
		return refused
	}
	return fmt.Errorf("%w; %s", refused, strings.Join(ways, ", "))
}

// source names where the nodes come from.
func (c nodeImportCmd) source() string {
	if c.File == "-" {
		return "standard input"
	}
	return printable(string(c.File))
}

// read reads the rows, of whichever format the file is.
func (c nodeImportCmd) read(ctx context.Context, e *env) ([]provisioning.Row, error) {
	if c.File == "-" {
		return registry.ReadCSV(&bounded{e.stdin, maxImport})
	}
	f, err := openInput(string(c.File))
	if err != nil {
		return nil, fmt.Errorf("import: %w", err)
	}
	defer f.Close()
	in := bufio.NewReader(f)
	if head, _ := in.Peek(16); sqlite.IsSQLite(head) {
		return sqlite.ReadLegacy(ctx, string(c.File))
	}
	return registry.ReadCSV(&bounded{in, maxImport})
}

// maxImport is the longest list that is read, in bytes: as many lines as an import may
// have, of 256 bytes.
const maxImport = provisioning.MaxRows * 256

// bounded reads no more than left bytes: a device has no end.
type bounded struct {
	from io.Reader
	left int64
}

// Read implements [io.Reader].
func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("the list is longer than %d bytes: import it in parts", int64(maxImport))
	}
	n, err := b.from.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// printImport reports lines with a warning, then those that are refused, and before them
// the others if all is set; at the end how many there are.
func printImport(w io.Writer, r registry.ImportReport, all bool) error {
	out := bufio.NewWriter(w) // errors stay until Flush
	for _, row := range r.Rows {
		if row.Outcome != registry.Refused && all {
			fmt.Fprintf(out, "line %d: %s %s\n", row.Line, row.MAC, row.Outcome)
		}
		for _, warning := range row.Warnings {
			fmt.Fprintf(out, "line %d: warning: %s\n", row.Line, warning)
		}
	}
	for _, row := range r.Rows {
		if row.Outcome == registry.Refused {
			fmt.Fprintf(out, "line %d: refused: %s\n", row.Line, row.Message)
		}
	}
	done := "imported"
	if !r.Written {
		done = "nothing written; would be"
	}
	fmt.Fprintf(out, "%s: %s\n", done, r)
	return out.Flush()
}

type nodeExportCmd struct {
	File      fileName `arg:"" optional:"" default:"-" help:"File to write, which must not exist yet; - for standard output."`
	Inventory bool     `help:"With what is known of the machines: address, serial number, maker, product, last boot. An import reads over that."`
}

func (nodeExportCmd) Help() string {
	return `Examples:

  farmboot node export > nodes.csv
  farmboot node export nodes.csv
  farmboot node export --inventory machines.csv`
}

func (c nodeExportCmd) Run(ctx context.Context, e *env, db *database) error {
	if err := notFolder(c.File, "nodes.csv"); err != nil {
		return err
	}
	nodes := db.registry.AllNodes(ctx, operator(), provisioning.NodeQuery{})
	extra, err := db.registry.CSVExtra(ctx, operator(), c.Inventory)
	if err != nil {
		return err
	}
	if c.File == "-" {
		return registry.WriteCSV(e.stdout, nodes, extra)
	}
	return writeFile(string(c.File), 0o640, false, func(w io.Writer) error { return registry.WriteCSV(w, nodes, extra) })
}
