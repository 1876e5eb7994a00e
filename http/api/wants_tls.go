package api

import (
	"net/http"
	"net/netip"

	"github.com/gorilla/mux"

	"farmboot/http/answer"
	"farmboot/provisioning"
)

// WantsTLS serves, on plain HTTP, what describes the API, and of all else of it refusals that
// name the [API] on TLS.
type WantsTLS struct {
	Answer *answer.Adapter
	// AdminURL is where the API is, "https://host[:port]", as reached at that address
	// of ours.
	AdminURL func(local netip.Addr) string
}

// Routes adds every route below /api/ to r, but for those that other parts have added
// before.
func (t WantsTLS) Routes(r *mux.Router) {
	refuse := func(fail answer.Failure) http.Handler {
		return t.Answer.Handle("api wants TLS", fail, func(_ http.ResponseWriter, r *http.Request) error {
			return provisioning.Errorf(provisioning.Forbidden, "the API wants TLS, so that nobody on the way reads a token: send this call to %s%.100s", t.AdminURL(answer.LocalOf(r)), r.URL.EscapedPath())
		})
	}
	r.Handle(openAPIPath, t.Answer.Handle("GET "+openAPIPath, answer.JSON, func(w http.ResponseWriter, r *http.Request) error {
		return openAPI(w, r, provisioning.Actor{})
	})).Methods(http.MethodGet, http.MethodHead)
	for _, path := range legacyPaths {
		r.Handle(path, refuse(legacyFailure))
		r.PathPrefix(path + "/").Handler(refuse(legacyFailure))
	}
	r.Handle("/api", refuse(answer.JSON))
	r.PathPrefix("/api/").Handler(refuse(answer.JSON))
}
