package registry

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"slices"
	"strconv"

	"farmboot/provisioning"
	"farmboot/provisioning/rights"
)

// batchKey is the context key of what changes that are made together have in common.
type batchKey struct{}

// together returns a context in which all changes are one batch.
func together(ctx context.Context) context.Context {
	if batchOf(ctx) != "" {
		return ctx
	}
	return context.WithValue(ctx, batchKey{}, rand.Text()[:12])
}

func batchOf(ctx context.Context) string {
	batch, _ := ctx.Value(batchKey{}).(string)
	return batch
}

// Undone is what became of changes that were taken back.
type Undone struct {
	Changes int
	// Unenrolled are nodes whose enrolment for Secure Boot ended with their registration,
	// which is taken back now, or was then: enrolments are not begun anew.
	Unenrolled []provisioning.MAC
	Again      []provisioning.MAC // those of Unenrolled that are registered again
}

// Undo takes a change of a node back, by its number in the history, and with it those
// made together with it, an import for instance: all or none, and only as long as every
// node is still as the change left it ([provisioning.Conflict] else). Changes of
// other things cannot be taken back: [provisioning.Invalid].
func (r *Registry) Undo(ctx context.Context, by provisioning.Actor, id int64) (Undone, error) {
	if err := rights.Admin(by, "take changes back"); err != nil {
		return Undone{}, err
	}
	ctx = together(ctx)
	var undone Undone
	var removed []provisioning.MAC
	err := r.store.Update(ctx, func(tx provisioning.Tx) error {
		changes, err := tx.Changes(ctx, provisioning.ChangeQuery{ID: id})
		if err != nil {
			return err
		}
		if len(changes) == 0 {
			return provisioning.Errorf(provisioning.NotFound, "no change %d is in the history", id)
		}
		if batch := changes[0].Batch; batch != "" {
			if changes, err = tx.Changes(ctx, provisioning.ChangeQuery{Batch: batch}); err != nil {
				return err
			}
		}
		undone, removed = Undone{}, nil
		for _, c := range changes { // the newest first
			did, err := r.undo(ctx, tx, by, c)
			if err != nil {
				return err
			}
			if c.Action == EnrolCancel && c.Batch != "" { // it ended with the registration
				if mac, err := provisioning.ParseMAC(c.Subject); err == nil {
					undone.Again = append(undone.Again, mac)
				}
			}
			if !did {
				continue
			}
			undone.Changes++
			if mac, err := provisioning.ParseMAC(c.Subject); err == nil && len(c.Before) == 0 {
				removed = append(removed, mac)
			}
		}
		if undone.Changes == 0 {
			return provisioning.Errorf(provisioning.Invalid, "change %d is %q: only changes of nodes can be taken back", id, changes[0].Action)
		}
		return nil
	})
	if refusal(err) {
		err = provisioning.Errorf(provisioning.ErrorCode(err), "nothing was taken back: %w", err)
	}
	if err != nil {
		return Undone{}, err
	}
	ended, err := r.endEnrolments(ctx, by, removed...)
	undone.Unenrolled = slices.Concat(undone.Again, ended)
	slices.SortFunc(undone.Unenrolled, provisioning.MAC.Compare)
	return undone, err
}

// How a change is taken back.
const (
	takenBack = iota // it is of a node
	stays            // a farmer was registered on the way, or an enrolment ended
	refused
)

func undoing(c provisioning.Change) int {
	switch c.Action {
	case "node add", "node set", "node rm":
		return takenBack
	case "farmer add", EnrolCancel:
		return stays
	}
	return refused
}

// CanUndo tells whether [Registry.Undo] takes changes back that were made together, as far
// as the changes themselves say.
func CanUndo(changes []provisioning.Change) bool {
	nodes := false
	for _, c := range changes {
		switch undoing(c) {
		case refused:
			return false
		case takenBack:
			nodes = true
		}
	}
	return nodes
}

// undo takes one change back. A farmer who was registered on the way stays, and an enrolment that
// ended is not begun anew, which [Undone] tells.
func (r *Registry) undo(ctx context.Context, tx provisioning.Tx, by provisioning.Actor, c provisioning.Change) (bool, error) {
	switch undoing(c) {
	case stays:
		return false, nil
	case refused:
		return false, provisioning.Errorf(provisioning.Invalid, "change %d is %q: only changes of nodes can be taken back", c.ID, c.Action)
	}
	mac, err := provisioning.ParseMAC(c.Subject)
	if err != nil {
		return false, err
	}
	before, err := nodeIn(c.Before)
	if err != nil {
		return false, err
	}
	after, err := nodeIn(c.After)
	if err != nil {
		return false, err
	}
	now, err := tx.Node(ctx, mac)
	registered := err == nil
	if err != nil && provisioning.ErrorCode(err) != provisioning.NotFound {
		return false, err
	}
	if registered != (after != nil) || registered && !sameNode(now, *after) {
		return false, provisioning.Errorf(provisioning.Conflict, "node %s was changed after change %s", mac, strconv.FormatInt(c.ID, 10))
	}
	switch {
	case before == nil:
		return true, r.remove(ctx, tx, by, mac)
	case !registered:
		_, err = r.addNew(ctx, tx, by, *before)
	default:
		n := *before
		n.Created, n.Owned = now.Created, now.Owned
		_, err = r.put(ctx, tx, by, "node set", &now, n)
	}
	return true, err
}

// nodeIn reads a node of the history; nil: there was none.
func nodeIn(text json.RawMessage) (*provisioning.Node, error) {
	if len(text) == 0 {
		return nil, nil
	}
	n := new(provisioning.Node)
	if err := json.Unmarshal(text, n); err != nil {
		return nil, provisioning.Errorf(provisioning.Invalid, "the history holds no node there: %w", err)
	}
	return n, nil
}

// sameNode tells whether two nodes are alike in all that people set. What a node gets
// for once has its end by itself.
func sameNode(a, b provisioning.Node) bool {
	for _, n := range []*provisioning.Node{&a, &b} {
		n.Created, n.Updated, n.Owned, n.Once = b.Created, b.Created, b.Created, ""
	}
	return a == b
}
