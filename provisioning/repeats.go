package provisioning

import (
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// repeats holds back what a node says again and again: a refusal on every retry, a
// held node's question every few seconds.
type repeats struct {
	mu   sync.Mutex
	seen *lru[utterance, *repetition]
}

type utterance struct {
	mac    MAC
	peer   netip.Addr
	stage  Stage
	detail string
}

type repetition struct {
	last time.Time // when it was let through
	held int       // since then
}

const (
	// repeatEvery is how often the same refusal of the same node is recorded.
	repeatEvery = time.Minute
	// repeatsKept is how many different refusals are told apart.
	repeatsKept = 4096
)

func newRepeats() *repeats { return &repeats{seen: newLRU[utterance, *repetition](repeatsKept)} }

// pass tells whether e is to be recorded, and returns it with the number of those
// that were not.
func (r *repeats) pass(e Event) (Event, bool) {
	if e.Stage != StageRefused && e.Stage != StageHold {
		return e, true
	}
	key := utterance{e.MAC, e.Peer, e.Stage, e.Detail}
	r.mu.Lock()
	defer r.mu.Unlock()
	known, ok := r.seen.get(key)
	if !ok {
		r.seen.put(key, &repetition{last: e.At})
		return e, true
	}
	if e.At.Sub(known.last) < repeatEvery {
		known.held++
		return e, false
	}
	if known.held > 0 {
		e.Detail += fmt.Sprintf(" (and %d times before)", known.held)
	}
	known.last, known.held = e.At, 0
	return e, true
}
