package kernel

import (
	"context"
	"io"
	"iter"

	"farmboot/provisioning"
	"farmboot/provisioning/rights"
)

// Editor makes people's changes of kernels, from the API, the pages and the command
// line alike: an admin's only, none that would leave a node without its kernel, and
// each with a line in the history.
type Editor struct {
	store  *Store
	nodes  Nodes
	needed Needed // nil: nothing else needs kernels
}

// Needed returns an error, with code [provisioning.Conflict], that says who needs a
// kernel which no run mode boots: one that tries it on some of its nodes, or one that
// would go back to it within so many steps.
type Needed func(ctx context.Context, name string, steps int) error

// Nodes is what an Editor needs of the registry of nodes.
type Nodes interface {
	AllNodes(ctx context.Context, by provisioning.Actor, q provisioning.NodeQuery) iter.Seq2[provisioning.Node, error]
	Note(ctx context.Context, by provisioning.Actor, action, subject string, before, after any) error
	NoteIf(ctx context.Context, by provisioning.Actor, action, subject string, before, after any, last int64) (done bool, err error)
}

// NewEditor returns an Editor of the kernels in store, which knows from nodes what is
// in use and writes its history there.
func NewEditor(store *Store, nodes Nodes) *Editor { return &Editor{store: store, nodes: nodes} }

// Guard has f asked before a kernel is removed; to be called before the Editor is used.
func (e *Editor) Guard(f Needed) { e.needed = f }

// Put is [Store.Put]. It tells whether there was no kernel of that name.
func (e *Editor) Put(ctx context.Context, by provisioning.Actor, name string, from io.Reader, want Want) (isNew bool, err error) {
	if err := adminOnly(by); err != nil {
		return false, err
	}
	old := e.identity(name)
	if err := e.store.Put(name, from, want); err != nil {
		return false, err
	}
	action := "kernel set"
	if old == nil {
		action = "kernel add"
	}
	return old == nil, e.note(ctx, by, action, name, old, e.identity(name))
}

// Keep is [Incoming.Keep].
func (e *Editor) Keep(ctx context.Context, by provisioning.Actor, in *Incoming, name string) error {
	return e.change(ctx, by, "kernel set", name, func() error { return in.Keep(name) })
}

// ActionLink is what the history calls it that a link, a run mode's default for one, got a
// target.
const ActionLink = "kernel link"

// Link is [Store.Link].
func (e *Editor) Link(ctx context.Context, by provisioning.Actor, link, target string) error {
	return e.change(ctx, by, ActionLink, link, func() error { return e.store.Link(link, target) })
}

// Point is [Store.Point]. A kernel that only upstream has is taken from there first.
func (e *Editor) Point(ctx context.Context, by provisioning.Actor, m provisioning.RunMode, name string, force bool) error {
	return e.PointFor(ctx, by, ActionLink, m, name, force)
}

// PointFor is Point, by an action that the history calls by that name.
func (e *Editor) PointFor(ctx context.Context, by provisioning.Actor, action string, m provisioning.RunMode, name string, force bool) error {
	if err := adminOnly(by); err != nil {
		return err
	}
	if err := e.Take(ctx, name); err != nil {
		return err
	}
	link := DefaultOf(m)
	old := e.identity(link)
	if err := e.store.Point(m, name, force); err != nil {
		return err
	}
	now := e.identity(link)
	if now == old { // it is what the run mode boots already
		return nil
	}
	return e.note(ctx, by, action, link, old, now)
}

// Take takes a kernel from upstream that is not here. Errors are those of [Store.Stat].
func (e *Editor) Take(ctx context.Context, name string) error {
	_, err := e.store.Stat(name)
	if e.store.upstream == nil || provisioning.ErrorCode(err) != provisioning.NotFound || CheckName(name) != nil {
		return err
	}
	if why := e.store.upstream.Take(ctx, name); why != nil {
		return NotUpstream(name, err, why)
	}
	return nil
}

// Note writes a line of the history of what else an admin does with kernels.
func (e *Editor) Note(ctx context.Context, by provisioning.Actor, action, subject string, before, after any) error {
	if err := adminOnly(by); err != nil {
		return err
	}
	return e.nodes.Note(context.WithoutCancel(ctx), by, action, subject, before, after)
}

// NoteIf is Note, unless another line about the subject was written after the one with
// that id. It tells whether it was.
func (e *Editor) NoteIf(ctx context.Context, by provisioning.Actor, action, subject string, before, after any, last int64) (done bool, err error) {
	if err := adminOnly(by); err != nil {
		return false, err
	}
	return e.nodes.NoteIf(context.WithoutCancel(ctx), by, action, subject, before, after, last)
}

// Needs returns why a kernel must not be removed, even if no run mode boots it: what tries
// it, or would go back to it within so many steps. nil: nothing does.
func (e *Editor) Needs(ctx context.Context, name string, steps int) error {
	if e.needed == nil {
		return nil
	}
	return e.needed(ctx, name, steps)
}

// Remove is [Store.Remove]; it also refuses a kernel that a node is registered with, and
// one that a run mode tries. One that a run mode booted before may be removed: to go back
// passes it over then.
func (e *Editor) Remove(ctx context.Context, by provisioning.Actor, name string) error {
	if err := adminOnly(by); err != nil {
		return err
	}
	if err := e.store.removable(name); err != nil {
		return err
	}
	if err := e.Needs(ctx, name, 0); err != nil {
		return err
	}
	for n, err := range e.nodes.AllNodes(ctx, by, provisioning.NodeQuery{Text: name}) {
		if err != nil {
			return err
		}
		if n.Kernel == name {
			return provisioning.Errorf(provisioning.Conflict, "kernel %s is in use: node %s boots it; give that another kernel first", name, n.MAC)
		}
	}
	return e.change(ctx, by, "kernel rm", name, func() error { return e.store.Remove(name) })
}

// change does what is done with a kernel, and writes a line of the history about it.
func (e *Editor) change(ctx context.Context, by provisioning.Actor, action, name string, do func() error) error {
	if err := adminOnly(by); err != nil {
		return err
	}
	old := e.identity(name)
	if err := do(); err != nil {
		return err
	}
	return e.note(ctx, by, action, name, old, e.identity(name))
}

func adminOnly(by provisioning.Actor) error { return rights.Admin(by, "change kernels") }

// identity says, for the history, which file a kernel is; nil if there is none.
func (e *Editor) identity(name string) any {
	sum, err := e.store.SHA256(name)
	if err != nil {
		return nil
	}
	return struct {
		Target string `json:"target,omitempty"`
		SHA256 string `json:"sha256"`
	}{e.store.target(name), sum}
}

// note writes a line of the history of a change that has been made, even if the one
// who asked for it has gone meanwhile.
func (e *Editor) note(ctx context.Context, by provisioning.Actor, action, subject string, before, after any) error {
	if err := e.nodes.Note(context.WithoutCancel(ctx), by, action, subject, before, after); err != nil {
		return provisioning.Errorf(provisioning.Unavailable, "done (%s %s), but it could not be written to the history: %w", action, subject, err)
	}
	return nil
}
