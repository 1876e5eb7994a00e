package authn

import (
	"net/http"

	"farmboot/http/answer"
	"farmboot/provisioning"
	"farmboot/provisioning/registry"
)

// ErrNoSession says that a request carries no session that goes on.
var ErrNoSession error = &provisioning.Error{
	Code: provisioning.Unauthorized, Message: "you are not signed in, or have been signed out: sign in again", Err: answer.ErrNoCredentials,
}

// cookieName has the prefix by which browsers refuse to let a page on another host
// or on plain HTTP set it (RFC 6265bis section 4.1.3.2).
const cookieName = "__Host-farmboot"

// Sessions are the sign-ins to the admin pages. The registry keeps them, so they
// outlive a restart; a Sessions sets and reads their cookies. Safe for concurrent use.
type Sessions struct {
	registry *registry.Registry
	links    *SignInLinks
	throttle *Throttle
}

// NewSessions returns the Sessions that registry keeps. They begin with a token that
// it knows or with one of links; throttle limits how many bad ones an address may try.
func NewSessions(registry *registry.Registry, links *SignInLinks, throttle *Throttle) *Sessions {
	return &Sessions{registry: registry, links: links, throttle: throttle}
}

// Authenticate is an [Authenticator] that knows the cookie of a session. The error
// is [ErrNoSession] when there is none, or when it or its token has ended.
func (s *Sessions) Authenticate(r *http.Request) (provisioning.Actor, error) {
	c, err := r.Cookie(cookieName)
	if err != nil {
		return provisioning.Actor{}, ErrNoSession
	}
	by, err := s.registry.Session(r.Context(), c.Value, answer.PeerOf(r).String())
	if provisioning.ErrorCode(err) == provisioning.Unauthorized {
		return provisioning.Actor{}, ErrNoSession
	}
	return by, err
}

// SignIn begins a session with that token, and sets its cookie. The error is
// [provisioning.Unauthorized] if the token is not valid, [answer.TooMany] after too many.
func (s *Sessions) SignIn(w http.ResponseWriter, r *http.Request, token string) error {
	return s.begin(w, r, func() (cookie string, err error) {
		cookie, err = s.registry.SignIn(r.Context(), token)
		if provisioning.ErrorCode(err) == provisioning.Unauthorized {
			err = provisioning.Errorf(provisioning.Unauthorized, "this is not a valid token: it was mistyped, or has been revoked")
		}
		return cookie, err
	})
}

// SignInByLink begins a session for an admin who has the code of a sign-in link,
// which is no good from then on, unless the store fails. Its errors are those of SignIn.
func (s *Sessions) SignInByLink(w http.ResponseWriter, r *http.Request, code string) error {
	return s.begin(w, r, func() (cookie string, err error) {
		if err := s.registry.CheckNoToken(r.Context()); err != nil {
			return "", err
		}
		giveBack, err := s.links.use(code)
		if err != nil {
			return "", err
		}
		cookie, err = s.registry.SignInAdmin(r.Context(), "sign-in link")
		if err != nil && provisioning.ErrorCode(err) != provisioning.Unauthorized {
			giveBack()
		}
		return cookie, err
	})
}

// SignInAs begins a session for the actor that an OpenID provider has signed in. Its errors
// are those of SignIn.
func (s *Sessions) SignInAs(w http.ResponseWriter, r *http.Request, vouch func() (provisioning.Actor, error)) error {
	return s.begin(w, r, func() (cookie string, err error) {
		by, err := vouch()
		if err != nil {
			return "", err
		}
		return s.registry.SignInAs(r.Context(), by)
	})
}

// begin sets the cookie of a session that signIn begins, unless too many tried.
func (s *Sessions) begin(w http.ResponseWriter, r *http.Request, signIn func() (cookie string, err error)) error {
	var cookie string
	_, err := s.throttle.Guard(func(*http.Request) (_ provisioning.Actor, err error) {
		cookie, err = signIn()
		return provisioning.Actor{}, err
	})(r)
	if err != nil {
		return err
	}
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Value: cookie, Path: "/", HttpOnly: true, Secure: true, SameSite: http.SameSiteStrictMode,
	})
	return nil
}

// SignOut ends the session of r.
func (s *Sessions) SignOut(w http.ResponseWriter, r *http.Request) error {
	c, err := r.Cookie(cookieName)
	if err != nil {
		return nil
	}
	http.SetCookie(w, &http.Cookie{
		Name: cookieName, Path: "/", MaxAge: -1, HttpOnly: true, Secure: true, SameSite: http.SameSiteStrictMode,
	})
	return s.registry.SignOut(r.Context(), c.Value)
}
