package pages

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"slices"

	"farmboot/http/answer"
	"farmboot/ipxe"
	"farmboot/provisioning"
	"farmboot/provisioning/registry"
	"farmboot/provisioning/rights"
	"farmboot/provisioning/story"
)

const (
	nodeBoots = 10 // how many boots of a node its page tells of
	nodeLines = 50 // … and how many lines of its history
)

// nodePage is /admin/nodes/MAC.
type nodePage struct {
	frame
	form
	Problem     string
	Row         boardRow
	Networks    []choice
	Kernels     []choice
	Farmer      provisioning.FarmerID // whose node it is bound to be; 0: as the form says
	Boots       []story.Story         // the last first
	Seen        *provisioning.Discovered
	Gets        nextBoot
	Once        string // what its next boot alone gets
	OnceChoices []choice
	Enrols      bool // nodes can be made to trust our key, for Secure Boot
	Enrolling   bool // this one is to be, at its next boot
	History     []historyLine
}

// nextBoot is what a node would get now.
type nextBoot struct {
	Policy provisioning.Policy
	Once   bool   // it is not the usual
	Code   string // its claim code
	Report *ipxe.Report
	Script string
	Kernel string // path below /kernel/
	Wrong  string // why it would be refused
	Mend   bool   // because that kernel is missing
}

func (a *Admin) node(w http.ResponseWriter, r *http.Request, by provisioning.Actor) error {
	mac, err := answer.MAC(r)
	if err != nil {
		return err
	}
	return a.showNode(w, r, by, mac, http.StatusOK, form{}, "")
}

// showNode shows a node's page, with a form that has mistakes or (its zero value)
// with what is stored.
func (a *Admin) showNode(w http.ResponseWriter, r *http.Request, by provisioning.Actor, mac provisioning.MAC, status int, f form, problem string) error {
	n, err := a.Registry.Node(r.Context(), by, mac)
	registered := err == nil
	if provisioning.ErrorCode(err) == provisioning.NotFound && rights.All(by) {
		n, err = provisioning.Node{MAC: mac}, nil
	}
	if err != nil {
		return err
	}
	events, err := a.Registry.NodeEvents(r.Context(), by, mac)
	if err != nil {
		return err
	}
	page := nodePage{
		frame: adminFrame(r, by, "nodes"), form: f, Problem: problem,
		Farmer: rights.Bound(by), Row: rowOf(n, registered, events, a.Now()), Boots: story.Boots(events, a.Now(), nodeBoots),
	}
	if f.Values == nil {
		page.form = newForm(nodeValues(n))
	}
	if page.Networks, page.Kernels, err = a.nodeChoices(r); err != nil {
		return err
	}
	if registered {
		page.Networks = keep(page.Networks, string(n.RunMode), unconfiguredMode)
	}
	page.Kernels = keep(page.Kernels, n.Kernel, "missing")
	page.Once = n.Once
	page.OnceChoices = append([]choice{{Value: "", Title: "The usual"}, {Value: provisioning.OnceExit, Title: "Its own disk: the next boot device"}}, page.Kernels[1:]...)
	if a.Enrolment != nil {
		page.Enrols, page.Enrolling = true, a.Enrolment.Enrolling(mac)
	}
	if d, err := a.Registry.Seen(r.Context(), by, mac); err == nil {
		page.Seen = &d
	}
	if page.Gets, err = a.nextBoot(r, mac); err != nil {
		return err
	}
	changes, err := a.Registry.NodeHistory(r.Context(), by, mac, nodeLines)
	if err != nil {
		return err
	}
	for i := range changes {
		page.History = append(page.History, lineOf(changes[i:i+1]))
	}
	return render(w, status, "node", page)
}

// unconfiguredMode is why a run mode is none of the choices.
const unconfiguredMode = "not in the configuration"

// keep adds a value to the choices that is none of them any more, and why: without it the form would
// show another one as the node's.
func keep(choices []choice, value, why string) []choice {
	if slices.ContainsFunc(choices, func(c choice) bool { return c.Value == value }) {
		return choices
	}
	return append(choices, choice{Value: value, Title: value + " (" + why + ")"})
}

// nodeValues is a node as its form shows it.
func nodeValues(n provisioning.Node) url.Values {
	v := url.Values{"runmode": {string(n.RunMode)}, "runmode-before": {string(n.RunMode)}, "args": {n.Args}, "kernel": {n.Kernel}, "kernel-before": {n.Kernel}, "name": {n.Name}, "nbp": {string(n.NBP)}}
	if n.Farmer != 0 {
		v.Set("farmer", n.Farmer.String())
	}
	if n.Exit {
		v.Set("exit", "1")
	}
	return v
}

// nextBoot tells what a node would get now.
func (a *Admin) nextBoot(r *http.Request, mac provisioning.MAC) (nextBoot, error) {
	as, err := a.Assignment(r.Context(), mac)
	if err != nil {
		return nextBoot{}, err
	}
	o := nextBoot{Policy: as.Policy, Once: as.Once, Code: as.Code}
	if as.Policy != provisioning.Boot {
		return o, nil
	}
	site := a.Site(answer.LocalOf(r))
	target := ipxe.NodeTarget(as.Node)
	report := site.Check(target)
	o.Report, o.Kernel = &report, target.KernelPath()
	gets, err := site.Answer(as, a.Kernels.WithUpstream())
	if err != nil {
		return o, err
	}
	o.Script, o.Mend = string(gets.Script), lacksKernel(gets.Event.Cause)
	o.Wrong, _ = notice(gets.Refusal)
	if e, ok := errors.AsType[*provisioning.Error](gets.Refusal); ok && o.Mend {
		o.Wrong = e.Message // a link says what to do
	}
	return o, nil
}

// changeNode changes a node, or registers one that was only seen.
func (a *Admin) changeNode(w http.ResponseWriter, r *http.Request, by provisioning.Actor, mac provisioning.MAC, f form) error {
	n, err := a.readNode(r, f)
	if err != nil {
		return err
	}
	n.Farmer = cmp.Or(rights.Bound(by), n.Farmer)
	if len(f.Errors) > 0 {
		return a.showNode(w, r, by, mac, http.StatusBadRequest, f, "")
	}
	what := "node-changed"
	_, err = a.Registry.SetNode(r.Context(), by, mac, n.patch())
	if provisioning.ErrorCode(err) == provisioning.NotFound {
		what = "node-added"
		_, err = a.Registry.AddNode(r.Context(), by, n.patch().Apply(provisioning.Node{MAC: mac}))
	}
	return answerForm(w, r, err, "/admin/nodes/"+mac.String(), what, func(status int, problem string) error {
		return a.showNode(w, r, by, mac, status, f, problem)
	})
}

// bootOnce chooses what a node's next boot alone gets.
func (a *Admin) bootOnce(w http.ResponseWriter, r *http.Request, by provisioning.Actor, mac provisioning.MAC, f form) error {
	_, err := a.Registry.SetNode(r.Context(), by, mac, provisioning.NodePatch{Once: new(f.Text("once"))})
	return answerForm(w, r, err, "/admin/nodes/"+mac.String(), "node-once", func(status int, problem string) error {
		return a.showNode(w, r, by, mac, status, form{}, problem)
	})
}

// enrol has a node enrolled for Secure Boot at its next boot, or takes that back.
func (a *Admin) enrol(w http.ResponseWriter, r *http.Request, by provisioning.Actor, mac provisioning.MAC, f form) error {
	if a.Enrolment == nil {
		return provisioning.Errorf(provisioning.Conflict, "Secure Boot is off here: set [secure-boot] enabled = true in the configuration, and start the appliance anew")
	}
	if _, err := a.Registry.Node(r.Context(), by, mac); err != nil {
		return err
	}
	did, action := "node-enrol", "node enrol"
	if f.Text("enrol") == "" {
		did, action = "node-enrol-off", registry.EnrolCancel
		a.Enrolment.Enrolled(mac)
	} else if err := a.Enrolment.Enrol(mac); err != nil {
		return err
	}
	if err := a.Registry.Note(r.Context(), by, action, mac.String(), nil, nil); err != nil {
		return err
	}
	return done(w, r, "/admin/nodes/"+mac.String(), did)
}

// wakeNode wakes a registered node.
func (a *Admin) wakeNode(w http.ResponseWriter, r *http.Request, by provisioning.Actor, mac provisioning.MAC, _ form) error {
	err := a.wake(r, by, []provisioning.MAC{mac})
	if provisioning.ErrorCode(err) == provisioning.NotFound {
		return err
	}
	return answerForm(w, r, err, "/admin/nodes/"+mac.String(), "node-woken", func(status int, problem string) error {
		return a.showNode(w, r, by, mac, status, form{}, problem)
	})
}

func (a *Admin) removeNode(w http.ResponseWriter, r *http.Request, by provisioning.Actor, mac provisioning.MAC, _ form) error {
	if err := a.Registry.RemoveNode(r.Context(), by, mac); err != nil {
		return err
	}
	return done(w, r, "/admin/nodes", "node-removed")
}
