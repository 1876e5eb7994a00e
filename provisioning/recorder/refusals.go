package recorder

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"farmboot/provisioning"
	"farmboot/provisioning/limiter"
	"farmboot/provisioning/lru"
)

// refusals holds back what is said again and again: a refusal on every retry, a held
// node's question every few seconds; and what strangers make up: whoever is refused
// chooses under which name, and what for.
type refusals struct {
	mu   sync.Mutex
	seen *lru.Map[refusal, *repetition]
	each *limiter.Keyed[speaker]
	all  *rate.Limiter
}

// speaker is who is refused: a node, as far as that is known, or an address.
type speaker struct {
	mac  provisioning.MAC
	peer netip.Addr
}

type refusal struct {
	speaker
	stage  provisioning.Stage
	cause  provisioning.Cause
	detail string
}

type repetition struct {
	last time.Time // when it was let through
	held int       // since then
}

const (
	// repeatEvery is how often the same refusal of the same node is recorded: once
	// for all DISCOVERs of a boot, which come after 0, 4, 12, 28 and 60 s (PXE 2.1
	// section 2.2).
	repeatEvery = 2 * time.Minute
	// refusalsKept is how many different refusals, and speakers, are told apart.
	refusalsKept = 4096

	// One speaker may be refused so many different things at once, and one more every
	// so often. A boot has one or two.
	speakerBurst = 20
	speakerEvery = 10 * time.Second

	// All of them together so many: a farm of 1,000 nodes that is switched on without
	// a kernel, and a million in 12 days under the names that somebody forges.
	allBurst = 1000
	allEvery = time.Second
)

func newRefusals() *refusals {
	return &refusals{
		seen: lru.New[refusal, *repetition](refusalsKept),
		each: limiter.New[speaker](speakerBurst, speakerEvery, refusalsKept),
		all:  rate.NewLimiter(rate.Every(allEvery), allBurst),
	}
}

// pass tells why e is not to be recorded, as a metric's label; "": it is, with the number of
// those before it that were not.
func (r *refusals) pass(e *provisioning.Event) (dropped string) {
	if e.Stage != provisioning.StageRefused && e.Stage != provisioning.StageHold {
		return ""
	}
	who := speaker{mac: e.MAC}
	if e.MAC.IsZero() {
		who.peer = e.Peer
	}
	key := refusal{who, e.Stage, e.Cause, e.Detail}
	r.mu.Lock()
	defer r.mu.Unlock()
	known, ok := r.seen.Get(key)
	if ok && e.At.Sub(known.last) < repeatEvery {
		known.held++
		return "repeat"
	}
	if !r.each.Allow(who, e.At) || !r.all.AllowN(e.At, 1) {
		return "flood"
	}
	if !ok {
		r.seen.Put(key, &repetition{last: e.At})
		return ""
	}
	e.Held = known.held
	known.last, known.held = e.At, 0
	return ""
}
