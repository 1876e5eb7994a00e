package access

import (
	"errors"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"farmboot/http/answer"
	"farmboot/provisioning"
)

const (
	// triesAtOnce is how many bad credentials an address may send at once …
	triesAtOnce = 100
	// … and triesEvery how soon after that one more. A token cannot be guessed at
	// any speed; a claim code could be, and scripts gone wild are told to stop.
	triesEvery = time.Second
	// generation is how many addresses are remembered at least, and twice as many at
	// most: about a megabyte.
	generation = 4096
)

// Throttle remembers which addresses sent bad credentials. It is safe for
// concurrent use.
type Throttle struct {
	now func() time.Time

	mu sync.Mutex
	// When fresh is full it becomes stale, and what was stale is forgotten: an
	// address that keeps trying is carried over.
	fresh, stale map[netip.Addr]*rate.Limiter
}

// NewThrottle returns a Throttle that has heard of nobody.
func NewThrottle(now func() time.Time) *Throttle {
	return &Throttle{now: now, fresh: make(map[netip.Addr]*rate.Limiter)}
}

// Guard makes next refuse, with code [answer.TooMany], bad credentials from an
// address that sent too many of them. Good ones always pass: whoever shares his
// address with a script gone wild, behind a router or on one host, is not kept out.
func (t *Throttle) Guard(next Authenticator) Authenticator {
	return func(r *http.Request) (provisioning.Actor, error) {
		peer := answer.HostOf(answer.PeerOf(r))
		if !peer.IsValid() { // the Unix socket
			return next(r)
		}
		by, err := next(r)
		if errors.Is(err, answer.ErrNoCredentials) || provisioning.ErrorCode(err) != provisioning.Unauthorized {
			return by, err
		}
		if t.exhausted(peer) {
			return provisioning.Actor{}, provisioning.Errorf(answer.TooMany, "too many bad credentials from your address: wait some seconds")
		}
		t.failed(peer)
		return by, err
	}
}

// exhausted tells whether peer must wait.
func (t *Throttle) exhausted(peer netip.Addr) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.find(peer)
	return l != nil && l.TokensAt(t.now()) < 1
}

// failed notes that peer sent bad credentials.
func (t *Throttle) failed(peer netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.find(peer)
	if l == nil {
		l = rate.NewLimiter(rate.Every(triesEvery), triesAtOnce)
		t.keep(peer, l)
	}
	l.AllowN(t.now(), 1)
}

// find returns peer's limiter, nil if it has none.
func (t *Throttle) find(peer netip.Addr) *rate.Limiter {
	if l, ok := t.fresh[peer]; ok {
		return l
	}
	l, ok := t.stale[peer]
	if ok {
		t.keep(peer, l)
	}
	return l
}

func (t *Throttle) keep(peer netip.Addr, l *rate.Limiter) {
	if len(t.fresh) >= generation {
		t.fresh, t.stale = make(map[netip.Addr]*rate.Limiter), t.fresh
	}
	t.fresh[peer] = l
}
