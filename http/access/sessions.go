package access

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"net/http"
	"slices"
	"sync"
	"time"

	"farmboot/http/answer"
	"farmboot/provisioning"
)

// ErrNoSession says that a request carries no session that goes on.
var ErrNoSession error = &provisioning.Error{
	Code: provisioning.Unauthorized, Message: "you are not signed in, or have been signed out: sign in again", Err: answer.ErrNoCredentials,
}

const (
	// sessionIdle is how long a session outlives its last request: a working day.
	sessionIdle = 12 * time.Hour
	// sessionMax is how long it lasts at the most.
	sessionMax = 7 * 24 * time.Hour
	// sessionsKept bounds the memory; beyond it the one that was idle for longest ends.
	sessionsKept = 1000
	// cookieName has the prefix by which browsers refuse to let a page on another
	// host or on plain HTTP set it (RFC 6265bis section 4.1.3.2).
	cookieName = "__Host-farmboot"
)

// Sessions are who is signed in to the admin pages. They are kept in memory: a
// restart signs everybody out. Safe for concurrent use.
type Sessions struct {
	registry *provisioning.Registry // is asked at every request, so that a session ends with its token
	links    *SignInLinks
	throttle *Throttle
	now      func() time.Time

	mu   sync.Mutex
	open map[[sha256.Size]byte]*session // by the digest of the cookie: no memory dump is a way in
}

type session struct {
	secret     string             // of the token that was signed in with; "": a link
	actor      provisioning.Actor // who, when signed in with a link
	began, had time.Time
}

// NewSessions returns Sessions without any. They begin with a token that registry
// knows or with one of links; throttle slows down whoever tries many.
func NewSessions(registry *provisioning.Registry, links *SignInLinks, throttle *Throttle, now func() time.Time) *Sessions {
	return &Sessions{registry: registry, links: links, throttle: throttle, now: now, open: map[[sha256.Size]byte]*session{}}
}

// Authenticate is an [Authenticator] that knows the cookie of a session. The error
// is [ErrNoSession] when there is none, or when it or its token has ended.
func (s *Sessions) Authenticate(r *http.Request) (provisioning.Actor, error) {
	c, err := r.Cookie(cookieName)
	if err != nil {
		return provisioning.Actor{}, ErrNoSession
	}
	key := sha256.Sum256([]byte(c.Value))
	found, ok := s.touch(key)
	if !ok {
		return provisioning.Actor{}, ErrNoSession
	}
	from := answer.PeerOf(r).String()
	if found.secret == "" {
		by := found.actor
		by.From = from
		return by, nil
	}
	by, err := s.registry.Authenticate(r.Context(), found.secret, from)
	if provisioning.ErrorCode(err) == provisioning.Unauthorized {
		s.end(key)
		return provisioning.Actor{}, ErrNoSession
	}
	return by, err
}

// SignIn begins a session for whoever has that token. The error is
// [provisioning.Unauthorized] if it is no good, [answer.TooMany] after too many.
func (s *Sessions) SignIn(w http.ResponseWriter, r *http.Request, token string) error {
	by, err := s.throttle.Guard(func(r *http.Request) (provisioning.Actor, error) {
		by, err := s.registry.Authenticate(r.Context(), token, answer.PeerOf(r).String())
		if provisioning.ErrorCode(err) == provisioning.Unauthorized {
			err = provisioning.Errorf(provisioning.Unauthorized, "this is not a valid token: it was mistyped, or has been revoked")
		}
		return by, err
	})(r)
	if err == nil {
		s.begin(w, session{secret: token, actor: by})
	}
	return err
}

// SignInByLink begins a session for an admin who has the code of a sign-in link,
// which is no good from then on. Its errors are those of SignIn.
func (s *Sessions) SignInByLink(w http.ResponseWriter, r *http.Request, code string) error {
	by, err := s.throttle.Guard(func(*http.Request) (provisioning.Actor, error) {
		return provisioning.Actor{Name: "sign-in link", Role: provisioning.RoleAdmin}, s.links.use(code)
	})(r)
	if err == nil {
		s.begin(w, session{actor: by})
	}
	return err
}

// touch finds a session that has not expired, and notes that it is in use.
func (s *Sessions) touch(key [sha256.Size]byte) (session, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found, ok := s.open[key]
	if !ok {
		return session{}, false
	}
	now := s.now()
	if found.expired(now) {
		delete(s.open, key)
		return session{}, false
	}
	found.had = now
	return *found, true
}

func (s *session) expired(now time.Time) bool {
	return now.Sub(s.had) > sessionIdle || now.Sub(s.began) > sessionMax
}

// begin opens a session and sets its cookie.
func (s *Sessions) begin(w http.ResponseWriter, opened session) {
	value := rand.Text() + rand.Text()
	opened.began = s.now()
	opened.had = opened.began
	s.mu.Lock()
	s.makeRoom()
	s.open[sha256.Sum256([]byte(value))] = &opened
	s.mu.Unlock()
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: value, Path: "/", HttpOnly: true, Secure: true, SameSite: http.SameSiteStrictMode,
	})
}

// makeRoom forgets what has expired, and if that is not enough the session that
// was idle for longest.
func (s *Sessions) makeRoom() {
	if len(s.open) < sessionsKept {
		return
	}
	now := s.now()
	for key, found := range s.open {
		if found.expired(now) {
			delete(s.open, key)
		}
	}
	if len(s.open) < sessionsKept {
		return
	}
	keys := make([][sha256.Size]byte, 0, len(s.open))
	for key := range s.open {
		keys = append(keys, key)
	}
	delete(s.open, slices.MinFunc(keys, func(a, b [sha256.Size]byte) int {
		return cmp.Compare(s.open[a].had.UnixNano(), s.open[b].had.UnixNano())
	}))
}

func (s *Sessions) end(key [sha256.Size]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, key)
}

// SignOut ends the session of r.
func (s *Sessions) SignOut(w http.ResponseWriter, r *http.Request) {
	if c, err := r.Cookie(cookieName); err == nil {
		s.end(sha256.Sum256([]byte(c.Value)))
	}
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Path: "/", MaxAge: -1, HttpOnly: true, Secure: true, SameSite: http.SameSiteStrictMode,
	})
}
