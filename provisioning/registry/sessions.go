package registry

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"maps"
	"slices"
	"sync"
	"time"

	"farmboot/provisioning"
)

const (
	// sessionIdle is how long a session outlives its last use: a working day.
	sessionIdle = 12 * time.Hour
	// sessionMax is how long it lasts at the most.
	sessionMax = 7 * 24 * time.Hour
	// vouchedMax is how long it lasts at the most where an OpenID provider vouches for
	// somebody: whoever loses his role there has lost it here the next day.
	vouchedMax = 12 * time.Hour
	// sessionsKept is how many there may be of one token, one name, or of links:
	// browsers of one person. Beyond it the one of them that was idle for longest ends,
	// and nobody else's.
	sessionsKept = 20
)

// errSession is the one refusal of a session that is not valid, whatever the reason.
func errSession() error {
	return provisioning.Errorf(provisioning.Unauthorized, "not signed in, or signed out meanwhile: sign in again")
}

// SignIn begins a session with the secret of a token, and returns the
// secret that it goes by from then on, for a cookie. It ends with the token. A wrong
// secret is [provisioning.Unauthorized]. A store that cannot be written does not keep anybody
// out, but then the session ends with the process.
func (r *Registry) SignIn(ctx context.Context, secret string) (cookie string, err error) {
	t, err := r.tokenOf(ctx, secret)
	if err != nil {
		return "", err
	}
	return r.begin(ctx, provisioning.Session{Token: t.ID, Who: actorOf(t, "").Name})
}

// SignInAdmin begins a session for an admin who has shown without a token that he is
// one; who is what the history calls him. It returns what SignIn does. Once there is a
// token it is [provisioning.Unauthorized]: then somebody has got in, and can let others in.
func (r *Registry) SignInAdmin(ctx context.Context, who string) (cookie string, err error) {
	if err := r.CheckNoToken(ctx); err != nil {
		return "", err
	}
	return r.begin(ctx, provisioning.Session{Who: who})
}

// CheckNoToken returns nil as long as there is no token, else why nobody is signed in
// without one: an error with code [provisioning.Unauthorized].
func (r *Registry) CheckNoToken(ctx context.Context) error {
	tokens, err := r.store.Tokens(ctx)
	if err == nil && len(tokens) > 0 {
		err = provisioning.Errorf(provisioning.Unauthorized, "a token exists: sign in with it, as sign-in links work only until there is one")
	}
	return err
}

// SignInAs begins a session for a person whom an OpenID provider has signed in: by has the
// name and the role. It returns what SignIn does.
func (r *Registry) SignInAs(ctx context.Context, by provisioning.Actor) (cookie string, err error) {
	return r.begin(ctx, provisioning.Session{Who: by.Name, Role: by.Role, Farmer: by.Farmer, ReadOnly: by.ReadOnly})
}

func (r *Registry) begin(ctx context.Context, s provisioning.Session) (cookie string, err error) {
	cookie = rand.Text() + rand.Text()
	s.Hash, s.Began = sha256.Sum256([]byte(cookie)), r.now()
	s.LastUsed = s.Began
	err = r.store.Update(ctx, func(tx provisioning.Tx) error {
		err := tx.PruneSessions(ctx, provisioning.SessionPrune{
			UsedBefore: s.Began.Add(-sessionIdle), BeganBefore: s.Began.Add(-sessionMax), Token: s.Token, Who: s.Who, Kept: sessionsKept - 1,
		})
		if err != nil {
			return err
		}
		return tx.PutSession(ctx, s)
	})
	if provisioning.ErrorCode(err) == provisioning.Unavailable {
		r.unstored.begin(s)
		err = nil
	}
	return cookie, err
}

// Session returns the actor signed in with that cookie; from is the address it came from. It is
// [provisioning.Unauthorized] if there is no such session, or if it or its token has ended.
func (r *Registry) Session(ctx context.Context, cookie, from string) (provisioning.Actor, error) {
	s, err := r.findSession(ctx, sha256.Sum256([]byte(cookie)))
	if err != nil {
		return provisioning.Actor{}, err
	}
	by := provisioning.Actor{Name: s.Who, Role: cmp.Or(s.Role, provisioning.RoleAdmin), Farmer: s.Farmer, ReadOnly: s.ReadOnly, From: from}
	if s.Token != "" {
		t, err := r.store.Token(ctx, s.Token)
		if provisioning.ErrorCode(err) == provisioning.NotFound || err == nil && t.Expired(r.now()) {
			return provisioning.Actor{}, errSession()
		}
		if err != nil {
			return provisioning.Actor{}, err
		}
		r.usedToken(ctx, t)
		by = actorOf(t, from)
	}
	r.usedSession(ctx, s)
	return by, nil
}

// findSession returns a session that has not expired.
func (r *Registry) findSession(ctx context.Context, hash provisioning.SecretsHash) (provisioning.Session, error) {
	s, err := r.store.Session(ctx, hash)
	if provisioning.ErrorCode(err) == provisioning.NotFound {
		var ok bool
		if s, ok = r.unstored.get(hash); !ok {
			return provisioning.Session{}, errSession()
		}
	} else if err != nil {
		return provisioning.Session{}, err
	}
	if expired(s, r.now()) {
		return provisioning.Session{}, errSession()
	}
	return s, nil
}

func expired(s provisioning.Session, now time.Time) bool {
	most := sessionMax
	if s.Role != "" {
		most = vouchedMax
	}
	return now.Sub(s.LastUsed) > sessionIdle || now.Sub(s.Began) > most
}

// usedSession notes that a session is in use, as far as the store can be written.
func (r *Registry) usedSession(ctx context.Context, s provisioning.Session) {
	now := r.now()
	if now.Sub(s.LastUsed) < usedEvery {
		return
	}
	s.LastUsed = now
	if r.unstored.use(s) {
		return
	}
	r.note(ctx, func(ctx context.Context, tx provisioning.Tx) error {
		if _, err := tx.Session(ctx, s.Hash); err != nil { // it may just have ended
			return err
		}
		return tx.PutSession(ctx, s)
	})
}

// SignOut ends the session that has that cookie, if there is one.
func (r *Registry) SignOut(ctx context.Context, cookie string) error {
	hash := provisioning.SecretsHash(sha256.Sum256([]byte(cookie)))
	if r.unstored.delete(hash) {
		return nil
	}
	return r.store.Update(ctx, func(tx provisioning.Tx) error { return tx.DeleteSession(ctx, hash) })
}

// unstored are sessions that began while the store could not be written: an admin
// who wants to see what is wrong gets in.
type unstored struct {
	mu       sync.Mutex
	sessions map[provisioning.SecretsHash]provisioning.Session
}

// begin keeps a new session, as the store would.
func (u *unstored) begin(s provisioning.Session) {
	u.mu.Lock()
	defer u.mu.Unlock()
	maps.DeleteFunc(u.sessions, func(_ provisioning.SecretsHash, other provisioning.Session) bool { return expired(other, s.Began) })
	same := slices.DeleteFunc(slices.Collect(maps.Values(u.sessions)), func(other provisioning.Session) bool { return other.Token != s.Token || other.Who != s.Who })
	if len(same) >= sessionsKept {
		oldest := slices.MinFunc(same, func(a, b provisioning.Session) int {
			return cmp.Or(a.LastUsed.Compare(b.LastUsed), a.Began.Compare(b.Began))
		})
		delete(u.sessions, oldest.Hash)
	}
	u.sessions[s.Hash] = s
}

func (u *unstored) get(hash provisioning.SecretsHash) (provisioning.Session, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	s, ok := u.sessions[hash]
	return s, ok
}

// use notes the last use of s, and tells whether it is there.
func (u *unstored) use(s provisioning.Session) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	_, ok := u.sessions[s.Hash]
	if ok {
		u.sessions[s.Hash] = s
	}
	return ok
}

// delete tells whether it was there.
func (u *unstored) delete(hash provisioning.SecretsHash) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	_, ok := u.sessions[hash]
	delete(u.sessions, hash)
	return ok
}
