package live

import (
	"context"
	"sync"
	"time"

	"farmboot/provisioning"
	"farmboot/provisioning/story"
)

// Tally counts nodes by how their last boot stands, for somebody who asks now and then, a
// monitoring system for one. It reads what has happened since the last time, and follows
// nothing in between: a [Board] would have every event stored at once, and read again. It
// holds what a Board does, from the first question on. Safe for concurrent use.
type Tally struct {
	mu    sync.Mutex
	board *Board // nobody runs it
}

// NewTally returns a Tally; events is [provisioning.Store.Events].
func NewTally(events func(context.Context, provisioning.EventQuery) ([]provisioning.Event, error)) *Tally {
	t := &Tally{board: New(nil, events, nil)}
	t.board.begin()
	return t
}

// States returns the counts at a time. The error is the store's.
func (t *Tally) States(ctx context.Context, now time.Time) (map[story.State]int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.board.read(ctx); err != nil {
		return nil, err
	}
	count := make(map[story.State]int)
	for mac := range t.board.nodes {
		count[t.board.state(mac, time.Time{}, now)]++
	}
	return count, nil
}
