package authn

import (
	"errors"
	"net/http"
	"strings"

	"farmboot/http/answer"
	"farmboot/provisioning"
	"farmboot/provisioning/registry"
)

// Authenticator tells who sent a request. Its error is an [answer.ErrNoCredentials]
// if the request has no credentials of the kind that it knows, and another
// [provisioning.Error] with code [provisioning.Unauthorized] if they are wrong.
type Authenticator func(*http.Request) (provisioning.Actor, error)

// AnyOf tries one authenticator after the other, until one knows the credentials.
func AnyOf(list ...Authenticator) Authenticator {
	return func(r *http.Request) (provisioning.Actor, error) {
		for _, authenticate := range list {
			if by, err := authenticate(r); !errors.Is(err, answer.ErrNoCredentials) {
				return by, err
			}
		}
		return provisioning.Actor{}, answer.ErrNoCredentials
	}
}

// Bearer knows tokens in the header "Authorization: Bearer <token>" (RFC 6750
// section 2.1).
func Bearer(registry *registry.Registry) Authenticator {
	return func(r *http.Request) (provisioning.Actor, error) {
		h := r.Header.Get("Authorization")
		if h == "" {
			return provisioning.Actor{}, answer.ErrNoCredentials
		}
		scheme, secret, _ := strings.Cut(h, " ")
		if !strings.EqualFold(scheme, "Bearer") {
			return provisioning.Actor{}, provisioning.Errorf(provisioning.Unauthorized, "the Authorization header has scheme %.20q: accepted is Bearer <token>", scheme)
		}
		return registry.Authenticate(r.Context(), strings.TrimSpace(secret), answer.PeerOf(r).String())
	}
}

// LegacyCookie knows tokens in the cookie "token", as clients of the legacy calls
// send them.
func LegacyCookie(registry *registry.Registry) Authenticator {
	return func(r *http.Request) (provisioning.Actor, error) {
		c, err := r.Cookie("token")
		if err != nil || c.Value == "" {
			return provisioning.Actor{}, answer.ErrNoCredentials
		}
		return registry.Authenticate(r.Context(), c.Value, answer.PeerOf(r).String())
	}
}

// Local takes everybody for an admin. It is for the Unix socket, where the file's
// mode says who may connect.
func Local(*http.Request) (provisioning.Actor, error) {
	return provisioning.Actor{Name: "local", Role: provisioning.RoleAdmin, From: "socket"}, nil
}
