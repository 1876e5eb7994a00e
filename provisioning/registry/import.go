package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"farmboot/provisioning"
	"farmboot/provisioning/rights"
)

// Outcome is what becomes of a [provisioning.Row].
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
	Line     int              `json:"line"`
	MAC      provisioning.MAC `json:"mac,omitzero"`
	Outcome  Outcome          `json:"outcome"`
	Message  string           `json:"message,omitempty"`  // why it is refused
	Warnings []string         `json:"warnings,omitempty"` // what is probably a mistake, though it is not refused

	Err error `json:"-"` // what Message says
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

const (
	// farmerRows bounds that of a farmer.
	farmerRows = 10_000
	// longImport is from how many lines on there is one import at a time: each keeps a
	// core busy.
	longImport = 1000
)

// Import registers many nodes, all or nothing, and reports line by line. The error
// is that of importRows if a line was refused, and then nothing was imported, unless the
// options say otherwise; [provisioning.Conflict] while another long import goes on.
//
// It is rehearsed first, for nobody else can write while it is written, and events of
// boots are lost when that takes long: a dry run, and one that will be refused, hold
// nobody up.
func (r *Registry) Import(ctx context.Context, by provisioning.Actor, rows []provisioning.Row, opt ImportOptions) (ImportReport, error) {
	if !rights.All(by) && len(rows) > farmerRows {
		return ImportReport{}, provisioning.Errorf(provisioning.Invalid, "%d lines: a farmer may import at most %d at a time", len(rows), farmerRows)
	}
	ctx = together(ctx)
	if len(rows) >= longImport {
		if !r.importing.TryLock() {
			return ImportReport{}, provisioning.Errorf(provisioning.Conflict, "another import is going on: try again when it is over")
		}
		defer r.importing.Unlock()
	}
	report, err := r.importRows(ctx, rehearsal{r.store}, by, rows, opt)
	if err != nil || opt.DryRun {
		return report, err
	}
	err = r.store.Update(ctx, func(tx provisioning.Tx) (err error) {
		report, err = r.importRows(ctx, tx, by, rows, opt)
		return err
	})
	report.Written = err == nil
	return report, err
}

// importRows imports rows, or stops at what is not about a line. The error is [provisioning.Invalid]
// if a line was refused and the options do not say to skip it, or [provisioning.Forbidden] if
// nothing was wrong but who asks.
func (r *Registry) importRows(ctx context.Context, tx provisioning.Tx, by provisioning.Actor, rows []provisioning.Row, opt ImportOptions) (ImportReport, error) {
	report := ImportReport{Counts: map[Outcome]int{}, Rows: []ImportedRow{}}
	firstLine := map[provisioning.MAC]int{}
	code := provisioning.Forbidden
	for _, row := range rows {
		n, outcome, err := r.importRow(ctx, tx, by, row, opt, firstLine)
		if err != nil && !refusal(err) {
			return ImportReport{}, err
		}
		line := ImportedRow{Line: row.Line, MAC: row.MAC, Outcome: outcome}
		if err != nil {
			line.Outcome, line.Message, line.Err = Refused, err.Error(), err
			if provisioning.ErrorCode(err) != provisioning.Forbidden {
				code = provisioning.Invalid
			}
		} else {
			line.Warnings = row.Warnings
			if warnings := r.rules.Load().Warnings; warnings != nil {
				line.Warnings = slices.Concat(line.Warnings, warnings(n))
			}
		}
		report.Counts[line.Outcome]++
		report.Rows = append(report.Rows, line)
	}
	if refused := report.Counts[Refused]; refused > 0 && !opt.SkipRefused {
		return report, provisioning.Errorf(code, "%d of %d lines refused, nothing was imported", refused, len(rows))
	}
	return report, nil
}

// rehearsal is a transaction that reads what is stored, and writes nothing. An import
// reads nothing that it wrote itself but farmers whom it mentions twice, which comes to
// the same: a second line about a node is refused.
type rehearsal struct{ provisioning.Reader }

var _ provisioning.Tx = rehearsal{}

func (rehearsal) PutNode(context.Context, provisioning.Node) error               { return nil }
func (rehearsal) DeleteNode(context.Context, provisioning.MAC) error             { return nil }
func (rehearsal) PutFarmer(context.Context, provisioning.Farmer) error           { return nil }
func (rehearsal) DeleteFarmer(context.Context, provisioning.FarmerID) error      { return nil }
func (rehearsal) PutToken(context.Context, provisioning.Token) error             { return nil }
func (rehearsal) DeleteToken(context.Context, string) error                      { return nil }
func (rehearsal) PutSession(context.Context, provisioning.Session) error         { return nil }
func (rehearsal) DeleteSession(context.Context, provisioning.SecretsHash) error  { return nil }
func (rehearsal) PruneSessions(context.Context, provisioning.SessionPrune) error { return nil }
func (rehearsal) PutSeen(context.Context, ...provisioning.Discovered) error      { return nil }
func (rehearsal) PutProven(context.Context, provisioning.Proven) error           { return nil }
func (rehearsal) AddChange(context.Context, provisioning.Change) error           { return nil }
func (rehearsal) NumberEvents(context.Context, int) (int64, error)               { return 0, nil }
func (rehearsal) WriteBoots(context.Context, provisioning.BootChanges) error     { return nil }
func (rehearsal) Prune(context.Context, provisioning.Prune) (bool, error)        { return false, nil }

// importRow adds or changes one node, and returns it as stored. Its error may be a
// refusal of this line only.
func (r *Registry) importRow(ctx context.Context, tx provisioning.Tx, by provisioning.Actor, row provisioning.Row, opt ImportOptions, firstLine map[provisioning.MAC]int) (provisioning.Node, Outcome, error) {
	if row.Err != nil {
		return provisioning.Node{}, Refused, row.Err
	}
	if first, ok := firstLine[row.MAC]; ok {
		return provisioning.Node{}, Refused, provisioning.Errorf(provisioning.Conflict, "node %s is in line %d already", row.MAC, first)
	}
	firstLine[row.MAC] = row.Line
	old, err := tx.Node(ctx, row.MAC)
	switch {
	case provisioning.ErrorCode(err) == provisioning.NotFound:
		if err := r.mayAdd(ctx, tx, by, row.MAC); err != nil {
			return provisioning.Node{}, Refused, err
		}
		n, err := r.addNew(ctx, tx, by, row.Patch.Apply(provisioning.Node{MAC: row.MAC}))
		return n, Added, err
	case err != nil:
		return provisioning.Node{}, Refused, err
	case !opt.Update:
		return provisioning.Node{}, Refused, registered(by, old)
	case row.Patch.Apply(old) == old && rights.Owns(by, old.Farmer):
		return old, Unchanged, nil
	}
	n, err := r.set(ctx, tx, by, row.MAC, row.Patch)
	return n, Updated, err
}

// ErrRegistered is why a node is refused that is registered, where it would be changed with
// [ImportOptions.Update].
var ErrRegistered = errors.New("is registered already")

// refusal tells whether err is about what was asked, not about the store.
func refusal(err error) bool {
	switch provisioning.ErrorCode(err) {
	case provisioning.Invalid, provisioning.NotFound, provisioning.Conflict, provisioning.Forbidden:
		return true
	default:
		return false
	}
}

// String summarises the report in one line.
func (r ImportReport) String() string {
	return fmt.Sprintf("%d added, %d updated, %d unchanged, %d refused", r.Counts[Added], r.Counts[Updated], r.Counts[Unchanged], r.Counts[Refused])
}
