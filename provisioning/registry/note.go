package registry

import (
	"context"

	"farmboot/provisioning"
)

// MayChange refuses whoever may only read.
func MayChange(by provisioning.Actor) error {
	if by.ReadOnly {
		return provisioning.Errorf(provisioning.Forbidden, "%s is read-only: it changes nothing", by.Name)
	}
	return nil
}

// Note writes a line of the history for a change to what is not in the store, a
// kernel for one. Before and after may be nil.
func (r *Registry) Note(ctx context.Context, by provisioning.Actor, action, subject string, before, after any) error {
	return r.store.Update(ctx, func(tx provisioning.Tx) error {
		return r.changed(ctx, tx, by, action, subject, before, after)
	})
}
