package recorder

import (
	"cmp"
	"context"
	"time"

	"farmboot/provisioning"
)

// Retention is how much the [Recorder] keeps, the last of each. No clock is asked: one
// that is wrong for a while would delete everything, or nothing.
type Retention struct {
	Events  int // boot events, about; 0: a million, a year of a busy farm
	Boots   int // boots of each node; 0: a hundred
	Unknown int // unregistered MAC addresses, with their claim codes; 0: 100,000
	Changes int // lines of the history, about; 0: a million
}

// orDefault returns what is kept where nothing is said.
func (r Retention) orDefault() Retention {
	r.Events = cmp.Or(r.Events, 1_000_000)
	r.Boots = cmp.Or(r.Boots, 100)
	r.Unknown = cmp.Or(r.Unknown, 100_000)
	r.Changes = cmp.Or(r.Changes, 1_000_000)
	return r
}

// pruneEvery is how often what is old is looked for, at least.
const pruneEvery = 10 * time.Minute

// prune forgets some of what is old, and tells whether there is more: in small steps,
// so that nobody waits for the lock, and between them events are stored.
func (r *Recorder) prune(ctx context.Context) (more bool) {
	p := provisioning.Prune{EventsKept: r.retention.Events, BootsKept: r.retention.Boots, SeenKept: r.retention.Unknown, ChangesKept: r.retention.Changes}
	err := r.store.UpdateUnsynced(ctx, func(tx provisioning.Tx) (err error) {
		more, err = tx.Prune(ctx, p)
		return err
	})
	if err != nil && ctx.Err() == nil {
		r.log.Warn("old events cannot be deleted", "err", provisioning.Detail(err))
	}
	return more && err == nil
}
