package api

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/gorilla/mux"

	"farmboot/http/answer"
	"farmboot/http/authn"
	"farmboot/ipxe"
	"farmboot/ipxe/kernel"
	"farmboot/ipxe/rollout"
	"farmboot/provisioning"
	"farmboot/provisioning/registry"
	"farmboot/provisioning/rights"
)

// API is the API of one plane. All fields are required but those that say
// otherwise; they are not changed once it serves.
type API struct {
	Answer   *answer.Adapter
	Registry *registry.Registry
	// Subscribe returns the events of a node, of all if it is zero, from now on:
	// [recorder.Recorder.Subscribe].
	Subscribe func(provisioning.MAC) (events <-chan provisioning.Event, cancel func())
	Kernels   *kernel.Store
	// KernelEditor changes them.
	KernelEditor *kernel.Editor
	// Rollout knows what run modes booted, and tries kernels on a few nodes first.
	Rollout *rollout.Rollout
	// Held names upstream's kernel that a run mode does not boot because somebody gave it
	// another one; nil: there is no upstream.
	Held     func(provisioning.RunMode) string
	Composer func() ipxe.Composer
	// Authenticate tells who asks.
	Authenticate authn.Authenticator
	// Throttle slows peers down that try bad credentials. The planes and the pages'
	// sign-in may share one.
	Throttle *authn.Throttle
	// Enrolment makes nodes trust our key for Secure Boot; nil: that is off, or not
	// possible.
	Enrolment provisioning.Enrolment
	Version   string // of the program, for people
	// Health tells admins how the appliance is.
	Health func() Health
	// Sync returns when what nodes have just done is stored, or soon; nil: it always is. A
	// command asks for the status, and reads the store by itself then.
	Sync func(context.Context)
	Now  func() time.Time
	Log  *slog.Logger

	streams *streams // made by Routes
}

// handler answers a request of by, or returns why not and has written nothing then.
type handler func(w http.ResponseWriter, r *http.Request, by provisioning.Actor) error

// handlerOf answers a request about the thing that a route's path names.
type handlerOf[T any] func(w http.ResponseWriter, r *http.Request, by provisioning.Actor, thing T) error

// of reads what a route's path names.
func of[T any](name string, read func(string) (T, error), handle handlerOf[T]) handler {
	return func(w http.ResponseWriter, r *http.Request, by provisioning.Actor) error {
		text, err := answer.Var(r, name)
		if err != nil {
			return err
		}
		thing, err := read(text)
		if err != nil {
			return err
		}
		return handle(w, r, by, thing)
	}
}

func ofNode(handle handlerOf[provisioning.MAC]) handler {
	return of("mac", provisioning.ParseMAC, handle)
}

func (a *API) ofRunMode(handle handlerOf[provisioning.RunMode]) handler {
	return of("runmode", func(s string) (provisioning.RunMode, error) {
		return provisioning.RunMode(s), a.Composer().RunModes.Check(provisioning.RunMode(s))
	}, handle)
}

// asIs is a name that is read by whoever gets it.
func asIs(s string) (string, error) { return s, nil }

// lists answers with a list.
func lists[T any](get func(context.Context, provisioning.Actor) ([]T, error)) handler {
	return func(w http.ResponseWriter, r *http.Request, by provisioning.Actor) error {
		items, err := get(r.Context(), by)
		return reply(w, list(items), err)
	}
}

// removes removes what the path names.
func removes[T any](remove func(context.Context, provisioning.Actor, T) error) handlerOf[T] {
	return func(w http.ResponseWriter, r *http.Request, by provisioning.Actor, thing T) error {
		return noContent(w, remove(r.Context(), by, thing))
	}
}

// route is a row of the table.
type route struct {
	method string
	path   string // as gorilla/mux writes it
	who    rights.Audience
	query  []string // the parameters that it reads; others are refused
	handle handler
	// legacy routes take a token from the cookie "token" too, and answer as the
	// program before us did.
	legacy bool
}

// table is the one place that says what there is, and who may use it. A path stands
// before those that would match it too.
func (a *API) table() []route {
	const get, post, put, del = http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete
	const anybody, farmers, admins = rights.Anybody, rights.Farmers, rights.Admins
	return []route{
		{method: get, path: openAPIPath, who: anybody, handle: openAPI},
		{method: get, path: "/api/v1/status", who: farmers, handle: a.status},
		{method: get, path: "/api/v1/check", who: farmers, query: []string{"runmode", "farmer", "args", "kernel"}, handle: a.check},

		{method: get, path: "/api/v1/nodes", who: farmers, query: []string{"farmer", "runmode", "text", "mac", "limit", "after", "machine"}, handle: a.listNodes},
		{method: post, path: "/api/v1/nodes", who: farmers, handle: a.addNode},
		{method: post, path: "/api/v1/nodes/import", who: farmers, query: []string{"dry-run", "update", "skip-refused"}, handle: a.importNodes},
		{method: get, path: "/api/v1/nodes/{mac}", who: farmers, handle: ofNode(a.getNode)},
		{method: put, path: "/api/v1/nodes/{mac}", who: farmers, handle: ofNode(a.setNode)},
		{method: del, path: "/api/v1/nodes/{mac}", who: farmers, handle: ofNode(removes(a.Registry.RemoveNode))},
		{method: post, path: "/api/v1/nodes/{mac}/claim", who: farmers, handle: of("mac", asIs, a.claimNode)},
		{method: get, path: "/api/v1/nodes/{mac}/story", who: farmers, handle: ofNode(a.nodeStory)},
		{method: get, path: "/api/v1/nodes/{mac}/machine", who: farmers, handle: ofNode(a.nodeMachine)},
		{method: get, path: "/api/v1/nodes/{mac}/history", who: farmers, query: []string{"limit"}, handle: ofNode(a.nodeHistory)},
		{method: get, path: "/api/v1/nodes/{mac}/enrolment", who: farmers, handle: a.ofEnrolment(a.getEnrolment)},
		{method: put, path: "/api/v1/nodes/{mac}/enrolment", who: farmers, handle: a.ofEnrolment(a.enrol)},
		{method: del, path: "/api/v1/nodes/{mac}/enrolment", who: farmers, handle: a.ofEnrolment(a.cancelEnrolment)},
		{method: get, path: "/api/v1/discovered", who: admins, query: []string{"limit"}, handle: a.discovered},
		{method: get, path: "/api/v1/history", who: admins, query: []string{"subject", "limit"}, handle: a.history},
		{method: post, path: "/api/v1/history/{id}/undo", who: admins, handle: of("id", changeID, a.undo)},

		{method: get, path: "/api/v1/farmers", who: farmers, handle: lists(a.Registry.Farmers)},
		{method: post, path: "/api/v1/farmers", who: admins, handle: a.addFarmer},
		{method: put, path: "/api/v1/farmers/{id}", who: admins, handle: of("id", provisioning.ParseFarmerID, a.setFarmer)},
		{method: del, path: "/api/v1/farmers/{id}", who: admins, handle: of("id", provisioning.ParseFarmerID, removes(a.Registry.RemoveFarmer))},

		{method: get, path: "/api/v1/events", who: farmers, query: []string{"mac", "since", "limit"}, handle: a.listEvents},
		{method: get, path: "/api/v1/events/stream", who: farmers, query: []string{"mac", "since"}, handle: a.streamEvents},

		{method: get, path: "/api/v1/kernels", who: farmers, handle: a.listKernels},
		{method: post, path: "/api/v1/kernels/net/{runmode}/promote", who: admins, handle: a.ofRunMode(a.promoteKernel)},
		{method: post, path: "/api/v1/kernels/net/{runmode}/rollback", who: admins, handle: a.ofRunMode(a.rollBack)},
		{method: get, path: "/api/v1/kernels/net/{runmode}", who: farmers, handle: a.ofRunMode(a.runModeHistory)},
		{method: put, path: "/api/v1/kernels/net/{runmode}", who: admins, query: []string{"force"}, handle: a.ofRunMode(a.pointRunMode)},
		{method: get, path: "/api/v1/kernels/{name}", who: farmers, handle: of("name", asIs, a.getKernel)},
		{method: put, path: "/api/v1/kernels/{name}", who: admins, query: []string{"sha256", "force"}, handle: of("name", asIs, a.putKernel)},
		{method: del, path: "/api/v1/kernels/{name}", who: admins, handle: of("name", asIs, removes(a.KernelEditor.Remove))},

		{method: get, path: "/api/v1/tokens", who: admins, handle: lists(a.Registry.Tokens)},
		{method: post, path: "/api/v1/tokens", who: admins, handle: a.addToken},
		{method: del, path: "/api/v1/tokens/{id}", who: admins, handle: of("id", asIs, removes(a.Registry.RemoveToken))},

		{method: post, path: "/api/kernel", who: admins, query: []string{"force"}, handle: a.legacyKernel, legacy: true},
		{method: get, path: "/api/symlink/{link}/{target}", who: admins, handle: a.legacySymlink, legacy: true},
	}
}

// Routes adds every route below /api/ to r. What is not there is answered in JSON
// too.
func (a *API) Routes(r *mux.Router) {
	a.streams = new(streams)
	table := a.table()
	for i, rt := range table {
		methods := []string{rt.method}
		if rt.method == http.MethodGet && !rt.legacy {
			methods = append(methods, http.MethodHead)
		}
		fail := answer.JSON
		if rt.legacy {
			fail = legacyFailure
		}
		name := rt.method + " " + rt.path
		r.Handle(rt.path, a.Answer.Handle(name, fail, a.guarded(rt))).Methods(methods...)
		if last := i == len(table)-1 || table[i+1].path != rt.path; last {
			r.Handle(rt.path, a.Answer.Handle("api method", fail, notAllowed(table, rt.path)))
		}
	}
	for _, path := range legacyPaths {
		legacy := a.Answer.Handle("api legacy", legacyFailure, func(http.ResponseWriter, *http.Request) error { return errNoLegacyCall() })
		r.PathPrefix(path + "/").Handler(legacy)
		r.Handle(path, legacy)
	}
	nothing := a.Answer.Handle("api", answer.JSON, func(http.ResponseWriter, *http.Request) error {
		return provisioning.Errorf(provisioning.NotFound, "nothing here; /api/v1/openapi.yaml describes what there is")
	})
	r.PathPrefix("/api/").Handler(nothing)
	r.Handle("/api", nothing)
}

// guarded lets those in whom the route's rule admits, if they ask for nothing that the
// route does not know.
func (a *API) guarded(rt route) answer.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		by, err := a.admit(r, rt)
		if err != nil {
			return err
		}
		if _, err := answer.Query(r.URL.RawQuery, rt.query, nil); err != nil {
			return err
		}
		return rt.handle(w, r, by)
	}
}

// admit returns the actor that asks for rt, or why it may not. It is the zero Actor where
// no credentials are needed.
func (a *API) admit(r *http.Request, rt route) (by provisioning.Actor, err error) {
	if rt.who == rights.Anybody {
		return by, nil
	}
	if err := sameOrigin(r, rt); err != nil {
		return by, err
	}
	if by, err = a.authenticate(r, rt); err != nil {
		return by, err
	}
	if err := rt.who.Admits(by); err != nil {
		return by, err
	}
	if rt.method != http.MethodGet || rt.legacy { // a legacy GET changes something
		return by, rights.Change(by)
	}
	return by, nil
}

// authenticate tells who asks for rt.
func (a *API) authenticate(r *http.Request, rt route) (provisioning.Actor, error) {
	if !rt.legacy {
		return a.Throttle.Guard(a.Authenticate)(r)
	}
	by, err := a.Throttle.Guard(authn.AnyOf(authn.LegacyCookie(a.Registry), a.Authenticate))(r)
	if provisioning.ErrorCode(err) == provisioning.Unauthorized {
		err = errLegacyToken()
	}
	return by, err
}

// sameOrigin refuses what a page of another site sends.
func sameOrigin(r *http.Request, rt route) error {
	if rt.legacy {
		// A GET that changes something: to be looked at as the write that it is.
		write := *r
		write.Method = http.MethodPost
		r = &write
	}
	return authn.SameOrigin(r)
}

// notAllowed refuses the methods that a path does not have.
func notAllowed(table []route, path string) answer.Handler {
	var methods []string
	for _, rt := range table {
		if rt.path == path {
			methods = append(methods, rt.method)
			if rt.method == http.MethodGet && !rt.legacy {
				methods = append(methods, http.MethodHead)
			}
		}
	}
	return answer.Accepting(methods)
}
