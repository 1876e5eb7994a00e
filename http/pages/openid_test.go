package pages_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/oauth2-proxy/mockoidc"

	apphttp "farmboot/http"
	"farmboot/http/authn"
	"farmboot/provisioning"
)

// openIDBench is the admin pages beside an OpenID provider that lets everybody in. Their
// hosts differ: to a browser they are two sites.
type openIDBench struct {
	*adminBench
	provider *mockoidc.MockOIDC
	config   authn.OpenIDConfig
	url      string // of the appliance
	trust    http.RoundTripper
}

func newOpenIDBench(t *testing.T, change ...func(*authn.OpenIDConfig)) *openIDBench {
	t.Helper()
	provider, err := mockoidc.Run()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := provider.Shutdown(); err != nil {
			t.Error(err)
		}
	})
	provider.Server.Addr = strings.Replace(provider.Server.Addr, "127.0.0.1", "localhost", 1)
	b := &openIDBench{adminBench: newAdminBench(t), provider: provider}
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte(provider.ClientSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	b.config = authn.OpenIDConfig{
		Issuer: provider.Issuer(), ClientID: provider.ClientID, SecretFile: secret,
		Claim: "groups", Admins: []string{"netboot", "ops"}, Readers: []string{"audit"}, FarmerPrefix: "farmer-",
	}
	for _, c := range change {
		c(&b.config)
	}
	b.OpenID = authn.NewOpenID(b.config, b.now.Now)
	srv := httptest.NewTLSServer(apphttp.Plane(&b.Admin, &b.Pages, images{}))
	t.Cleanup(srv.CloseClientConnections)
	b.url, b.trust = srv.URL, srv.Client().Transport
	b.AdminURL = func(netip.Addr) string { return srv.URL }
	return b
}

// person is a browser, as far as redirects and cookies go.
func (b *openIDBench) person(t *testing.T) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Jar: jar, Transport: b.trust, Timeout: waitLimit}
}

// visit opens a page, and returns its status, its text and where it was.
func visit(t *testing.T, c *http.Client, target string) (status int, page string, at *url.URL) {
	t.Helper()
	r, err := c.Get(target)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, whole(t, r), r.Request.URL
}

// whole reads an answer whole.
func whole(t *testing.T, r *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(r.Body)
	if err := errors.Join(err, r.Body.Close()); err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestOpenIDSaysWhoIsWho(t *testing.T) {
	b := newOpenIDBench(t)
	b.add(t, provisioning.Node{MAC: macOf(5), Farmer: 5, RunMode: "prod"})
	b.add(t, provisioning.Node{MAC: macOf(6), Farmer: 6, RunMode: "prod"})
	for _, test := range []struct {
		name   string
		user   mockoidc.MockUser
		status int
		says   string // the page, or what the board of somebody who is in calls him
		tokens int    // whether he sees what only admins do
		change int    // whether he may change a node of farmer 5
		other  int    // and see one of farmer 6
	}{
		{"admin", mockoidc.MockUser{Subject: "1", Email: "ada@example.org", EmailVerified: true, Groups: []string{"staff", "ops"}}, 200, "ada@example.org (OpenID)", 200, 303, 200},
		{"reader", mockoidc.MockUser{Subject: "2", Email: "rex@example.org", EmailVerified: true, Groups: []string{"audit"}}, 200, "rex@example.org (OpenID)", 200, 403, 200},
		{"reader who is an admin", mockoidc.MockUser{Subject: "2", PreferredUsername: "both", Groups: []string{"audit", "ops"}}, 200, "both (OpenID)", 200, 303, 200},
		{"farmer", mockoidc.MockUser{Subject: "3", PreferredUsername: "fay", Groups: []string{"farmer-5", "staff"}}, 200, "fay (OpenID), farmer 5", 403, 303, 403},
		{"no name but the subject", mockoidc.MockUser{Subject: "sub-9", Groups: []string{"ops"}}, 200, "sub-9 (OpenID)", 200, 303, 200},
		{"two farmers", mockoidc.MockUser{Subject: "4", Groups: []string{"farmer-5", "farmer-6"}}, 403, "accepted is one group farmer-1234", 0, 0, 0},
		{"no farmer", mockoidc.MockUser{Subject: "5", Groups: []string{"farmer-x"}}, 403, "accepted is one group farmer-1234", 0, 0, 0},
		{"farmer 0", mockoidc.MockUser{Subject: "5", Groups: []string{"farmer-0"}}, 403, "accepted is one group farmer-1234", 0, 0, 0},
		{"nobody", mockoidc.MockUser{Subject: "6", Email: "eve@example.org", EmailVerified: true, Groups: []string{"opsx", "OPS"}}, 403, "eve@example.org, but none of your groups", 0, 0, 0},
		{"no groups", mockoidc.MockUser{Subject: "7"}, 403, "none of your groups", 0, 0, 0},
		{"a hostile name", mockoidc.MockUser{Subject: "8", PreferredUsername: "<b>\u202eroot\n", Groups: []string{"x"}}, 403, "&lt;b&gt;root, but", 0, 0, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			b.provider.QueueUser(&test.user)
			c := b.person(t)
			status, page, at := visit(t, c, b.url+"/admin/signin/openid?to=/admin/nodes")
			if status != test.status || at.Path != authn.OpenIDReturnPath {
				t.Fatalf("%d at %s, want %d:\n%s", status, at, test.status, page)
			}
			if status != http.StatusOK {
				if !strings.Contains(page, test.says) {
					t.Errorf("the page does not say %q:\n%s", test.says, page)
				}
				if _, _, at := visit(t, c, b.url+"/admin"); at.Path != authn.SignInPath {
					t.Errorf("he is in: %s", at)
				}
				return
			}
			if !strings.Contains(page, `url=/admin/nodes"`) {
				t.Errorf("the page does not lead on:\n%s", page)
			}
			if _, page, _ := visit(t, c, b.url+"/admin"); !strings.Contains(page, test.says) {
				t.Errorf("the board does not say %q:\n%s", test.says, page)
			}
			if status, _, _ := visit(t, c, b.url+"/admin/tokens"); status != test.tokens {
				t.Errorf("tokens: %d, want %d", status, test.tokens)
			}
			if status, _, _ := visit(t, c, b.url+"/admin/nodes/"+macOf(6).String()); status != test.other {
				t.Errorf("another farmer's node: %d, want %d", status, test.other)
			}
			c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			r, err := c.PostForm(b.url+"/admin/nodes/"+macOf(5).String(), url.Values{"farmer": {"5"}, "runmode": {"prod"}, "name": {test.name}})
			if err != nil {
				t.Fatal(err)
			}
			if page := whole(t, r); r.StatusCode != test.change {
				t.Errorf("change: %d, want %d:\n%s", r.StatusCode, test.change, page)
			}
			if test.change == http.StatusSeeOther {
				changes, err := b.Registry.History(t.Context(), root, provisioning.ChangeQuery{Limit: 1})
				if err != nil || len(changes) != 1 || !strings.HasPrefix(test.says, changes[0].Actor) {
					t.Errorf("history %+v, %v", changes, err)
				}
			}
		})
	}
}

// TestOpenIDSessionsEnd: what the provider said is asked again the next day, whatever the
// browser does meanwhile.
func TestOpenIDSessionsEnd(t *testing.T) {
	b := newOpenIDBench(t)
	c := b.person(t)
	b.provider.QueueUser(&mockoidc.MockUser{Subject: "1", Groups: []string{"ops"}})
	visit(t, c, b.url+authn.OpenIDPath)
	for range 11 {
		b.now.advance(time.Hour)
		if _, _, at := visit(t, c, b.url+"/admin"); at.Path != "/admin" {
			t.Fatalf("out too early: %s", at)
		}
	}
	b.now.advance(61 * time.Minute)
	if _, _, at := visit(t, c, b.url+"/admin"); at.Path != authn.SignInPath {
		t.Errorf("still in: %s", at)
	}
}

func TestOpenIDRefusals(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ops := mockoidc.MockUser{Subject: "1", Groups: []string{"ops"}}
	// returned ends a sign-in that c has begun, with another query than the provider's.
	returned := func(t *testing.T, b *openIDBench, c *http.Client, change func(url.Values)) (int, string) {
		var last *url.URL
		c.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
			if last = r.URL; r.URL.Path == authn.OpenIDReturnPath {
				return http.ErrUseLastResponse
			}
			return nil
		}
		visit(t, c, b.url+authn.OpenIDPath)
		q := last.Query()
		change(q)
		status, page, _ := visit(t, c, b.url+authn.OpenIDReturnPath+"?"+q.Encode())
		return status, page
	}
	for _, test := range []struct {
		name   string
		config func(*authn.OpenIDConfig)
		do     func(*testing.T, *openIDBench, *http.Client) (status int, page string)
		status int
		says   string
	}{
		{
			"the provider refuses", nil, func(t *testing.T, b *openIDBench, c *http.Client) (int, string) {
				return returned(t, b, c, func(q url.Values) {
					q.Del("code")
					q.Set("error", "access_denied")
					q.Set("error_description", "not <you>\x1b[2J")
				})
			}, 401, "did not let you in: access_denied not &lt;you&gt;[2J",
		},
		{
			"another state", nil, func(t *testing.T, b *openIDBench, c *http.Client) (int, string) {
				return returned(t, b, c, func(q url.Values) { q.Set("state", "x") })
			}, 401, "did not begin in this browser",
		},
		{
			"no state", nil, func(t *testing.T, b *openIDBench, c *http.Client) (int, string) {
				return returned(t, b, c, func(q url.Values) { q.Del("state") })
			}, 401, "did not begin in this browser",
		},
		{
			"a made-up code", nil, func(t *testing.T, b *openIDBench, c *http.Client) (int, string) {
				return returned(t, b, c, func(q url.Values) { q.Set("code", "x") })
			}, 401, "refused the sign-in",
		},
		{
			"another browser", nil, func(t *testing.T, b *openIDBench, _ *http.Client) (int, string) {
				status, page, _ := visit(t, b.person(t), b.url+authn.OpenIDReturnPath+"?code=x&state=x")
				return status, page
			}, 401, "did not begin in this browser",
		},
		{
			"twice", nil, func(t *testing.T, b *openIDBench, c *http.Client) (int, string) {
				b.provider.QueueUser(&ops)
				_, _, at := visit(t, c, b.url+authn.OpenIDPath)
				status, page, _ := visit(t, c, at.String())
				return status, page
			}, 401, "did not begin in this browser",
		},
		{
			"a wrong secret", func(c *authn.OpenIDConfig) { c.SecretFile = empty }, nil, 401, "the client id, its secret or its return address",
		},
		{
			"a secret that is no file", func(c *authn.OpenIDConfig) { c.SecretFile = "/dev/zero" }, nil, 503, "secret of the OpenID client cannot be read",
		},
		{
			"no file of the secret", func(c *authn.OpenIDConfig) { c.SecretFile += "-gone" }, nil, 503, "secret of the OpenID client cannot be read",
		},
		{
			"no such provider", func(c *authn.OpenIDConfig) { c.Issuer += "/none" }, nil, 503, "does not answer as an OpenID provider: try again, or sign in with a token",
		},
		{
			"another issuer than it says", func(c *authn.OpenIDConfig) {
				c.Issuer = strings.Replace(c.Issuer, "localhost", "127.0.0.1", 1)
			}, nil, 503, "does not answer as an OpenID provider",
		},
		{
			"the answer comes late", nil, func(t *testing.T, b *openIDBench, c *http.Client) (int, string) {
				return returned(t, b, c, func(url.Values) { b.now.advance(time.Hour) })
			}, 401, "does not hold: begin again",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			var changes []func(*authn.OpenIDConfig)
			if test.config != nil {
				changes = append(changes, test.config)
			}
			b := newOpenIDBench(t, changes...)
			c := b.person(t)
			if test.do == nil {
				test.do = func(t *testing.T, b *openIDBench, c *http.Client) (int, string) {
					b.provider.QueueUser(&ops)
					status, page, _ := visit(t, c, b.url+authn.OpenIDPath)
					return status, page
				}
			}
			status, page := test.do(t, b, c)
			if status != test.status || !strings.Contains(page, test.says) || !strings.Contains(page, `name="token"`) {
				t.Errorf("%d, want %d, and %q beside the token's field:\n%s", status, test.status, test.says, page)
			}
		})
	}
}

// TestOpenIDIsAskedAgain: the appliance starts without its provider, and finds it later;
// until then it is left alone for seconds, however many come.
func TestOpenIDIsAskedAgain(t *testing.T) {
	asked, answers := 0, false
	var provider *httptest.Server
	provider = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked++; !answers {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"issuer":"` + provider.URL + `","authorization_endpoint":"` + provider.URL + `/authorize","token_endpoint":"x","jwks_uri":"x"}`))
	}))
	defer provider.Close()
	b := newOpenIDBench(t, func(c *authn.OpenIDConfig) { c.Issuer = provider.URL })
	c := b.person(t)
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for range 20 {
		if status, _, _ := visit(t, c, b.url+authn.OpenIDPath); status != http.StatusServiceUnavailable {
			t.Fatalf("%d", status)
		}
	}
	if asked != 1 {
		t.Errorf("the provider was asked %d times", asked)
	}
	answers = true
	b.now.advance(time.Minute)
	if status, page, _ := visit(t, c, b.url+authn.OpenIDPath); status != http.StatusSeeOther {
		t.Errorf("%d:\n%s", status, page)
	}
}

// TestOpenIDIsOptional: without a provider nothing of it is there.
func TestOpenIDIsOptional(t *testing.T) {
	b := newAdminBench(t)
	if r, page := b.lookAs(t, nil, authn.SignInPath); r.StatusCode != http.StatusOK || strings.Contains(page, "openid") {
		t.Errorf("%d:\n%s", r.StatusCode, page)
	}
	if r, _ := b.lookAs(t, nil, authn.OpenIDPath); r.StatusCode != http.StatusNotFound {
		t.Errorf("%d", r.StatusCode)
	}
}
