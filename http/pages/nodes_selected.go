package pages

import (
	"net/http"
	"strings"

	"farmboot/http/answer"
	"farmboot/ipxe"
	"farmboot/provisioning"
)

// changeNodes changes or removes the nodes that were selected, all or none.
func (a *Admin) changeNodes(w http.ResponseWriter, r *http.Request, by provisioning.Actor, f form) error {
	page := nodesPage{form: f, Changing: true, Selected: map[string]bool{}}
	for _, mac := range f.Values["mac"] {
		page.Selected[mac] = true
	}
	macs, err := a.selected(r, by, f)
	if err != nil {
		return err
	}
	what := "nodes-changed"
	switch f.Text("action") {
	case "remove":
		what = "nodes-removed"
		err = a.removeAll(r, by, macs)
	case "wake":
		what = "nodes-woken"
		err = a.wake(r, by, macs)
	default:
		err = a.changeAll(r, by, f, macs)
	}
	message, ok := notice(err)
	if !ok {
		return err
	}
	if message == "" && len(f.Errors) == 0 {
		return done(w, r, "/admin/nodes", what)
	}
	page.Problem = message
	return a.showNodes(w, r, by, http.StatusBadRequest, page)
}

// selected lists the nodes that a form names: those that were ticked, or all that
// the filter shows.
func (a *Admin) selected(r *http.Request, by provisioning.Actor, f form) ([]provisioning.MAC, error) {
	if f.Text("all") != "" {
		found, err := a.filtered(r.Context(), by, newForm(r.URL.Query()))
		return provisioning.MACsOf(found), err
	}
	var macs []provisioning.MAC
	for _, s := range f.Values["mac"] {
		mac, err := provisioning.ParseMAC(s)
		if err != nil {
			return nil, err
		}
		macs = append(macs, mac)
	}
	return macs, nil
}

const (
	errNoneSelected = "no node is selected: tick some of them first"
	errNoneClaimed  = "no machine is selected: tick some of them first"
)

// changeAll makes one change to many nodes. A field that is empty leaves them as
// they are.
func (a *Admin) changeAll(r *http.Request, by provisioning.Actor, f form, macs []provisioning.MAC) error {
	patch := a.readPatch(r, f)
	switch {
	case len(f.Errors) > 0:
		return nil
	case len(macs) == 0:
		return provisioning.Errorf(provisioning.Invalid, "%s", errNoneSelected)
	case patch == provisioning.NodePatch{}:
		return provisioning.Errorf(provisioning.Invalid, "nothing to change: fill in at least one field")
	}
	_, err := a.Registry.SetNodes(r.Context(), by, macs, patch)
	return err
}

// readPatch reads a change to many nodes.
func (a *Admin) readPatch(r *http.Request, f form) provisioning.NodePatch {
	var p provisioning.NodePatch
	switch s := f.Text("farmer"); s {
	case "":
	case "0":
		p.Farmer = new(provisioning.FarmerID)
	default:
		p.Farmer = new(f.farmer("farmer"))
	}
	if f.Text("runmode") != "" {
		p.RunMode = new(f.runMode(a.Site(answer.LocalOf(r)).RunModes, ""))
	}
	switch args := f.Text("args"); {
	case f.Text("args-none") != "":
		p.Args = new(string)
	case args != "":
		if err := ipxe.CheckArgs(args); err != nil {
			f.Errors["args"] = answer.PublicMessage(err)
		}
		p.Args = &args
	}
	switch k := f.Text("kernel"); k {
	case "":
	case takeAway:
		p.Kernel = new(string)
	default:
		p.Kernel = &k
	}
	switch nbp := f.Text("nbp"); nbp {
	case "":
	case takeAway:
		p.NBP = new(provisioning.NBP)
	default:
		p.NBP = (*provisioning.NBP)(&nbp)
	}
	return p
}

// takeAway is the choice of nothing in a form where an empty field means that nothing
// is to change.
const takeAway = "-"

// removeAll removes nodes.
func (a *Admin) removeAll(r *http.Request, by provisioning.Actor, macs []provisioning.MAC) error {
	if len(macs) == 0 {
		return provisioning.Errorf(provisioning.Invalid, "%s", errNoneSelected)
	}
	return a.Registry.RemoveNodes(r.Context(), by, macs)
}

// wake wakes nodes, all or none: by must be allowed to see each of them.
func (a *Admin) wake(r *http.Request, by provisioning.Actor, macs []provisioning.MAC) error {
	if len(macs) == 0 {
		return provisioning.Errorf(provisioning.Invalid, "%s", errNoneSelected)
	}
	nodes, err := a.found(r.Context(), by, provisioning.NodeQuery{Among: macs})
	if err != nil {
		return err
	}
	for _, mac := range macs {
		if _, ok := nodes[mac]; !ok {
			return provisioning.Errorf(provisioning.NotFound, "no node %s is registered: none was woken", mac)
		}
	}
	return a.Wake(macs)
}

// isList tells whether text is a list of MAC addresses rather than CSV.
func isList(text string) bool {
	head, _, _ := strings.Cut(strings.TrimSpace(strings.TrimPrefix(text, "\ufeff")), "\n")
	// The reader of CSV says what is wrong with other separators than the comma.
	for column := range strings.FieldsFuncSeq(strings.ToLower(head), func(r rune) bool { return strings.ContainsRune(",;\t", r) }) {
		if strings.Trim(column, " \"\r") == "mac" {
			return false
		}
	}
	return true
}
