package pages

import (
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/gorilla/mux"
	"rsc.io/qr"

	"farmboot/http/answer"
	"farmboot/provisioning"
	"farmboot/provisioning/rights"
	"farmboot/provisioning/story"
)

// discoveredShown is how many machines a page lists.
const discoveredShown = 200

// discoveredPage is /admin/discovered.
type discoveredPage struct {
	frame
	form     // of the claim
	Problem  string
	Machines []discoveredMachine
	Pager    pager
	Networks []choice
	Kernels  []choice
	Farmer   provisioning.FarmerID // whose node it becomes; 0: as the form says
	Selected map[string]bool       // those that a form to claim many names
	Many     bool                  // the form is to claim many
	ByCode   bool                  // machines are claimed by the code on their screens only
	Codes    bool                  // they show one
}

// Leave is what an empty choice means for machines that are claimed.
func (discoveredPage) Leave() string { return theDefault }

// Blank is the page with the fields of its forms empty: its other form was sent.
func (p discoveredPage) Blank() discoveredPage {
	p.form = newForm(nil)
	return p
}

// TakesAway tells whether a claim takes things away.
func (discoveredPage) TakesAway() bool { return false }

// discoveredMachine is a machine that is not registered.
type discoveredMachine struct {
	provisioning.Discovered
	Cannot string // why nothing of ours can boot it; "": as far as is known it can boot
}

func (a *Admin) discovered(w http.ResponseWriter, r *http.Request, by provisioning.Actor) error {
	f := newForm(url.Values{})
	switch mac, code, err := provisioning.ParseClaim(r.URL.Query().Get("claim")); {
	case err != nil: // a link of nobody's
	case code != "":
		f.Set("machine", code)
	default:
		f.Set("machine", mac.String())
	}
	return a.showDiscovered(w, r, by, http.StatusOK, discoveredPage{form: f})
}

func (a *Admin) showDiscovered(w http.ResponseWriter, r *http.Request, by provisioning.Actor, status int, page discoveredPage) (err error) {
	page.frame = adminFrame(r, by, "discovered")
	page.Farmer, page.ByCode = rights.Bound(by), !rights.All(by)
	if !page.ByCode {
		all, err := a.Registry.Discovered(r.Context(), by, 0)
		if err != nil {
			return err
		}
		page.Pager, all = paged(r.URL, all, discoveredShown)
		for _, d := range all {
			m := discoveredMachine{Discovered: d}
			if s := story.Tell(a.Board.Events(d.MAC, time.Time{}), a.Now()); s.Unbootable {
				m.Cannot = s.Verdict
			}
			page.Machines = append(page.Machines, m)
		}
	}
	// What any machine gets that is not registered, as that with the zero address.
	stranger, err := a.Assignment(r.Context(), provisioning.MAC{})
	if err != nil {
		return err
	}
	page.Codes = stranger.Policy == provisioning.Hold
	if page.Networks, page.Kernels, err = a.nodeChoices(r); err != nil {
		return err
	}
	return render(w, status, "discovered", page)
}

// claim registers a machine, by its MAC address or by the code on its screen.
func (a *Admin) claim(w http.ResponseWriter, r *http.Request, by provisioning.Actor, f form) error {
	n, err := a.readNode(r, f)
	if err != nil {
		return err
	}
	page := discoveredPage{form: f}
	if _, _, err := provisioning.ParseClaim(f.Get("machine")); err != nil {
		switch {
		case !rights.All(by):
			f.Errors["machine"] = badCode
		case f.Text("machine") == "":
			f.Errors["machine"] = badMachine
		default:
			f.Errors["machine"] = answer.PublicMessage(err)
		}
	}
	if len(f.Errors) > 0 {
		return a.showDiscovered(w, r, by, http.StatusBadRequest, page)
	}
	claimed, err := a.Registry.Claim(r.Context(), by, f.Get("machine"), n.patch())
	if err == nil {
		return done(w, r, "/admin/nodes/"+claimed.MAC.String(), "node-claimed")
	}
	message, ok := notice(err)
	if !ok {
		return err
	}
	code := provisioning.ErrorCode(err)
	if code == provisioning.NotFound || code == provisioning.Conflict {
		f.Errors["machine"] = message
	} else {
		page.Problem = message
	}
	return a.showDiscovered(w, r, by, answer.StatusOf(code), page)
}

// claimMany registers the machines that were ticked, all or none.
func (a *Admin) claimMany(w http.ResponseWriter, r *http.Request, by provisioning.Actor, f form) error {
	page := discoveredPage{form: f, Many: true, Selected: map[string]bool{}}
	var macs []provisioning.MAC
	for _, s := range f.Values["mac"] {
		mac, err := provisioning.ParseMAC(s)
		if err != nil {
			return err
		}
		page.Selected[mac.String()] = true
		macs = append(macs, mac)
	}
	patch := a.readPatch(r, f)
	if len(f.Errors) > 0 {
		return a.showDiscovered(w, r, by, http.StatusBadRequest, page)
	}
	if len(macs) == 0 {
		page.Problem = errNoneClaimed
		return a.showDiscovered(w, r, by, http.StatusBadRequest, page)
	}
	err := a.Registry.ClaimAll(r.Context(), by, macs, patch)
	if err == nil {
		return done(w, r, "/admin/discovered", "nodes-claimed")
	}
	message, ok := notice(err)
	if !ok {
		return err
	}
	page.Problem = message
	return a.showDiscovered(w, r, by, answer.StatusOf(provisioning.ErrorCode(err)), page)
}

// claimQR draws the URL at which a person in front of a machine claims it.
func (a *Admin) claimQR(w http.ResponseWriter, r *http.Request, _ provisioning.Actor) error {
	code, err := provisioning.ParseCode(mux.Vars(r)["code"])
	if err != nil {
		return err
	}
	drawn, err := qr.Encode(a.Site(answer.LocalOf(r)).ClaimURL(code), qr.M)
	if err != nil {
		return fmt.Errorf("draw QR code: %w", err)
	}
	h := w.Header()
	h.Set("Content-Type", "image/png")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	_, err = w.Write(drawn.PNG())
	return err
}
