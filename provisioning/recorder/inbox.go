package recorder

import (
	"slices"
	"sync"

	"farmboot/provisioning/boots"
)

// inboxSize holds what a farm of 600 nodes says when it powers on, should the disk be
// busy meanwhile.
const inboxSize = 6144

// inbox holds what was recorded until it is stored. Whoever stores it is woken once for a
// batch: to wake a thread for each event takes processor time from what answers nodes.
type inbox struct {
	ring chan struct{} // holds a value when enough may be there

	mu      sync.Mutex
	enough  int
	waiting []boots.News
	spare   []boots.News // the memory of a batch that is stored, of length 0
}

func newInbox() *inbox { return &inbox{ring: make(chan struct{}, 1), enough: 1} }

// put adds what happened, unless the inbox is full.
func (b *inbox) put(n *boots.News) (ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.waiting) >= inboxSize {
		return false
	}
	if len(b.waiting) == cap(b.waiting) { // append alone makes room for a quarter more
		b.waiting = slices.Grow(b.waiting, max(64, len(b.waiting)))
	}
	b.waiting = append(b.waiting, *n)
	b.ringIfEnough()
	return true
}

// await returns a channel that has a value soon after so many wait; it may have one before.
func (b *inbox) await(enough int) <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.enough = enough
	b.ringIfEnough()
	return b.ring
}

func (b *inbox) ringIfEnough() {
	if len(b.waiting) < b.enough {
		return
	}
	select {
	case b.ring <- struct{}{}:
	default:
	}
}

// len is how many wait.
func (b *inbox) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.waiting)
}

// take returns the first of those that wait, at most so many. They are the caller's until
// he gives their memory back.
func (b *inbox) take(most int) []boots.News {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := min(most, len(b.waiting))
	batch := b.waiting[:n:n]
	b.waiting, b.spare = append(b.spare, b.waiting[n:]...), nil
	return batch
}

// giveBack keeps the memory of a batch for the next one, while there is much to hold.
func (b *inbox) giveBack(batch []boots.News) {
	if len(batch) < recorderBatch/2 {
		return
	}
	clear(batch)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.spare = batch[:0]
}
