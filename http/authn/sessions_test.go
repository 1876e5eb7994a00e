package authn_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"farmboot/http/authn"
	"farmboot/provisioning"
	"farmboot/provisioning/registry"
	"farmboot/provisioning/sqlite"
)

var root = provisioning.Actor{Name: "root", Role: provisioning.RoleAdmin, From: "cli"}

// signInTest is an appliance to sign in to.
type signInTest struct {
	*authn.Sessions
	store    *sqlite.Store
	registry *registry.Registry
	links    *authn.SignInLinks
	now      time.Time
}

func newSignInTest(t *testing.T) *signInTest {
	t.Helper()
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "provisioning.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	d := &signInTest{store: store, now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}
	d.restart(d.store)
	return d
}

// restart is what a restart of the appliance leaves: what is in the store.
func (d *signInTest) restart(store provisioning.Store) {
	clock := func() time.Time { return d.now }
	d.registry = registry.New(store, registry.Rules{}, clock)
	d.links = authn.NewSignInLinks(clock)
	d.Sessions = authn.NewSessions(d.registry, d.links, authn.NewThrottle(clock))
}

// token makes one, and returns its id and secret.
func (d *signInTest) token(t *testing.T, role provisioning.Role, farmer provisioning.FarmerID) (id, secret string) {
	t.Helper()
	token, secret, err := d.registry.AddToken(t.Context(), root, provisioning.Token{Role: role, Farmer: farmer})
	if err != nil {
		t.Fatal(err)
	}
	return token.ID, secret
}

// signIn returns the cookie of a new session.
func (d *signInTest) signIn(t *testing.T, secret string) *http.Cookie {
	t.Helper()
	w := httptest.NewRecorder()
	if err := d.SignIn(w, httptest.NewRequest("POST", "/", nil), secret); err != nil {
		t.Fatal(err)
	}
	return w.Result().Cookies()[0]
}

func (d *signInTest) link(t *testing.T) *http.Cookie {
	t.Helper()
	_, code, _ := strings.Cut(d.links.New(), "code=")
	w := httptest.NewRecorder()
	if err := d.SignInByLink(w, httptest.NewRequest("POST", "/", nil), code); err != nil {
		t.Fatal(err)
	}
	return w.Result().Cookies()[0]
}

// who tells whom a cookie lets in; nobody if it does not.
func (d *signInTest) who(t *testing.T, c *http.Cookie) provisioning.Actor {
	t.Helper()
	r := httptest.NewRequest("GET", "/", nil)
	r.AddCookie(c)
	by, err := d.Authenticate(r)
	if err != nil && err != authn.ErrNoSession {
		t.Errorf("error %v", err)
	}
	return by
}

func (d *signInTest) wantIn(t *testing.T, what string, c *http.Cookie, want bool) {
	t.Helper()
	if got := d.who(t, c).Role != ""; got != want {
		t.Errorf("%s: in is %t, want %t", what, got, want)
	}
}

func TestWhoIsSignedIn(t *testing.T) {
	d := newSignInTest(t)
	link := d.link(t)
	id, secret := d.token(t, provisioning.RoleFarmer, 5)
	if got, want := d.who(t, d.signIn(t, secret)), (provisioning.Actor{Name: "token " + id, Role: provisioning.RoleFarmer, Farmer: 5, From: "192.0.2.1"}); got != want {
		t.Errorf("by token %+v, want %+v", got, want)
	}
	if got, want := d.who(t, link), (provisioning.Actor{Name: "sign-in link", Role: provisioning.RoleAdmin, From: "192.0.2.1"}); got != want {
		t.Errorf("by link %+v, want %+v", got, want)
	}
}

func TestForgedCookies(t *testing.T) {
	d := newSignInTest(t)
	_, secret := d.token(t, provisioning.RoleAdmin, 0)
	c := d.signIn(t, secret)
	d.wantIn(t, "the real one", c, true)
	for _, value := range []string{"0" + c.Value[1:], c.Value + "0", "", secret} {
		d.wantIn(t, "forged "+value, &http.Cookie{Name: c.Name, Value: value}, false)
	}
}

func TestSignOut(t *testing.T) {
	d := newSignInTest(t)
	_, secret := d.token(t, provisioning.RoleAdmin, 0)
	mine, another := d.signIn(t, secret), d.signIn(t, secret)
	r, w := httptest.NewRequest("POST", "/", nil), httptest.NewRecorder()
	r.AddCookie(mine)
	if err := d.SignOut(w, r); err != nil {
		t.Fatal(err)
	}
	d.wantIn(t, "signed out", mine, false)
	d.wantIn(t, "another session", another, true)
	if c := w.Result().Cookies()[0]; c.Name != mine.Name || c.Value != "" || c.MaxAge >= 0 {
		t.Errorf("the browser keeps %v", c)
	}
}

func TestSessionsSurviveARestart(t *testing.T) {
	d := newSignInTest(t)
	link := d.link(t)
	_, secret := d.token(t, provisioning.RoleFarmer, 5)
	token := d.signIn(t, secret)
	before := []provisioning.Actor{d.who(t, token), d.who(t, link)}
	d.restart(d.store)
	if after := []provisioning.Actor{d.who(t, token), d.who(t, link)}; !slices.Equal(after, before) {
		t.Errorf("after it %+v, before %+v", after, before)
	}
}

// TestNoSecretIsStored: who reads the database, or a backup, cannot sign in with it.
func TestNoSecretIsStored(t *testing.T) {
	d := newSignInTest(t)
	_, secret := d.token(t, provisioning.RoleAdmin, 0)
	c := d.signIn(t, secret)
	backup := filepath.Join(t.TempDir(), "backup")
	if err := d.store.Backup(t.Context(), backup); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(backup)
	if err != nil {
		t.Fatal(err)
	}
	if hash := sha256.Sum256([]byte(c.Value)); !bytes.Contains(text, hash[:]) || bytes.Contains(text, []byte(c.Value)) || bytes.Contains(text, []byte(secret)) {
		t.Error("the database has not the cookie's hash, or has a secret itself")
	}
}

// counting is a store that counts writes, and may have a full disk.
type counting struct {
	provisioning.Store
	writes int
	full   bool
}

func (c *counting) Update(ctx context.Context, fn func(provisioning.Tx) error) error {
	c.writes++
	if c.full {
		return provisioning.Errorf(provisioning.Unavailable, "the disk is full")
	}
	return c.Store.Update(ctx, fn)
}

func (c *counting) UpdateUnsynced(ctx context.Context, fn func(provisioning.Tx) error) error {
	return c.Update(ctx, fn)
}

// TestFewWrites: requests of a minute cost the disk no more than one.
func TestFewWrites(t *testing.T) {
	d := newSignInTest(t)
	store := &counting{Store: d.store}
	d.restart(store)
	link := d.link(t)
	_, secret := d.token(t, provisioning.RoleAdmin, 0)
	token := d.signIn(t, secret)
	d.who(t, token)
	for range 59 {
		store.writes = 0
		d.now = d.now.Add(time.Second)
		d.who(t, token)
		d.who(t, link)
		if store.writes != 0 {
			t.Fatalf("%d writes for two requests, some seconds after the last", store.writes)
		}
	}
	d.now = d.now.Add(time.Second)
	d.who(t, token)
	d.who(t, link)
	if store.writes != 3 { // two sessions and a token
		t.Errorf("%d writes for two requests, a minute after the last", store.writes)
	}
}

// TestFullDisk: whoever is signed in stays so, and whoever wants to see what is
// wrong can sign in.
func TestFullDisk(t *testing.T) {
	d := newSignInTest(t)
	store := &counting{Store: d.store, full: true}
	d.restart(store)
	link := d.link(t)
	store.full = false
	id, secret := d.token(t, provisioning.RoleAdmin, 0)
	before := d.signIn(t, secret)
	store.full = true
	d.now = d.now.Add(11 * time.Hour)
	d.wantIn(t, "before", before, true)
	d.wantIn(t, "with a link", link, true)
	token := d.signIn(t, secret)
	for range 2 {
		d.now = d.now.Add(11 * time.Hour)
		d.wantIn(t, "with a token", token, true)
		d.wantIn(t, "with a link", link, true)
	}
	r := httptest.NewRequest("POST", "/", nil)
	r.AddCookie(link)
	if err := d.SignOut(httptest.NewRecorder(), r); err != nil {
		t.Error(err)
	}
	d.wantIn(t, "signed out", link, false)
	store.full = false
	if err := d.registry.RemoveToken(t.Context(), root, id); err != nil {
		t.Fatal(err)
	}
	d.wantIn(t, "its token is revoked", token, false)
}

// TestLinksAreForTheTimeBeforeTokens: whoever reads one in a log later is not let in.
func TestLinksAreForTheTimeBeforeTokens(t *testing.T) {
	d := newSignInTest(t)
	link := d.link(t)
	_, code, _ := strings.Cut(d.links.New(), "code=")
	id, _ := d.token(t, provisioning.RoleAdmin, 0)
	w := httptest.NewRecorder()
	err := d.SignInByLink(w, httptest.NewRequest("POST", "/", nil), code)
	if provisioning.ErrorCode(err) != provisioning.Unauthorized || len(w.Result().Cookies()) > 0 {
		t.Errorf("a link that was made before a token: %v", err)
	}
	d.wantIn(t, "who signed in by one before", link, true)
	if err := d.registry.RemoveToken(t.Context(), root, id); err != nil {
		t.Fatal(err)
	}
	d.wantIn(t, "when there is no token again", d.link(t), true)
}

// TestSessionEndsWithItsToken, at once.
func TestSessionEndsWithItsToken(t *testing.T) {
	d := newSignInTest(t)
	link := d.link(t)
	id, secret := d.token(t, provisioning.RoleAdmin, 0)
	_, other := d.token(t, provisioning.RoleAdmin, 0)
	c, others := d.signIn(t, secret), d.signIn(t, other)
	if err := d.registry.RemoveToken(t.Context(), root, id); err != nil {
		t.Fatal(err)
	}
	d.wantIn(t, "its token is revoked", c, false)
	d.wantIn(t, "another token", others, true)
	d.wantIn(t, "a link", link, true)
}

func TestSessionsExpire(t *testing.T) {
	d := newSignInTest(t)
	link := d.link(t)
	_, secret := d.token(t, provisioning.RoleAdmin, 0)
	for name, c := range map[string]*http.Cookie{"token": d.signIn(t, secret), "link": link} {
		began := d.now
		for range 15 { // 7 days less 3 hours
			d.now = d.now.Add(11 * time.Hour)
			d.wantIn(t, name+" in use", c, true)
		}
		d.now = d.now.Add(4 * time.Hour)
		d.wantIn(t, name+" after a week", c, false)
		d.now = began
	}
	idle := d.signIn(t, secret)
	d.now = d.now.Add(13 * time.Hour)
	d.wantIn(t, "idle", idle, false)
}

// TestSessionsAreBounded: whoever signs in again and again signs himself out in the
// end, and nobody else, whether or not the store can be written.
func TestSessionsAreBounded(t *testing.T) {
	for name, full := range map[string]bool{"stored": false, "full disk": true} {
		t.Run(name, func(t *testing.T) {
			d := newSignInTest(t)
			_, secret := d.token(t, provisioning.RoleFarmer, 5)
			_, admins := d.token(t, provisioning.RoleAdmin, 0)
			d.restart(&counting{Store: d.store, full: full})
			admin := d.signIn(t, admins)
			first := d.signIn(t, secret)
			d.now = d.now.Add(time.Hour)
			second := d.signIn(t, secret)
			d.now = d.now.Add(time.Minute)
			d.wantIn(t, "the first", first, true) // and in use
			for range 19 {
				d.signIn(t, secret)
			}
			d.wantIn(t, "of twenty-one the one that was idle for longest", second, false)
			d.wantIn(t, "another of them", first, true)
			for range 1001 {
				d.signIn(t, secret)
			}
			d.wantIn(t, "one of a thousand before", first, false)
			d.wantIn(t, "an admin", admin, true)
		})
	}
}

// TestLinkOutlivesAStoreThatFails: it was not used if nobody was signed in by it.
func TestLinkOutlivesAStoreThatFails(t *testing.T) {
	d := newSignInTest(t)
	_, code, _ := strings.Cut(d.links.New(), "code=")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.SignInByLink(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, "POST", "/", nil), code); err == nil {
		t.Fatal("the store did not fail")
	}
	if err := d.SignInByLink(httptest.NewRecorder(), httptest.NewRequest("POST", "/", nil), code); err != nil {
		t.Errorf("the second try: %v", err)
	}
	if err := d.SignInByLink(httptest.NewRecorder(), httptest.NewRequest("POST", "/", nil), code); err == nil {
		t.Error("a link signs in twice")
	}
}
