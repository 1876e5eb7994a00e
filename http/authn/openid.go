package authn

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"farmboot/http/answer"
	"farmboot/provisioning"
	"farmboot/provisioning/ordinary"
)

const (
	// OpenIDPath is where a sign-in with an OpenID provider begins; its query "to" is
	// where to go afterwards.
	OpenIDPath = SignInPath + "/openid"
	// OpenIDReturnPath is where the provider sends people back to. The provider must
	// know it.
	OpenIDReturnPath = OpenIDPath + "/return"

	// openIDCookie holds what a sign-in that is under way began with.
	openIDCookie = "__Host-farmboot-openid"
	// openIDAge is how long somebody may take at the provider.
	openIDAge = 10 * time.Minute
	// providerPatience is how long one of the provider's answers may take …
	providerPatience = 10 * time.Second
	// … and providerPause how long a provider that did not answer is left alone.
	providerPause = 5 * time.Second
)

// OpenIDConfig says which OpenID provider vouches for whom.
type OpenIDConfig struct {
	Issuer       string   // https URL, as the provider names itself
	ClientID     string   // what it calls us
	SecretFile   string   // file with the client's secret, read at each sign-in; "": there is none
	Claim        string   // claim of the ID token, or of its user info, with the groups; dots lead into objects
	Admins       []string // groups whose members are admins
	Readers      []string // groups whose members see what admins do, and change nothing
	FarmerPrefix string   // members of the group PREFIX1234 are farmer 1234; "": there are none
}

// OpenID signs people in through an OpenID provider: by the authorization code flow
// (OpenID Connect Core 1.0 section 3.1) with PKCE (RFC 7636). The provider is first asked
// when the first person signs in: the appliance starts without it. Safe for concurrent use.
type OpenID struct {
	config OpenIDConfig
	client *http.Client
	now    func() time.Time

	mu       sync.Mutex
	provider *oidc.Provider // nil: it has not answered yet
	refused  time.Time      // when it last did not
	why      error
}

// NewOpenID returns an OpenID of that provider.
func NewOpenID(config OpenIDConfig, now func() time.Time) *OpenID {
	return &OpenID{config: config, client: &http.Client{Timeout: providerPatience}, now: now}
}

// Name is what people know the provider by: its host.
func (o *OpenID) Name() string {
	u, err := url.Parse(o.config.Issuer)
	if err != nil {
		return o.config.Issuer
	}
	return u.Host
}

// underWay is a sign-in that has begun, as its cookie holds it: the browser that comes
// back from the provider has to send it.
type underWay struct {
	State    string `json:"state"`
	Nonce    string `json:"nonce"`
	Verifier string `json:"verifier"` // RFC 7636 section 4.1
	To       string `json:"to"`       // page to go to afterwards
}

// Begin leads to the provider, which leads back to base, the address of the admin plane,
// with [OpenIDReturnPath] behind it. The error is [provisioning.Unavailable] while the
// provider does not answer.
func (o *OpenID) Begin(w http.ResponseWriter, r *http.Request, base, to string) error {
	flow, _, err := o.flow(base)
	if err != nil {
		return err
	}
	u := underWay{State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(), To: to}
	text, err := json.Marshal(u)
	if err != nil {
		return fmt.Errorf("begin sign-in: %w", err)
	}
	http.SetCookie(w, o.cookie(base64.RawURLEncoding.EncodeToString(text), int(openIDAge.Seconds())))
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, flow.AuthCodeURL(u.State, oidc.Nonce(u.Nonce), oauth2.S256ChallengeOption(u.Verifier)), http.StatusSeeOther)
	return nil
}

// cookie is Lax: it has to come along when the provider, another site, leads back.
func (o *OpenID) cookie(value string, age int) *http.Cookie {
	return &http.Cookie{Name: openIDCookie, Value: value, Path: "/", MaxAge: age, HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode}
}

// Finish answers the redirect from the provider, and returns the actor who signed in and
// where to go. The error is [provisioning.Unauthorized] or [provisioning.Forbidden] if the
// sign-in is refused, [provisioning.Unavailable] while the provider does not answer.
func (o *OpenID) Finish(w http.ResponseWriter, r *http.Request, base string) (by provisioning.Actor, to string, err error) {
	begun, err := o.begun(r)
	if err != nil {
		return by, "", err
	}
	http.SetCookie(w, o.cookie("", -1)) // it works once
	if refusal := r.URL.Query().Get("error"); refusal != "" {
		return by, "", provisioning.Errorf(provisioning.Unauthorized, "%s did not let you in: %s", o.Name(), printable(refusal+" "+r.URL.Query().Get("error_description")))
	}
	flow, provider, err := o.flow(base)
	if err != nil {
		return by, "", err
	}
	ctx := oidc.ClientContext(r.Context(), o.client)
	token, err := flow.Exchange(ctx, r.URL.Query().Get("code"), oauth2.VerifierOption(begun.Verifier))
	if e, ok := errors.AsType[*oauth2.RetrieveError](err); ok && e.Response != nil && e.Response.StatusCode < http.StatusInternalServerError {
		return by, "", &provisioning.Error{
			Code: provisioning.Unauthorized, Err: err,
			Message: fmt.Sprintf("%s refused the sign-in (%s): begin again; if it goes on, the client id, its secret or its return address is not what %[1]s knows", o.Name(), printable(e.ErrorCode)),
		}
	} else if err != nil {
		return by, "", o.silent(err)
	}
	claims, err := o.claims(ctx, provider, token, begun.Nonce)
	if err != nil {
		return by, "", err
	}
	by, err = o.config.actor(claims)
	by.From = answer.PeerOf(r).String()
	return by, begun.To, err
}

// begun returns the sign-in that r comes back to.
func (o *OpenID) begun(r *http.Request) (underWay, error) {
	var u underWay
	c, err := r.Cookie(openIDCookie)
	if err == nil {
		var text []byte
		if text, err = base64.RawURLEncoding.DecodeString(c.Value); err == nil {
			err = json.Unmarshal(text, &u)
		}
	}
	if err != nil || u.State == "" || u.State != r.URL.Query().Get("state") {
		return underWay{}, provisioning.Errorf(provisioning.Unauthorized, "this sign-in did not begin in this browser, or took longer than %d minutes: begin again", int(openIDAge.Minutes()))
	}
	return u, nil
}

// flow returns how to sign in with the provider, and the provider.
func (o *OpenID) flow(base string) (*oauth2.Config, *oidc.Provider, error) {
	provider, err := o.discover()
	if err != nil {
		return nil, nil, o.silent(err)
	}
	secret := ""
	if o.config.SecretFile != "" {
		text, err := ordinary.ReadFile(o.config.SecretFile)
		if err != nil {
			return nil, nil, &provisioning.Error{Code: provisioning.Unavailable, Message: "the secret of the OpenID client cannot be read: sign in with a token", Err: err}
		}
		secret = strings.TrimSpace(string(text))
	}
	return &oauth2.Config{
		ClientID: o.config.ClientID, ClientSecret: secret, Endpoint: provider.Endpoint(),
		RedirectURL: base + OpenIDReturnPath, Scopes: o.scopes(provider),
	}, provider, nil
}

// discover returns the provider, which is asked until it has answered once. It is asked
// on behalf of all who come: none of them ends it.
func (o *OpenID) discover() (*oidc.Provider, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.provider != nil {
		return o.provider, nil
	}
	if o.why != nil && o.now().Sub(o.refused) < providerPause {
		return nil, o.why
	}
	o.provider, o.why = oidc.NewProvider(oidc.ClientContext(context.Background(), o.client), o.config.Issuer)
	o.refused = o.now()
	return o.provider, o.why
}

func (o *OpenID) silent(err error) error {
	return &provisioning.Error{
		Code: provisioning.Unavailable, Err: err,
		Message: fmt.Sprintf("%s does not answer as an OpenID provider: try again, or sign in with a token", o.Name()),
	}
}

// scopes asks for the groups where the provider has a scope for them.
func (o *OpenID) scopes(provider *oidc.Provider) []string {
	scopes := []string{oidc.ScopeOpenID, "profile", "email"}
	var has struct {
		Scopes []string `json:"scopes_supported"`
	}
	if err := provider.Claims(&has); err == nil && slices.Contains(has.Scopes, "groups") {
		scopes = append(scopes, "groups")
	}
	return scopes
}

// claims returns what the provider says of a person: in the ID token, and beside it where
// that leaves the groups out (OpenID Connect Core 1.0 section 5.3).
func (o *OpenID) claims(ctx context.Context, provider *oidc.Provider, token *oauth2.Token, nonce string) (map[string]any, error) {
	bad := func(err error) error {
		return &provisioning.Error{Code: provisioning.Unauthorized, Message: "the answer of " + o.Name() + " does not hold: begin again", Err: err}
	}
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		return nil, bad(errors.New("no ID token"))
	}
	id, err := provider.Verifier(&oidc.Config{ClientID: o.config.ClientID, Now: o.now}).Verify(ctx, raw)
	if err != nil {
		return nil, bad(err)
	}
	if id.Nonce != nonce {
		return nil, bad(errors.New("the ID token is for another sign-in"))
	}
	claims := map[string]any{}
	if err := id.Claims(&claims); err != nil {
		return nil, bad(err)
	}
	if provider.UserInfoEndpoint() == "" || groups(claims, o.config.Claim) != nil {
		return claims, nil
	}
	info, err := provider.UserInfo(ctx, oauth2.StaticTokenSource(token))
	if err != nil {
		return nil, o.silent(err)
	}
	more := map[string]any{}
	if err := info.Claims(&more); err != nil || info.Subject != id.Subject {
		return nil, bad(errors.Join(err, errors.New("the user info is about somebody else, or cannot be read")))
	}
	maps.Copy(more, claims)
	return more, nil
}

// actor returns the actor that claims stand for, with the most rights that one of its groups
// gives.
func (c OpenIDConfig) actor(claims map[string]any) (provisioning.Actor, error) {
	by := provisioning.Actor{Name: name(claims) + " (OpenID)"}
	in := groups(claims, c.Claim)
	isIn := func(some []string) bool {
		return slices.ContainsFunc(in, func(g string) bool { return slices.Contains(some, g) })
	}
	switch {
	case isIn(c.Admins):
		by.Role = provisioning.RoleAdmin
		return by, nil
	case isIn(c.Readers):
		by.Role, by.ReadOnly = provisioning.RoleAdmin, true
		return by, nil
	}
	for _, g := range in {
		id, ok := strings.CutPrefix(g, c.FarmerPrefix)
		if c.FarmerPrefix == "" || !ok {
			continue
		}
		farmer, err := provisioning.ParseFarmerID(id)
		if err != nil || by.Farmer != 0 && by.Farmer != farmer {
			return provisioning.Actor{}, provisioning.Errorf(provisioning.Forbidden, "your groups do not say which one farmer you are: accepted is one group %s1234", c.FarmerPrefix)
		}
		by.Role, by.Farmer = provisioning.RoleFarmer, farmer
	}
	if by.Role == "" {
		return provisioning.Actor{}, provisioning.Errorf(provisioning.Forbidden,
			"you are known as %s, but none of your groups may sign in here: ask an admin", name(claims))
	}
	return by, nil
}

// groups returns the texts in a claim: one, or a list; nil if there is no such claim.
func groups(claims map[string]any, claim string) []string {
	switch v := find(claims, claim).(type) {
	case string:
		return []string{v}
	case []any:
		list := []string{}
		for _, e := range v {
			if s, ok := e.(string); ok {
				list = append(list, s)
			}
		}
		return list
	}
	return nil
}

// find looks for a claim by its whole name first, which may be a URL, and then as a path
// through objects, as realm_access.roles.
func find(claims map[string]any, claim string) any {
	if v, ok := claims[claim]; ok {
		return v
	}
	head, rest, found := strings.Cut(claim, ".")
	if inner, ok := claims[head].(map[string]any); ok && found {
		return find(inner, rest)
	}
	return nil
}

// name is what the history calls a person: the e-mail address, unless the provider says
// that it is not verified, or what else the provider has (OpenID Connect Core 1.0 section 5.1).
func name(claims map[string]any) string {
	for _, claim := range []string{"email", "preferred_username", "sub"} {
		if s, _ := claims[claim].(string); s != "" && (claim != "email" || claims["email_verified"] != false) {
			return printable(s)
		}
	}
	return "somebody"
}

// printable is what another program says, as a person may read it.
func printable(s string) string {
	return provisioning.Clip(strings.TrimSpace(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)), 80)
}
