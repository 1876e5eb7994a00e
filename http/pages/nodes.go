package pages

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"

	"farmboot/http/answer"
	"farmboot/ipxe"
	"farmboot/provisioning"
	"farmboot/provisioning/registry"
	"farmboot/provisioning/rights"
)

// nodesSize is how many nodes a page of the list has.
const nodesSize = 200

// nodesPage is /admin/nodes.
type nodesPage struct {
	frame
	form             // of a new node, or of a change to the selected ones
	Filter    form   // what is shown
	Changing  bool   // the form is a change to the selected ones
	Problem   string // with the form as a whole
	Nodes     []provisioning.Node
	Machines  map[provisioning.MAC]provisioning.Discovered
	Selected  map[string]bool
	Networks  []choice
	Kernels   []choice
	RunModes  []choice // to filter by: Networks, and what other run modes nodes have
	ExportURL string
	Pager     pager
	Farmer    provisioning.FarmerID // whose nodes these are; 0: everybody's
}

// Leave is what an empty choice means in a change to many nodes.
func (nodesPage) Leave() string { return leaveAsItIs }

// TakesAway tells whether such a change can take things away.
func (nodesPage) TakesAway() bool { return true }

// nodeFields are the fields that a node's form and a change have in common.
type nodeFields struct {
	Farmer  provisioning.FarmerID
	RunMode provisioning.RunMode
	Args    string
	Kernel  string
	Name    string
	NBP     provisioning.NBP
	Exit    bool
}

// nodes lists nodes.
func (a *Admin) nodes(w http.ResponseWriter, r *http.Request, by provisioning.Actor) error {
	return a.showNodes(w, r, by, http.StatusOK, nodesPage{form: newForm(url.Values{})})
}

// showNodes shows the list, with a form that has mistakes or none.
func (a *Admin) showNodes(w http.ResponseWriter, r *http.Request, by provisioning.Actor, status int, page nodesPage) error {
	page.frame = adminFrame(r, by, "nodes")
	page.Filter = newForm(r.URL.Query())
	q, all, err := a.filter(r.Context(), by, page.Filter)
	if err != nil {
		return err
	}
	page.Pager, q.Skip = pageOf(r.URL, all, nodesSize)
	if q.Limit = nodesSize; all > 0 {
		if page.Nodes, err = a.Registry.Nodes(r.Context(), by, q); err != nil {
			return err
		}
		if page.Machines, err = a.Registry.Machines(r.Context(), by, provisioning.MACsOf(page.Nodes)); err != nil {
			return err
		}
	}
	if page.Networks, page.Kernels, err = a.nodeChoices(r); err != nil {
		return err
	}
	gone, err := a.Registry.UnconfiguredModes(r.Context(), by)
	if err != nil {
		return err
	}
	page.RunModes = slices.Clone(page.Networks)
	for _, m := range gone {
		page.RunModes = keep(page.RunModes, string(m), unconfiguredMode)
	}
	page.Farmer = rights.Bound(by)
	page.ExportURL = "/admin/nodes.csv?" + page.Filter.Encode()
	if len(page.Filter.Errors) > 0 {
		status = http.StatusBadRequest
	}
	return render(w, status, "nodes", page)
}

// filter returns what a filter selects, and how many nodes those are. Mistakes in it
// are its errors, and then it shows none.
func (a *Admin) filter(ctx context.Context, by provisioning.Actor, f form) (q provisioning.NodeQuery, all int, err error) {
	q = provisioning.NodeQuery{RunMode: provisioning.RunMode(f.Text("runmode")), Farmer: f.farmer("farmer"), Text: f.Text("q")}
	q.Farmer = cmp.Or(rights.Bound(by), q.Farmer)
	if len(f.Errors) > 0 {
		return q, 0, nil
	}
	if all, err = a.Registry.CountNodes(ctx, by, q); err != nil || all > 0 || q.Text == "" {
		return q, all, err
	}
	// What is no text of a node may be twelve digits, or the beginning of them.
	if macs, bad := provisioning.ParseMACPrefix(q.Text); bad == nil {
		q.Text, q.MACs = "", macs
		all, err = a.Registry.CountNodes(ctx, by, q)
	}
	return q, all, err
}

// filtered lists the nodes that a filter shows, all of them.
func (a *Admin) filtered(ctx context.Context, by provisioning.Actor, f form) ([]provisioning.Node, error) {
	q, all, err := a.filter(ctx, by, f)
	if err != nil || all == 0 {
		return nil, err
	}
	return a.Registry.Nodes(ctx, by, q)
}

// nodeChoices are the run modes and kernels that a node may have.
func (a *Admin) nodeChoices(r *http.Request) (modes, kernels []choice, err error) {
	modes = networks(a.Kernels, a.Site(answer.LocalOf(r)).RunModes, "")
	for i := range modes {
		modes[i].Title += " (" + modes[i].Value + ")"
	}
	kernels, err = kernelChoices(a.Kernels)
	return modes, kernels, err
}

// readNode reads the fields of a node; mistakes are the form's errors.
func (a *Admin) readNode(r *http.Request, f form) (nodeFields, error) {
	_, kernels, err := a.nodeChoices(r)
	if err != nil {
		return nodeFields{}, err
	}
	modes := a.Site(answer.LocalOf(r)).RunModes
	n := nodeFields{
		Farmer:  f.farmer("farmer"),
		RunMode: provisioning.RunMode(f.Text("runmode-before")),
		Args:    f.Text("args"), Name: f.Text("name"),
		Kernel: f.Text("kernel"),
		NBP:    provisioning.NBP(f.oneOf("nbp", "", nbps)),
		Exit:   f.Text("exit") != "",
	}
	// A run mode or a kernel that is gone may stay with its node: the registry knows.
	if m := f.Text("runmode"); m == "" || m != string(n.RunMode) {
		n.RunMode = f.runMode(modes, first(modes.Keywords()))
	}
	if f.Text("kernel") != f.Text("kernel-before") {
		n.Kernel = f.oneOf("kernel", "", kernels)
	}
	if err := ipxe.CheckArgs(n.Args); err != nil {
		f.Errors["args"] = answer.PublicMessage(err)
	}
	return n, nil
}

func (n nodeFields) patch() provisioning.NodePatch {
	return provisioning.NodePatch{Farmer: &n.Farmer, RunMode: &n.RunMode, Args: &n.Args, Kernel: &n.Kernel, Name: &n.Name, NBP: &n.NBP, Exit: &n.Exit}
}

// mac reads a MAC address.
func (f form) mac(field string) provisioning.MAC {
	mac, err := provisioning.ParseMAC(f.Get(field))
	if err != nil {
		f.Errors[field] = answer.PublicMessage(err)
	}
	return mac
}

func (a *Admin) addNode(w http.ResponseWriter, r *http.Request, by provisioning.Actor, f form) error {
	mac := f.mac("mac")
	n, err := a.readNode(r, f)
	if err != nil {
		return err
	}
	page := nodesPage{form: f}
	if len(f.Errors) == 0 {
		_, err := a.Registry.AddNode(r.Context(), by, n.patch().Apply(provisioning.Node{MAC: mac}))
		if err == nil {
			return done(w, r, "/admin/nodes/"+mac.String(), "node-added")
		}
		var ok bool
		if page.Problem, ok = notice(err); !ok {
			return err
		}
		if provisioning.ErrorCode(err) == provisioning.Conflict {
			f.Errors["mac"], page.Problem = page.Problem, ""
		}
	}
	return a.showNodes(w, r, by, http.StatusBadRequest, page)
}

// nodesCSV sends what the filter shows.
func (a *Admin) nodesCSV(w http.ResponseWriter, r *http.Request, by provisioning.Actor) error {
	f := newForm(r.URL.Query())
	found, err := a.filtered(r.Context(), by, f)
	if err != nil {
		return err
	}
	extra, err := a.Registry.CSVExtra(r.Context(), by, f.Text("machines") != "")
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "text/csv; charset=utf-8")
	h.Set("Content-Disposition", `attachment; filename="nodes.csv"`)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	return registry.WriteCSV(w, func(yield func(provisioning.Node, error) bool) {
		for _, n := range found {
			if !yield(n, nil) {
				return
			}
		}
	}, extra)
}
