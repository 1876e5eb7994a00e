package authn

import (
	"errors"
	"net/http"
	"net/netip"
	"time"

	"farmboot/http/answer"
	"farmboot/provisioning"
	"farmboot/provisioning/limiter"
)

const (
	// triesAtOnce is how many bad credentials an address may send at once …
	triesAtOnce = 100
	// … and triesEvery how soon after that one more. A token cannot be guessed at
	// any speed; a claim code could be, and scripts gone wild are told to stop.
	triesEvery = time.Second
	// addressesKept is how many addresses are remembered: about a megabyte.
	addressesKept = 8192
)

// Throttle remembers which addresses sent bad credentials. It is safe for
// concurrent use.
type Throttle struct {
	now   func() time.Time
	tries *limiter.Keyed[netip.Addr]
}

// NewThrottle returns a Throttle that remembers no address yet.
func NewThrottle(now func() time.Time) *Throttle {
	return &Throttle{now: now, tries: limiter.New[netip.Addr](triesAtOnce, triesEvery, addressesKept)}
}

// Guard makes next refuse, with code [answer.TooMany], bad credentials from an
// address that sent too many of them. Good ones always pass: people who share an
// address with a script gone wild, behind a router or on one host, are not kept out.
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
		if !t.tries.Allow(peer, t.now()) {
			return provisioning.Actor{}, provisioning.Errorf(answer.TooMany, "too many bad credentials from your address: wait some seconds")
		}
		return by, err
	}
}
