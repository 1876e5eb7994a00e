package authn_test

import (
	"net/http"
	"testing"

	"farmboot/http/answer"
	"farmboot/http/authn"
	"farmboot/provisioning"
)

// TestAnyOf: the first that knows the credentials decides.
func TestAnyOf(t *testing.T) {
	none := func(*http.Request) (provisioning.Actor, error) { return provisioning.Actor{}, answer.ErrNoCredentials }
	wrong := func(*http.Request) (provisioning.Actor, error) {
		return provisioning.Actor{}, provisioning.Errorf(provisioning.Unauthorized, "wrong")
	}
	signedOut := func(*http.Request) (provisioning.Actor, error) {
		return provisioning.Actor{}, &provisioning.Error{Code: provisioning.Unauthorized, Message: "sign in again", Err: answer.ErrNoCredentials}
	}
	for _, test := range []struct {
		list []authn.Authenticator
		want string
	}{
		{nil, answer.ErrNoCredentials.Error()},
		{[]authn.Authenticator{signedOut}, answer.ErrNoCredentials.Error()},
		{[]authn.Authenticator{none, none}, answer.ErrNoCredentials.Error()},
		{[]authn.Authenticator{none, authn.Local}, ""},
		{[]authn.Authenticator{wrong, authn.Local}, "wrong"},
		{[]authn.Authenticator{authn.Local, wrong}, ""},
	} {
		got := ""
		if _, err := authn.AnyOf(test.list...)(nil); err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%d authenticators: %q, want %q", len(test.list), got, test.want)
		}
	}
}
