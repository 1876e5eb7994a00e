package kernel

import (
	"context"
	"io"

	"farmboot/provisioning"
	"farmboot/provisioning/registry"
)

// Registry is where people's changes of kernels come in, from the API, the pages and
// the command line alike: an admin's only, none that would leave a node without its
// kernel, and each with a line in the history.
type Registry struct {
	*Store
	Nodes *registry.Registry
}

// Put is [Store.Put]. It tells whether there was no kernel of that name.
func (r Registry) Put(ctx context.Context, by provisioning.Actor, name string, from io.Reader, want Want) (isNew bool, err error) {
	if err := adminOnly(by); err != nil {
		return false, err
	}
	old := r.identity(name)
	if err := r.Store.Put(name, from, want); err != nil {
		return false, err
	}
	action := "kernel set"
	if old == nil {
		action = "kernel add"
	}
	return old == nil, r.note(ctx, by, action, name, old, r.identity(name))
}

// Link is [Store.Link].
func (r Registry) Link(ctx context.Context, by provisioning.Actor, link, target string) error {
	if err := adminOnly(by); err != nil {
		return err
	}
	old := r.identity(link)
	if err := r.Store.Link(link, target); err != nil {
		return err
	}
	return r.note(ctx, by, "kernel link", link, old, r.identity(link))
}

// Point makes run mode m boot kernel name.
func (r Registry) Point(ctx context.Context, by provisioning.Actor, m provisioning.RunMode, name string) error {
	return r.Link(ctx, by, DefaultOf(m), name)
}

// Remove is [Store.Remove]; it also refuses a kernel that a node is registered with.
func (r Registry) Remove(ctx context.Context, by provisioning.Actor, name string) error {
	if err := adminOnly(by); err != nil {
		return err
	}
	for n, err := range r.Nodes.AllNodes(ctx, by, provisioning.NodeQuery{Text: name}) {
		if err != nil {
			return err
		}
		if n.Kernel == name {
			return provisioning.Errorf(provisioning.Conflict, "kernel %s is in use: node %s boots it; give that another kernel first", name, n.MAC)
		}
	}
	old := r.identity(name)
	if err := r.Store.Remove(name); err != nil {
		return err
	}
	return r.note(ctx, by, "kernel rm", name, old, nil)
}

func adminOnly(by provisioning.Actor) error {
	if by.Role == provisioning.RoleAdmin {
		return nil
	}
	return provisioning.Errorf(provisioning.Forbidden, "only an admin may change kernels")
}

// identity says, for the history, which file a kernel is; nil if there is none.
func (r Registry) identity(name string) any {
	sum, err := r.SHA256(name)
	if err != nil {
		return nil
	}
	return struct {
		Target string `json:"target,omitempty"`
		SHA256 string `json:"sha256"`
	}{r.target(name), sum}
}

// note writes a line of the history of a change that has been made, even if the one
// who asked for it has gone meanwhile.
func (r Registry) note(ctx context.Context, by provisioning.Actor, action, subject string, before, after any) error {
	if err := r.Nodes.Note(context.WithoutCancel(ctx), by, action, subject, before, after); err != nil {
		return provisioning.Errorf(provisioning.Unavailable, "done (%s %s), but it could not be written to the history: %w", action, subject, err)
	}
	return nil
}
