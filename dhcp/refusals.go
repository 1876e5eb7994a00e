package dhcp

import (
	"sync"
	"time"

	"golang.org/x/time/rate"

	"farmboot/provisioning"
)

// refusals decides which refusals are told to people: a machine that we cannot
// boot asks again and again, and a forger can ask under any number of names.
type refusals struct {
	mu    sync.Mutex
	last  map[provisioning.MAC]time.Time
	limit *rate.Limiter
}

const (
	refusalRepeat = 10 * time.Minute // a MAC address is told of again only after that
	refusalMACs   = 4096             // that many are remembered
)

func newRefusals() *refusals {
	return &refusals{last: make(map[provisioning.MAC]time.Time), limit: rate.NewLimiter(2, 100)}
}

// tell reports whether a refusal of mac at that time is worth a line.
func (r *refusals) tell(mac provisioning.MAC, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if at, ok := r.last[mac]; ok && now.Sub(at) < refusalRepeat {
		return false
	}
	if !r.limit.AllowN(now, 1) {
		return false
	}
	if len(r.last) >= refusalMACs {
		clear(r.last) // rare, and costs a few repeated lines
	}
	r.last[mac] = now
	return true
}
