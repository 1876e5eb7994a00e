package registry

import (
	"context"

	"farmboot/provisioning"
)

// Note writes a line of the history for a change to what is not in the store, a
// kernel for one. Before and after may be nil.
func (r *Registry) Note(ctx context.Context, by provisioning.Actor, action, subject string, before, after any) error {
	return r.store.Update(ctx, func(tx provisioning.Tx) error {
		return r.changed(ctx, tx, by, action, subject, before, after)
	})
}

// NoteIf is Note, unless another line about the subject was written after the one with that
// id, 0 for none: what two appliances find out at the same time is written down once. It
// tells whether it was.
func (r *Registry) NoteIf(ctx context.Context, by provisioning.Actor, action, subject string, before, after any, last int64) (done bool, err error) {
	err = r.store.Update(ctx, func(tx provisioning.Tx) error {
		done = false
		changes, err := tx.Changes(ctx, provisioning.ChangeQuery{Subject: subject, Limit: 1})
		if err != nil {
			return err
		}
		if len(changes) > 0 && changes[0].ID != last || len(changes) == 0 && last != 0 {
			return nil
		}
		done = true
		return r.changed(ctx, tx, by, action, subject, before, after)
	})
	return done && err == nil, err
}
