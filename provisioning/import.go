package provisioning

import (
	"context"
	"fmt"
)

// Row is one line of an import.
type Row struct {
	Line  int // in the file; of a database, its row number
	MAC   MAC
	Patch NodePatch // what the line says; nil: nothing
	Err   error     // why the line cannot be read; nil: it can
}

// Outcome is what becomes of a [Row].
type Outcome string

// The outcomes.
const (
	Added     Outcome = "added"
	Updated   Outcome = "updated"
	Unchanged Outcome = "unchanged"
	Refused   Outcome = "refused"
)

// ImportedRow tells what became of a line, or would have, had no line been refused.
type ImportedRow struct {
	Line     int      `json:"line"`
	MAC      MAC      `json:"mac,omitzero"`
	Outcome  Outcome  `json:"outcome"`
	Message  string   `json:"message,omitempty"`  // why it is refused
	Warnings []string `json:"warnings,omitempty"` // what is probably a mistake, though it is not refused
}

// ImportReport tells what became of an import.
type ImportReport struct {
	Written bool            `json:"written"` // false: nothing was
	Counts  map[Outcome]int `json:"counts"`
	Rows    []ImportedRow   `json:"rows"`
}

// ImportOptions say what an import does beyond adding nodes.
type ImportOptions struct {
	Update      bool // change nodes that are registered already; else they are refused
	SkipRefused bool // import the other lines when some are refused
	DryRun      bool // write nothing, only report
}

// errNotWritten makes the transaction of an import undo what it tried.
var errNotWritten = Errorf(Invalid, "nothing was imported")

// Import registers many nodes, all or nothing, and reports line by line. The error
// is [Invalid] if a line was refused, and then nothing was imported, unless the
// options say otherwise.
func (r *Registry) Import(ctx context.Context, by Actor, rows []Row, opt ImportOptions) (ImportReport, error) {
	var report ImportReport
	err := r.store.Update(ctx, func(tx Tx) error {
		report = ImportReport{Counts: map[Outcome]int{}, Rows: []ImportedRow{}}
		firstLine := map[MAC]int{}
		for _, row := range rows {
			n, outcome, err := r.importRow(ctx, tx, by, row, opt, firstLine)
			if err != nil && !refusal(err) {
				return err
			}
			line := ImportedRow{Line: row.Line, MAC: row.MAC, Outcome: outcome}
			if err != nil {
				line.Outcome, line.Message = Refused, err.Error()
			} else if r.rules.Warnings != nil {
				line.Warnings = r.rules.Warnings(n)
			}
			report.Counts[line.Outcome]++
			report.Rows = append(report.Rows, line)
		}
		if opt.DryRun || report.Counts[Refused] > 0 && !opt.SkipRefused {
			return errNotWritten
		}
		return nil
	})
	report.Written = err == nil
	if refused := report.Counts[Refused]; err == error(errNotWritten) && refused > 0 && !opt.SkipRefused {
		return report, Errorf(Invalid, "%d of %d lines refused, nothing was imported", refused, len(rows))
	}
	if err != nil && err != error(errNotWritten) {
		return ImportReport{}, err
	}
	return report, nil
}

// importRow adds or changes one node, and returns it as stored. Its error may be a
// refusal of this line only.
func (r *Registry) importRow(ctx context.Context, tx Tx, by Actor, row Row, opt ImportOptions, firstLine map[MAC]int) (Node, Outcome, error) {
	if row.Err != nil {
		return Node{}, Refused, row.Err
	}
	if first, ok := firstLine[row.MAC]; ok {
		return Node{}, Refused, Errorf(Conflict, "node %s is in line %d already", row.MAC, first)
	}
	firstLine[row.MAC] = row.Line
	old, err := tx.Node(ctx, row.MAC)
	switch {
	case ErrorCode(err) == NotFound:
		n, err := r.addNew(ctx, tx, by, row.Patch.Apply(Node{MAC: row.MAC}))
		return n, Added, err
	case err != nil:
		return Node{}, Refused, err
	case !opt.Update:
		return Node{}, Refused, Errorf(Conflict, "node %s is registered already", row.MAC)
	case row.Patch.Apply(old) == old && by.owns(old.Farmer):
		return old, Unchanged, nil
	}
	n, err := r.set(ctx, tx, by, row.MAC, row.Patch)
	return n, Updated, err
}

// refusal tells whether err is about what was asked, not about the store.
func refusal(err error) bool {
	switch ErrorCode(err) {
	case Invalid, NotFound, Conflict, Forbidden:
		return true
	default:
		return false
	}
}

// String summarises the report in one line.
func (r ImportReport) String() string {
	return fmt.Sprintf("%d added, %d updated, %d unchanged, %d refused", r.Counts[Added], r.Counts[Updated], r.Counts[Unchanged], r.Counts[Refused])
}
