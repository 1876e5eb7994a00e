package authn

import (
	"crypto/rand"
	"crypto/sha256"
	"sync"
	"time"

	"farmboot/provisioning"
)

// SignInPath is where a sign-in link leads; the code is its query "code".
const SignInPath = "/admin/signin"

const (
	// linkAge is how long a link may be used.
	linkAge = 24 * time.Hour
	// linksKept bounds how many may be open at a time.
	linksKept = 16
)

// SignInLinks are links that sign an admin in, once: for the first start, as long as
// there is no token yet. They are kept in memory. Safe for concurrent use.
type SignInLinks struct {
	now func() time.Time

	mu   sync.Mutex
	open map[[sha256.Size]byte]time.Time // when they expire
}

// NewSignInLinks returns SignInLinks without any.
func NewSignInLinks(now func() time.Time) *SignInLinks {
	return &SignInLinks{now: now, open: map[[sha256.Size]byte]time.Time{}}
}

// New makes a link and returns its path and query, to be put behind the https
// address of the admin pages. It works once, for 24 hours and until there is a token.
// When too many are open, one of them is closed.
func (l *SignInLinks) New() string {
	code := rand.Text()
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, expires := range l.open {
		if len(l.open) >= linksKept || l.now().After(expires) {
			delete(l.open, key)
		}
	}
	l.open[sha256.Sum256([]byte(code))] = l.now().Add(linkAge)
	return SignInPath + "?code=" + code
}

// use takes a code, which is no good from then on, unless it is given back because
// nothing came of it.
func (l *SignInLinks) use(code string) (giveBack func(), err error) {
	key := sha256.Sum256([]byte(code))
	l.mu.Lock()
	defer l.mu.Unlock()
	expires, ok := l.open[key]
	delete(l.open, key)
	if !ok || l.now().After(expires) {
		return nil, provisioning.Errorf(provisioning.Unauthorized, "this sign-in link has been used, is older than a day, or is of an earlier start of the appliance: its log has a new one at each start, as long as there is no token")
	}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.open[key] = expires
	}, nil
}
