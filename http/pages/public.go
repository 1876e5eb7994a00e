package pages

import (
	"net/http"
	"net/netip"
	"net/url"

	"github.com/gorilla/mux"

	"farmboot/http/answer"
	"farmboot/ipxe"
	"farmboot/ipxe/catalog"
	"farmboot/ipxe/kernel"
	"farmboot/provisioning"
	"farmboot/provisioning/cause"
)

// Pages is the part that needs no signing in. All fields are required but those that say
// otherwise.
type Pages struct {
	Answer *answer.Adapter
	// Site is the appliance as a node sees it; see http.Boot.
	Site    func(local netip.Addr) ipxe.Site
	Kernels *kernel.Store
	// Describe tells what an order gets; see [catalog.Catalog.Describe].
	Describe func(catalog.Order) (catalog.Download, error)
	// Strange tells whether somebody asks from outside the networks that our own address is
	// in, while no other is configured; nil: nobody does.
	Strange func(peer netip.Addr) bool
	// SecureBoot says that images carry shim and what we signed; false: they do not.
	SecureBoot bool
}

// Routes adds /, /generate, /expert, /images, /help and /static/… to r.
func (p *Pages) Routes(r *mux.Router) {
	get := func(path, name string, h answer.Handler) {
		r.Handle(path, p.Answer.Handle(name, failure, h)).Methods(http.MethodGet, http.MethodHead)
	}
	get("/", "page download", p.download)
	get("/generate", "page download", p.download)
	get("/expert", "page expert", p.expert)
	get("/images", "page images", p.images)
	get("/help{name:(?:/[^/]*)?}", "page help", p.help)
	get("/static/{name}", "static", static)
	get("/{code:[0-9A-Z]{6}}", "claim link", claimLink)
	get("/favicon.ico", "favicon", func(w http.ResponseWriter, r *http.Request) error {
		to, err := assetURL("logo.svg")
		if err == nil {
			http.Redirect(w, r, to, http.StatusFound)
		}
		return err
	})
}

// claimLink leads from the short address on a waiting node's screen to where its code is
// claimed.
func claimLink(w http.ResponseWriter, r *http.Request) error {
	code, err := provisioning.ParseCode(mux.Vars(r)["code"])
	if err != nil {
		return provisioning.Errorf(provisioning.NotFound, "%w", err)
	}
	seeOther(w, r, "/admin/discovered?"+url.Values{"claim": {code}}.Encode())
	return nil
}

// networks are the run modes to choose from. One without a kernel is marked, not
// left out: the image works as soon as there is one.
func networks(kernels *kernel.Store, modes provisioning.RunModes, selected provisioning.RunMode) []choice {
	var cs []choice
	for _, m := range modes.Ordered() {
		lack, doubt := kernels.Judge(m)
		c := choice{Value: string(m), Title: modes[m], Checked: m == selected, Doubt: doubt}
		if lack != nil {
			c.Missing, c.Broken = lack.Why(), lack.Broken()
		}
		cs = append(cs, c)
	}
	return cs
}

// product is what an order gets, or why it cannot be had.
type product struct {
	Order    catalog.Order
	Download *catalog.Download
	Problem  string // why there is no download
	NoKernel string // why there is nothing to boot: what its run mode, or its kernel, lacks
	Base     string // URL by which nodes reach us
	Strange  bool   // who asks may not be able to: see [Pages]

	SecureBoot bool // it carries shim and what we signed
}

// Medium is [medium] of what was ordered.
func (p product) Medium() string { return medium(p.Order.Kind) }

// order looks up what an order gets. The error is a fault of ours.
func (p *Pages) order(r *http.Request, o catalog.Order, site ipxe.Site) (product, error) {
	got := product{Order: o, Base: site.Base, SecureBoot: p.SecureBoot}
	got.Strange = p.Strange != nil && p.Strange(answer.PeerOf(r))
	if err := p.Kernels.Available(r.Context(), o.Target.KernelPath()); err != nil {
		got.NoKernel = cause.Lack(err)
		return got, nil
	}
	d, err := p.Describe(o)
	if err == nil {
		got.Download = &d
		return got, nil
	}
	message, ok := notice(err)
	if !ok {
		return got, err
	}
	got.Problem = message
	return got, nil
}

// statusOf is the status of a page with a form: a page whose form has mistakes in
// it is a refusal.
func statusOf(f form) int {
	if len(f.Errors) > 0 {
		return http.StatusBadRequest
	}
	return http.StatusOK
}
