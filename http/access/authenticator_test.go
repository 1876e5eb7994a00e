package access_test

import (
	"net/http"
	"testing"

	"farmboot/http/access"
	"farmboot/http/answer"
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
		list []access.Authenticator
		want string
	}{
		{nil, answer.ErrNoCredentials.Error()},
		{[]access.Authenticator{signedOut}, answer.ErrNoCredentials.Error()},
		{[]access.Authenticator{none, none}, answer.ErrNoCredentials.Error()},
		{[]access.Authenticator{none, access.Local}, ""},
		{[]access.Authenticator{wrong, access.Local}, "wrong"},
		{[]access.Authenticator{access.Local, wrong}, ""},
	} {
		got := ""
		if _, err := access.AnyOf(test.list...)(nil); err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%d authenticators: %q, want %q", len(test.list), got, test.want)
		}
	}
}
