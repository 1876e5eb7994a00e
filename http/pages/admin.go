package pages

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/gorilla/mux"

	"farmboot/http/answer"
	"farmboot/http/authn"
	"farmboot/ipxe"
	"farmboot/ipxe/kernel"
	"farmboot/ipxe/rollout"
	"farmboot/provisioning"
	"farmboot/provisioning/live"
	"farmboot/provisioning/registry"
	"farmboot/provisioning/rights"
)

// Admin is the part for people who have signed in. It belongs on the TLS listener
// only; [AdminLink] takes its place on the other. All fields are required but those
// that say otherwise.
type Admin struct {
	Answer   *answer.Adapter
	Registry *registry.Registry
	Board    *live.Board
	Sessions *authn.Sessions
	Kernels  *kernel.Store
	// KernelEditor changes them.
	KernelEditor *kernel.Editor
	// Rollout knows what run modes booted, and tries kernels on a few nodes first.
	Rollout *rollout.Rollout
	// Site is the appliance as a node sees it; see http.Boot.
	Site func(local netip.Addr) ipxe.Site
	// Assignment tells what a MAC address would get now; it changes nothing.
	Assignment func(context.Context, provisioning.MAC) (provisioning.Assignment, error)
	// Enrolment makes nodes trust the key of Secure Boot; nil: that is off, or not possible.
	Enrolment provisioning.Enrolment
	// OpenID lets people in whom an OpenID provider vouches for; nil: there is none.
	OpenID *authn.OpenID
	// AdminURL is where the admin pages are, "https://host[:port]", as reached at that
	// address of ours.
	AdminURL func(local netip.Addr) string
	// Wake sends Wake-on-LAN packets to those nodes, in waves, some time after it returns.
	Wake func([]provisioning.MAC) error
	Now  func() time.Time
}

// adminHandler answers a request of somebody who is signed in.
type adminHandler func(w http.ResponseWriter, r *http.Request, by provisioning.Actor) error

// formHandler answers a form of somebody who is signed in, and may change something.
type formHandler func(w http.ResponseWriter, r *http.Request, by provisioning.Actor, f form) error

// nodeHandler answers a form about the node that the path names.
type nodeHandler func(w http.ResponseWriter, r *http.Request, by provisioning.Actor, mac provisioning.MAC, f form) error

// Routes adds /admin and all below it to r.
func (a *Admin) Routes(r *mux.Router) {
	var paths []string                // in the order of their routes
	accepted := map[string][]string{} // methods, by path
	open := func(method, path, name string, h answer.Handler) {
		methods := []string{method}
		if method == http.MethodGet {
			methods = append(methods, http.MethodHead)
		}
		if accepted[path] == nil {
			paths = append(paths, path)
		}
		accepted[path] = append(accepted[path], methods...)
		r.Handle(path, a.Answer.Handle(name, failure, sameOrigin(h))).Methods(methods...)
	}
	get := func(path, name string, h adminHandler) { open(http.MethodGet, path, name, a.signedIn(h)) }
	post := func(path, name string, h adminHandler) {
		open(http.MethodPost, path, name, a.signedIn(func(w http.ResponseWriter, r *http.Request, by provisioning.Actor) error {
			if err := rights.Change(by); err != nil {
				return err
			}
			return h(w, r, by)
		}))
	}
	read := func(h formHandler) adminHandler {
		return func(w http.ResponseWriter, r *http.Request, by provisioning.Actor) error {
			f, err := readForm(w, r)
			if err != nil {
				return err
			}
			return h(w, r, by, f)
		}
	}
	send := func(path, name string, h formHandler) { post(path, name, read(h)) }
	// For anybody but an admin, not even the form is read.
	admins := func(path, name string, h adminHandler) {
		post(path, name, func(w http.ResponseWriter, r *http.Request, by provisioning.Actor) error {
			if err := rights.Page(by); err != nil {
				return err
			}
			return h(w, r, by)
		})
	}
	node := func(path, name string, h nodeHandler) {
		send(path, name, func(w http.ResponseWriter, r *http.Request, by provisioning.Actor, f form) error {
			mac, err := answer.MAC(r)
			if err != nil {
				return err
			}
			return h(w, r, by, mac, f)
		})
	}

	open(http.MethodGet, authn.SignInPath, "page sign in", a.signInPage)
	open(http.MethodPost, authn.SignInPath, "sign in", a.signIn)
	open(http.MethodPost, "/admin/signout", "sign out", a.signOut)
	if a.OpenID != nil {
		open(http.MethodGet, authn.OpenIDPath, "begin openid", a.beginOpenID)
		open(http.MethodGet, authn.OpenIDReturnPath, "finish openid", a.finishOpenID)
	}

	get("/admin", "page board", a.board)
	get("/admin/board/rows", "board rows", a.boardRows)
	get("/admin/discovered", "page discovered", a.discovered)
	send("/admin/discovered", "claim", a.claim)
	send("/admin/discovered/selected", "claim many", a.claimMany)
	get("/admin/discovered/{code}/qr.png", "qr code", a.claimQR)
	get("/admin/nodes", "page nodes", a.nodes)
	send("/admin/nodes", "add node", a.addNode)
	get("/admin/nodes.csv", "nodes csv", a.nodesCSV)
	send("/admin/nodes/selected", "change nodes", a.changeNodes)
	get("/admin/nodes/import", "page import", a.importPage)
	post("/admin/nodes/import", "import nodes", a.importNodes)
	get("/admin/nodes/{mac}", "page node", a.node)
	node("/admin/nodes/{mac}", "change node", a.changeNode)
	node("/admin/nodes/{mac}/remove", "remove node", a.removeNode)
	node("/admin/nodes/{mac}/once", "boot once", a.bootOnce)
	node("/admin/nodes/{mac}/enrol", "enrol node", a.enrol)
	node("/admin/nodes/{mac}/wake", "wake node", a.wakeNode)
	get("/admin/farmers", "page farmers", a.farmers)
	admins("/admin/farmers", "add farmer", read(a.addFarmer))
	admins("/admin/farmers/{id}/name", "rename farmer", read(a.renameFarmer))
	admins("/admin/farmers/{id}/remove", "remove farmer", a.removeFarmer)
	get("/admin/kernels", "page kernels", a.kernels)
	admins("/admin/kernels", "upload kernel", a.uploadKernel)
	admins("/admin/kernels/point", "point run mode", read(a.kernelAction("kernel-pointed", a.pointRunMode)))
	admins("/admin/kernels/rollback", "roll back run mode", read(a.kernelAction("kernel-back", a.rollBack)))
	admins("/admin/kernels/promote", "promote kernel", read(a.kernelAction("kernel-promoted", a.promoteKernel)))
	admins("/admin/kernels/remove", "remove kernel", read(a.kernelAction("kernel-removed", a.removeKernel)))
	get("/admin/tokens", "page tokens", a.tokens)
	admins("/admin/tokens", "add token", read(a.addToken))
	admins("/admin/tokens/{id}/remove", "remove token", a.removeToken)
	get("/admin/history", "page history", a.history)
	admins("/admin/history/{id:[0-9]+}/undo", "undo", a.undo)
	// At the address of a form a browser stays with what was refused, and may ask for it again.
	for _, path := range paths {
		r.Handle(path, a.Answer.Handle("page method", failure, answer.Accepting(accepted[path])))
	}
	r.Handle("/admin/{rest:.*}", a.Answer.Handle("page none", failure, func(http.ResponseWriter, *http.Request) error {
		return provisioning.Errorf(provisioning.NotFound, "there is no such page")
	}))
}

// sameOrigin refuses forms that a page of another site sends.
func sameOrigin(next answer.Handler) answer.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if err := authn.SameOrigin(r); err != nil {
			return err
		}
		return next(w, r)
	}
}

// maxForm is the longest form that is read, in bytes; files are not read as forms.
const maxForm = 8 << 20

// maxSignIn is the longest form that is read, in bytes, from a client that is not
// signed in: it takes memory.
const maxSignIn = 64 << 10

// signedIn lets in who is signed in, and leads everybody else to the sign-in page
// and back.
func (a *Admin) signedIn(next adminHandler) answer.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		by, err := a.Sessions.Authenticate(r)
		if err == authn.ErrNoSession {
			back := "/admin"
			if r.Method == http.MethodGet {
				back = r.URL.RequestURI()
			}
			seeOther(w, r, authn.SignInPath+"?"+url.Values{"to": {back}}.Encode())
			return nil
		}
		if err != nil {
			return err
		}
		isolate(w)
		return next(w, r, by)
	}
}

// isolate keeps windows that other sites open out of reach. Browsers heed it on TLS
// alone, and complain of it elsewhere.
func isolate(w http.ResponseWriter) { w.Header().Set("Cross-Origin-Opener-Policy", "same-origin") }

// seeOther answers a form with the page to look at next (RFC 9110 section 15.4.4).
func seeOther(w http.ResponseWriter, r *http.Request, to string) {
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// done leads to a page that says what a form did.
func done(w http.ResponseWriter, r *http.Request, page, what string) error {
	seeOther(w, r, page+"?"+url.Values{"done": {what}}.Encode())
	return nil
}

// answerForm leads to a page that says what a form did; or, where err refuses that, has the
// form's page shown again with the reason.
func answerForm(w http.ResponseWriter, r *http.Request, err error, page, what string, again func(status int, problem string) error) error {
	if err == nil {
		return done(w, r, page, what)
	}
	message, ok := notice(err)
	if !ok {
		return err
	}
	return again(answer.StatusOf(provisioning.ErrorCode(err)), message)
}

// adminFrame is the frame of an admin page. here names the entry of the second
// navigation that it belongs to.
func adminFrame(r *http.Request, by provisioning.Actor, here string) frame {
	return frame{Section: "admin", Here: here, Actor: &by, Done: whatWasDone[r.URL.Query().Get("done")]}
}

// readForm reads a form that was sent by somebody who is signed in.
func readForm(w http.ResponseWriter, r *http.Request) (form, error) {
	return readShortForm(w, r, maxForm)
}

// readShortForm reads a form of at most that many bytes.
func readShortForm(w http.ResponseWriter, r *http.Request, most int64) (form, error) {
	r.Body = http.MaxBytesReader(w, r.Body, most)
	err := r.ParseForm()
	if e, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return form{}, provisioning.Errorf(answer.TooLarge, "this form is longer than %d bytes, which is all that is accepted here", e.Limit)
	}
	if err != nil {
		return form{}, provisioning.Errorf(provisioning.Invalid, "this form cannot be read: it broke off, or is no form")
	}
	return newForm(r.PostForm), nil
}

// AdminLink serves, on plain HTTP, a page that links to [Admin] on TLS.
type AdminLink struct {
	Answer *answer.Adapter
	// AdminURL is where the admin pages are, "https://host[:port]", as reached at
	// that address of ours.
	AdminURL func(local netip.Addr) string
}

// adminLinkPage says where the admin pages are.
type adminLinkPage struct {
	frame
	URL string
}

// claimPath is where the link on a waiting node's screen leads; every other leads to the
// board, for what is in it may be a secret that was sent in the clear.
func claimPath(r *http.Request) string {
	if code, err := provisioning.ParseCode(r.URL.Query().Get("claim")); err == nil && r.URL.Path == "/admin/discovered" {
		return "/admin/discovered?claim=" + code
	}
	return "/admin"
}

// Routes adds /admin and all below it to r.
func (l AdminLink) Routes(r *mux.Router) {
	h := l.Answer.Handle("page admin link", failure, func(w http.ResponseWriter, r *http.Request) error {
		return render(w, http.StatusOK, "admin_link", adminLinkPage{frame{Section: "admin"}, l.AdminURL(answer.LocalOf(r)) + claimPath(r)})
	})
	r.Handle("/admin", h).Methods(http.MethodGet, http.MethodHead)
	r.Handle("/admin/{rest:.*}", h).Methods(http.MethodGet, http.MethodHead)
	refuse := l.Answer.Handle("admin wants TLS", failure, func(_ http.ResponseWriter, r *http.Request) error {
		return provisioning.Errorf(provisioning.Forbidden, "this wants TLS: send it to %s%.100s", l.AdminURL(answer.LocalOf(r)), r.URL.EscapedPath())
	})
	r.Handle("/admin", refuse)
	r.Handle("/admin/{rest:.*}", refuse)
}
