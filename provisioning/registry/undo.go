package registry

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"slices"

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

// undoingKey is the context key of the change that is being taken back.
type undoingKey struct{}

// takingBack returns a context in which changes of what c changed take c back.
func takingBack(ctx context.Context, c provisioning.Change) context.Context {
	return context.WithValue(ctx, undoingKey{}, c)
}

// undoes is the ID of the change that one of subject takes back; 0: none. What is changed on the way,
// a farmer for one, takes nothing back.
func undoes(ctx context.Context, subject string) int64 {
	if c, ok := ctx.Value(undoingKey{}).(provisioning.Change); ok && c.Subject == subject {
		return c.ID
	}
	return 0
}

// Undone is what became of changes that were taken back.
type Undone struct {
	Changes []provisioning.Change // newest first
	// Unenrolled are nodes whose enrolment for Secure Boot ended with their registration,
	// which is taken back now, or was then: enrolments are not begun anew.
	Unenrolled []provisioning.MAC
	Again      []provisioning.MAC // those of Unenrolled that are registered again
	// Once are nodes, as they were, whose one-time next boot, chosen after the change, was dropped
	// with their registration.
	Once []provisioning.Node
	// Farmers were registered by what was taken back, because a node mentioned them, and stay so
	// without a node.
	Farmers []provisioning.FarmerID
}

// Undo takes a change of a node, or of a farmer's name, back, by its number in the history, and with it those
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
		changes, err := mayUndo(ctx, tx, id)
		if err != nil {
			return err
		}
		undone, removed = Undone{}, nil
		farmers := map[provisioning.FarmerID]bool{} // who were registered with that
		for _, c := range changes {                 // the newest first
			ctx := takingBack(ctx, c)
			if c.Action == "farmer add" {
				if id, err := provisioning.ParseFarmerID(c.Subject); err == nil {
					farmers[id] = true
				}
			}
			if c.Action == "farmer set" {
				if err := r.undoFarmer(ctx, tx, by, c); err != nil {
					return err
				}
				undone.Changes = append(undone.Changes, c)
				continue
			}
			node, err := r.undo(ctx, tx, by, c)
			if err != nil {
				return err
			}
			if c.Action == EnrolCancel && c.Batch != "" { // it ended with the registration
				if mac, err := provisioning.ParseMAC(c.Subject); err == nil {
					undone.Again = append(undone.Again, mac)
				}
			}
			if node == nil {
				continue
			}
			undone.Changes = append(undone.Changes, c)
			if node.before == nil {
				removed = append(removed, node.now.MAC)
				if node.now.Once != node.after.Once && node.now.Once != "" {
					undone.Once = append(undone.Once, node.now)
				}
			}
		}
		undone.Farmers, err = r.nodeless(ctx, tx, farmers)
		return err
	})
	if err != nil {
		return Undone{}, notUndone(err)
	}
	ended, err := r.endEnrolments(ctx, by, removed...)
	undone.Unenrolled = slices.Concat(undone.Again, ended)
	slices.SortFunc(undone.Unenrolled, provisioning.MAC.Compare)
	return undone, err
}

// notUndone says that nothing was taken back, where err is why.
func notUndone(err error) error {
	if refusal(err) {
		return provisioning.Errorf(provisioning.ErrorCode(err), "nothing was taken back: %w", err)
	}
	return err
}

// MayUndo returns the changes that [Registry.Undo] would take back, newest first, or why it would
// not. That nodes were changed since is known only then.
func (r *Registry) MayUndo(ctx context.Context, by provisioning.Actor, id int64) ([]provisioning.Change, error) {
	if err := rights.Admin(by, "take changes back"); err != nil {
		return nil, err
	}
	changes, err := mayUndo(ctx, r.store, id)
	return slices.DeleteFunc(changes, func(c provisioning.Change) bool { return undoing(c) != takenBack }), notUndone(err)
}

// mayUndo returns a change and those made together with it, newest first, if they can be taken back
// as far as the history says.
func mayUndo(ctx context.Context, from provisioning.Reader, id int64) ([]provisioning.Change, error) {
	changes, err := from.Changes(ctx, provisioning.ChangeQuery{ID: id})
	if err != nil {
		return nil, err
	}
	if len(changes) == 0 {
		return nil, provisioning.Errorf(provisioning.NotFound, "no change %d is in the history: farmboot history, or the board's page History, shows those that are", id)
	}
	if batch := changes[0].Batch; batch != "" {
		if changes, err = from.Changes(ctx, provisioning.ChangeQuery{Batch: batch}); err != nil {
			return nil, err
		}
	}
	at, ok := firstTakenBack(changes)
	if c := changes[at]; !ok {
		return nil, provisioning.Errorf(provisioning.Invalid, "change %d is %q: only changes of nodes and of farmers' names can be taken back", c.ID, c.Action)
	}
	return changes, refuseUndone(ctx, from, changes[at])
}

// refuseUndone refuses a change that is taken back.
func refuseUndone(ctx context.Context, from provisioning.Reader, c provisioning.Change) error {
	of, err := from.Changes(ctx, provisioning.ChangeQuery{Subject: c.Subject, After: c.ID, Undoing: true})
	if err != nil {
		return err
	}
	of = append(of, c)
	provisioning.MarkUndone(of)
	if by := of[len(of)-1].UndoneBy; by != 0 {
		return provisioning.Errorf(provisioning.Conflict, "change %d is taken back already, by change %d", c.ID, by)
	}
	return nil
}

// How a change is taken back.
const (
	takenBack = iota // it is of a node, or of a farmer's name
	stays            // a farmer was registered on the way, or an enrolment ended
	refused
)

func undoing(c provisioning.Change) int {
	switch c.Action {
	case "node add", "node set", "node rm", "farmer set":
		return takenBack
	case "farmer add", EnrolCancel:
		return stays
	}
	return refused
}

// CanUndo tells whether [Registry.Undo] takes changes back that were made together, as far
// as the changes themselves say: not if they are taken back.
func CanUndo(changes []provisioning.Change) bool {
	at, ok := firstTakenBack(changes)
	return ok && slices.ContainsFunc(changes[at:], func(c provisioning.Change) bool {
		return undoing(c) == takenBack && c.UndoneBy == 0
	})
}

// firstTakenBack returns which of changes that were made together is the first that is taken back;
// false: they cannot be, for this one.
func firstTakenBack(changes []provisioning.Change) (at int, ok bool) {
	for i, c := range changes {
		switch how := undoing(c); {
		case how == refused:
			return i, false
		case how == takenBack && !ok:
			at, ok = i, true
		}
	}
	return at, ok
}

// nodeless returns those of the farmers who have no node.
func (r *Registry) nodeless(ctx context.Context, tx provisioning.Tx, among map[provisioning.FarmerID]bool) (ids []provisioning.FarmerID, err error) {
	if len(among) == 0 {
		return nil, nil
	}
	nodes, err := tx.CountNodesByFarmer(ctx)
	if err != nil {
		return nil, err
	}
	farmers, err := tx.Farmers(ctx)
	for _, f := range farmers {
		if among[f.ID] && nodes[f.ID] == 0 {
			ids = append(ids, f.ID)
		}
	}
	return ids, err
}

// changed is a node of which a change is taken back.
type changed struct {
	before, after *provisioning.Node // by the change; nil: it was not registered
	now           provisioning.Node  // what was as after, but for what has its end by itself
}

// undo takes one change back; nil: nothing is to be done. A farmer who was registered on the way
// stays, and an enrolment that ended is not begun anew, which [Undone] tells.
func (r *Registry) undo(ctx context.Context, tx provisioning.Tx, by provisioning.Actor, c provisioning.Change) (*changed, error) {
	if undoing(c) == stays {
		return nil, nil
	}
	mac, err := provisioning.ParseMAC(c.Subject)
	if err != nil {
		return nil, err
	}
	var n changed
	if n.before, err = nodeIn(c.Before); err != nil {
		return nil, err
	}
	if n.after, err = nodeIn(c.After); err != nil {
		return nil, err
	}
	n.now, err = tx.Node(ctx, mac)
	registered := err == nil
	if err != nil && provisioning.ErrorCode(err) != provisioning.NotFound {
		return nil, err
	}
	if registered != (n.after != nil) || registered && !sameNode(n.now, *n.after) {
		return nil, provisioning.Errorf(provisioning.Conflict, "node %s was changed after change %d", mac, c.ID)
	}
	switch {
	case n.before == nil:
		return &n, r.remove(ctx, tx, by, mac)
	case !registered:
		again, err := r.addNew(ctx, tx, by, *n.before)
		if err != nil {
			return nil, err
		}
		return &n, r.reclaim(ctx, tx, by, again)
	}
	back := *n.before
	back.Created, back.Owned = n.now.Created, n.now.Owned
	if n.now.Once != n.after.Once { // it has had that boot since, or somebody chose another
		if n.before.Once != n.after.Once && n.now.Once != "" {
			return nil, provisioning.Errorf(provisioning.Conflict, "the next boot of node %s was chosen anew after change %d", mac, c.ID)
		}
		back.Once = n.now.Once
	}
	_, err = r.put(ctx, tx, by, "node set", &n.now, back)
	return &n, err
}

// undoFarmer gives a farmer the name back that he had before a change.
func (r *Registry) undoFarmer(ctx context.Context, tx provisioning.Tx, by provisioning.Actor, c provisioning.Change) error {
	var before, after provisioning.Farmer
	if err := errors.Join(json.Unmarshal(c.Before, &before), json.Unmarshal(c.After, &after)); err != nil {
		return provisioning.Errorf(provisioning.Invalid, "the history holds no farmer there: %w", err)
	}
	now, err := tx.Farmer(ctx, after.ID)
	switch {
	case err != nil:
		return err
	case now != after:
		return provisioning.Errorf(provisioning.Conflict, "farmer %s was changed after change %d", after.ID, c.ID)
	}
	return r.putFarmer(ctx, tx, by, &now, before)
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
