package registry

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode"
	"unicode/utf8"

	"farmboot/provisioning"
	"farmboot/provisioning/limiter"
	"farmboot/provisioning/rights"
	"farmboot/provisioning/story"
)

// Rules are what the rest of the appliance says about nodes.
type Rules struct {
	RunModes provisioning.RunModes
	RunMode  provisioning.RunMode // of a new node for which none is named

	// CheckNode tells why a node could not boot as it is registered: its kernel
	// command line would be refused, whatever its run mode, which RunModes decides about.
	CheckNode func(provisioning.Node) error
	// Warnings tells what is probably a mistake about a node that may be stored all
	// the same, one line each; nil: unknown.
	Warnings func(provisioning.Node) []string
	// Vendor names the maker of a network card; nil: makers are unknown.
	Vendor func(provisioning.MAC) string
	// KernelExists returns nil if there is a kernel file of that name.
	KernelExists func(name string) error
}

// Registry is where people's changes come in, from the command line and the API
// alike. It knows what may be stored, asks package rights who may, and writes the history.
// Everything it refuses is an [provisioning.Error]; a [provisioning.RoleFarmer] actor sees and edits the
// nodes of his farmer only.
type Registry struct {
	store    provisioning.Store
	rules    atomic.Pointer[Rules]
	now      func() time.Time
	unstored unstored
	// wrongCodes limits how many wrong claim codes an actor may give, by name.
	wrongCodes *limiter.Keyed[string]

	newFarmer  func(provisioning.FarmerID) // see HearFarmers; nil: nobody hears
	enrolments Enrolments                  // see EndEnrolments; nil: there are none

	importing sync.Mutex // held by a long import
	noting    sync.Mutex // held while a use is noted
}

// New returns the registry of what is in store.
func New(store provisioning.Store, rules Rules, now func() time.Time) *Registry {
	r := &Registry{
		store: store, now: now,
		wrongCodes: limiter.New[string](wrongCodesAtOnce, wrongCodeEvery, actorsKept),
		unstored:   unstored{sessions: map[provisioning.SecretsHash]provisioning.Session{}},
	}
	r.SetRules(rules)
	return r
}

// SetRules replaces the rules, for the requests from now on.
func (r *Registry) SetRules(rules Rules) { r.rules.Store(&rules) }

// HearFarmers has fn told of each farmer who is registered because a node or a token mentions
// him: a mistyped id is found only by who is told. What is rehearsed, or refused in the end,
// is told too. It is set before the registry is used.
func (r *Registry) HearFarmers(fn func(provisioning.FarmerID)) { r.newFarmer = fn }

// Enrolments keeps which nodes are to be made to trust our key for Secure Boot.
type Enrolments interface {
	// Enrolling tells whether m is to be enrolled.
	Enrolling(m provisioning.MAC) bool
	// Enrolled ends that.
	Enrolled(m provisioning.MAC) error
}

// EndEnrolments has the enrolment of a node end with its registration. It is set before the
// registry is used.
func (r *Registry) EndEnrolments(e Enrolments) { r.enrolments = e }

// endEnrolments ends the enrolments of nodes that are not registered any more, and returns whose
// it ended. Its lines of the history are of the batch of the removal.
func (r *Registry) endEnrolments(ctx context.Context, by provisioning.Actor, macs ...provisioning.MAC) (ended []provisioning.MAC, faults error) {
	for _, mac := range macs {
		if r.enrolments == nil || !r.enrolments.Enrolling(mac) {
			continue
		}
		if err := r.enrolments.Enrolled(mac); err != nil {
			faults = errors.Join(faults, fmt.Errorf("%s is removed, and is to be enrolled still: %w", mac, err))
			continue
		}
		ended = append(ended, mac)
		faults = errors.Join(faults, r.Note(ctx, by, EnrolCancel, mac.String(), nil, nil))
	}
	return ended, faults
}

// EnrolCancel is the action of the history that the enrolment of a node ended before it was
// enrolled.
const EnrolCancel = "node enrol cancel"

// Node returns a registered node.
func (r *Registry) Node(ctx context.Context, by provisioning.Actor, mac provisioning.MAC) (provisioning.Node, error) {
	return r.nodeFor(ctx, r.store, by, mac)
}

// nodeFor reads a node and refuses it to those whose it is not.
func (r *Registry) nodeFor(ctx context.Context, from provisioning.Reader, by provisioning.Actor, mac provisioning.MAC) (provisioning.Node, error) {
	n, err := from.Node(ctx, mac)
	if err != nil {
		return provisioning.Node{}, err
	}
	if err := rights.Node(by, n); err != nil {
		return provisioning.Node{}, err
	}
	return n, nil
}

// Nodes lists nodes; a farmer's own, whatever else q selects.
func (r *Registry) Nodes(ctx context.Context, by provisioning.Actor, q provisioning.NodeQuery) ([]provisioning.Node, error) {
	q, err := rights.Nodes(by, q)
	if err != nil {
		return nil, err
	}
	return r.store.Nodes(ctx, q)
}

// CountNodes tells how many Nodes would list without q's Skip and Limit.
func (r *Registry) CountNodes(ctx context.Context, by provisioning.Actor, q provisioning.NodeQuery) (int, error) {
	q, err := rights.Nodes(by, q)
	if err != nil {
		return 0, err
	}
	return r.store.CountNodes(ctx, q)
}

// Unconfigured lists the run modes of nodes that cannot boot because the configuration does not
// have them, any more for instance; of a farmer's own nodes, for him.
func (r *Registry) Unconfigured(ctx context.Context, by provisioning.Actor) ([]provisioning.Unconfigured, error) {
	return r.unconfigured(ctx, by, provisioning.NodeQuery{Booting: true, UpTo: provisioning.MostUnconfigured + 1})
}

// UnconfiguredModes is Unconfigured by name, with those whose nodes all boot from their disk: all
// that CheckFilter accepts besides those of the configuration.
func (r *Registry) UnconfiguredModes(ctx context.Context, by provisioning.Actor) ([]provisioning.RunMode, error) {
	list, err := r.unconfigured(ctx, by, provisioning.NodeQuery{UpTo: 1})
	modes := make([]provisioning.RunMode, len(list))
	for i, u := range list {
		modes[i] = u.RunMode
	}
	return modes, err
}

// unconfigured lists the run modes, of the nodes that q selects, that the configuration does not
// have.
func (r *Registry) unconfigured(ctx context.Context, by provisioning.Actor, q provisioning.NodeQuery) (list []provisioning.Unconfigured, err error) {
	if q, err = rights.Nodes(by, q); err != nil {
		return nil, err
	}
	used, err := r.store.RunModes(ctx)
	if err != nil {
		return nil, err
	}
	known := r.rules.Load().RunModes
	for _, mode := range used {
		if known.Check(mode) == nil {
			continue
		}
		q.RunMode = mode
		n, err := r.store.CountNodes(ctx, q)
		if err != nil {
			return nil, err
		}
		if n > 0 {
			list = append(list, provisioning.Unconfigured{RunMode: mode, Nodes: n})
		}
	}
	return list, nil
}

// CheckFilter refuses a run mode to list nodes by that the configuration does not have, unless
// nodes do: they are to be found, and given another one.
func (r *Registry) CheckFilter(ctx context.Context, by provisioning.Actor, m provisioning.RunMode) error {
	unknown := r.rules.Load().RunModes.Check(m)
	if unknown == nil {
		return nil
	}
	n, err := r.CountNodes(ctx, by, provisioning.NodeQuery{RunMode: m, UpTo: 1})
	if err != nil || n > 0 {
		return err
	}
	return provisioning.Errorf(provisioning.Invalid, "%w", unknown)
}

// AllNodes goes through what Nodes would list; see [provisioning.ListNodes].
func (r *Registry) AllNodes(ctx context.Context, by provisioning.Actor, q provisioning.NodeQuery) iter.Seq2[provisioning.Node, error] {
	return r.listFor(by).All(ctx, q)
}

// NodePages is AllNodes by the page.
func (r *Registry) NodePages(ctx context.Context, by provisioning.Actor, q provisioning.NodeQuery) iter.Seq2[[]provisioning.Node, error] {
	return r.listFor(by).Pages(ctx, q)
}

func (r *Registry) listFor(by provisioning.Actor) provisioning.ListNodes {
	return func(ctx context.Context, q provisioning.NodeQuery) ([]provisioning.Node, error) {
		return r.Nodes(ctx, by, q)
	}
}

// AddNode registers a node and returns it as stored. One that is registered
// already is a [provisioning.Conflict]. A farmer who is not registered becomes so, without a
// name.
func (r *Registry) AddNode(ctx context.Context, by provisioning.Actor, n provisioning.Node) (provisioning.Node, error) {
	err := r.store.Update(ctx, func(tx provisioning.Tx) (err error) {
		if err := r.mayAdd(ctx, tx, by, n.MAC); err != nil {
			return err
		}
		n, err = r.add(ctx, tx, by, n)
		return err
	})
	return n, err
}

// mayAdd refuses a machine that was seen booting here to a farmer: see [rights.Unclaimed].
func (r *Registry) mayAdd(ctx context.Context, tx provisioning.Tx, by provisioning.Actor, mac provisioning.MAC) error {
	if rights.All(by) {
		return nil
	}
	switch _, err := tx.Node(ctx, mac); {
	case err == nil:
		return nil // registered already, which is refused for itself
	case provisioning.ErrorCode(err) != provisioning.NotFound:
		return err
	}
	switch _, err := tx.Seen(ctx, mac); {
	case err == nil:
		return rights.Unclaimed(by, mac)
	case provisioning.ErrorCode(err) != provisioning.NotFound:
		return err
	}
	return nil
}

func (r *Registry) add(ctx context.Context, tx provisioning.Tx, by provisioning.Actor, n provisioning.Node) (provisioning.Node, error) {
	if err := unregistered(ctx, tx, by, n.MAC); err != nil {
		return provisioning.Node{}, err
	}
	return r.addNew(ctx, tx, by, n)
}

// unregistered refuses a node that is registered.
func unregistered(ctx context.Context, from provisioning.Reader, by provisioning.Actor, mac provisioning.MAC) error {
	switch n, err := from.Node(ctx, mac); {
	case err == nil:
		return registered(by, n)
	case provisioning.ErrorCode(err) != provisioning.NotFound:
		return err
	}
	return nil
}

// registered is the refusal of a node that is registered. It tells those who may know it whose
// the node is.
func registered(by provisioning.Actor, n provisioning.Node) error {
	whose := ""
	switch {
	case !rights.Owns(by, n.Farmer):
	case n.Farmer == 0:
		whose = ", without a farmer"
	default:
		whose = ", to farmer " + n.Farmer.String()
	}
	return provisioning.Errorf(provisioning.Conflict, "node %s %w%s", n.MAC, ErrRegistered, whose)
}

// addNew stores a node that is known not to be registered.
func (r *Registry) addNew(ctx context.Context, tx provisioning.Tx, by provisioning.Actor, n provisioning.Node) (provisioning.Node, error) {
	n.Farmer = cmp.Or(n.Farmer, rights.Bound(by))
	n.RunMode = cmp.Or(n.RunMode, r.rules.Load().RunMode)
	n.Created = r.now()
	return r.put(ctx, tx, by, "node add", nil, n)
}

// SetNode changes a registered node and returns it as stored.
func (r *Registry) SetNode(ctx context.Context, by provisioning.Actor, mac provisioning.MAC, patch provisioning.NodePatch) (provisioning.Node, error) {
	var n provisioning.Node
	err := r.store.Update(ctx, func(tx provisioning.Tx) (err error) {
		n, err = r.set(ctx, tx, by, mac, patch)
		return err
	})
	return n, err
}

func (r *Registry) set(ctx context.Context, tx provisioning.Tx, by provisioning.Actor, mac provisioning.MAC, patch provisioning.NodePatch) (provisioning.Node, error) {
	old, err := r.nodeFor(ctx, tx, by, mac)
	if err != nil {
		return provisioning.Node{}, err
	}
	n := patch.Apply(old)
	if n == old {
		return old, nil
	}
	return r.put(ctx, tx, by, "node set", &old, n)
}

// put checks and stores a node; old is what it replaces, nil for a new one.
func (r *Registry) put(ctx context.Context, tx provisioning.Tx, by provisioning.Actor, action string, old *provisioning.Node, n provisioning.Node) (provisioning.Node, error) {
	if err := r.check(by, old, n); err != nil {
		return provisioning.Node{}, err
	}
	if n.Farmer != 0 {
		var err error
		if ctx, err = r.ensureFarmer(ctx, tx, by, n.Farmer); err != nil {
			return provisioning.Node{}, err
		}
	}
	n.Updated = r.now()
	if old == nil || old.Farmer != n.Farmer {
		n.Owned = n.Updated
	}
	if err := tx.PutNode(ctx, n); err != nil {
		return provisioning.Node{}, err
	}
	var before any // stays nil for a nil *Node
	if old != nil {
		before = old
	}
	return n, r.changed(ctx, tx, by, action, n.MAC.String(), before, n)
}

// check refuses a node that by may not have so, or that could not boot.
func (r *Registry) check(by provisioning.Actor, old *provisioning.Node, n provisioning.Node) error {
	if n.MAC.IsZero() {
		return provisioning.Errorf(provisioning.Invalid, "a node needs its MAC address")
	}
	if err := rights.Register(by, n); err != nil {
		return err
	}
	if err := checkName(n.Name); err != nil {
		return err
	}
	if err := n.NBP.Check(); err != nil {
		return err
	}
	// A run mode that has gone since must not stand in the way of other changes.
	if old == nil || n.RunMode != old.RunMode {
		if err := r.rules.Load().RunModes.Check(n.RunMode); err != nil {
			return provisioning.Errorf(provisioning.Invalid, "%w", err) // what is not found is not the node
		}
	}
	if err := r.rules.Load().CheckNode(n); err != nil {
		return provisioning.Errorf(provisioning.Invalid, "%w", err)
	}
	// Nor must a kernel.
	if n.Kernel != "" && (old == nil || n.Kernel != old.Kernel) {
		if err := r.rules.Load().KernelExists(n.Kernel); err != nil {
			return provisioning.Errorf(provisioning.Invalid, "%w", err)
		}
	}
	if n.Once != "" && n.Once != provisioning.OnceExit && (old == nil || n.Once != old.Once) {
		once := n
		once.Kernel = n.Once
		if err := cmp.Or(r.rules.Load().KernelExists(n.Once), r.rules.Load().CheckNode(once)); err != nil {
			return provisioning.Errorf(provisioning.Invalid, "%w", err)
		}
	}
	return nil
}

// maxName is how many bytes a name of a node or farmer may have: a line's worth.
const maxName = 200

func checkName(name string) error {
	switch {
	case len(name) > maxName:
		return provisioning.Errorf(provisioning.Invalid, "bad name: %d bytes long, at most %d are accepted", len(name), maxName)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool {
		// The last ones turn a list on a screen around, or break its lines.
		return unicode.IsControl(r) || unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp)
	}):
		return provisioning.Errorf(provisioning.Invalid, "bad name %q: accepted is one line of printable text", provisioning.Clip(name, 40))
	}
	return nil
}

// SetNodes makes one change to many nodes, all or none, and returns them as stored.
func (r *Registry) SetNodes(ctx context.Context, by provisioning.Actor, macs []provisioning.MAC, patch provisioning.NodePatch) ([]provisioning.Node, error) {
	nodes := make([]provisioning.Node, len(macs))
	err := r.each(ctx, macs, "changed", func(ctx context.Context, tx provisioning.Tx, i int) (err error) {
		nodes[i], err = r.set(ctx, tx, by, macs[i], patch)
		return err
	})
	return nodes, err
}

// each does something with each of many nodes, all or none. did is what was not done where
// it is refused.
func (r *Registry) each(ctx context.Context, macs []provisioning.MAC, did string, do func(ctx context.Context, tx provisioning.Tx, i int) error) error {
	ctx = together(ctx)
	err := r.store.Update(ctx, func(tx provisioning.Tx) error {
		for i := range macs {
			if err := do(ctx, tx, i); err != nil {
				return err
			}
		}
		return nil
	})
	if refusal(err) && len(macs) > 1 {
		return provisioning.Errorf(provisioning.ErrorCode(err), "nothing was %s: %w", did, err)
	}
	return err
}

// RemoveNode unregisters a node, and ends its enrolment. What happened to it stays in the
// history.
func (r *Registry) RemoveNode(ctx context.Context, by provisioning.Actor, mac provisioning.MAC) error {
	if r.enrolments != nil && r.enrolments.Enrolling(mac) {
		ctx = together(ctx)
	}
	err := r.store.Update(ctx, func(tx provisioning.Tx) error { return r.remove(ctx, tx, by, mac) })
	if err == nil {
		_, err = r.endEnrolments(ctx, by, mac)
	}
	return err
}

// RemoveNodes unregisters nodes, all or none: none if one of them is not registered
// or is not by's. One that is named twice is removed once.
func (r *Registry) RemoveNodes(ctx context.Context, by provisioning.Actor, macs []provisioning.MAC) error {
	macs = slices.Compact(slices.SortedFunc(slices.Values(macs), provisioning.MAC.Compare))
	ctx = together(ctx)
	err := r.each(ctx, macs, "removed", func(ctx context.Context, tx provisioning.Tx, i int) error {
		return r.remove(ctx, tx, by, macs[i])
	})
	if err == nil {
		_, err = r.endEnrolments(ctx, by, macs...)
	}
	return err
}

func (r *Registry) remove(ctx context.Context, tx provisioning.Tx, by provisioning.Actor, mac provisioning.MAC) error {
	old, err := r.nodeFor(ctx, tx, by, mac)
	if err != nil {
		return err
	}
	if err := tx.DeleteNode(ctx, mac); err != nil {
		return err
	}
	if err := r.unclaim(ctx, tx, by, mac); err != nil {
		return err
	}
	return r.changed(ctx, tx, by, "node rm", mac.String(), old, nil)
}

// storyEvents is how many events of a node are read for the story of its last boot: a
// boot has a dozen, and a node that keeps asking some hundreds.
const storyEvents = 500

// NodeEvents returns the newest events of one MAC address, oldest first: as many as
// the story of its last boot may need, and so of some before. A farmer gets those of
// his nodes.
func (r *Registry) NodeEvents(ctx context.Context, by provisioning.Actor, mac provisioning.MAC) ([]provisioning.Event, error) {
	return r.Events(ctx, by, provisioning.EventQuery{MAC: mac, Limit: storyEvents, Last: true})
}

// Story tells how the last boot of one MAC address went. A farmer is told of his
// nodes.
func (r *Registry) Story(ctx context.Context, by provisioning.Actor, mac provisioning.MAC) (story.Story, error) {
	events, err := r.NodeEvents(ctx, by, mac)
	if err != nil {
		return story.Story{}, err
	}
	return story.Tell(events, r.now()), nil
}

// Events returns events. A farmer gets those of his nodes, since they are his.
func (r *Registry) Events(ctx context.Context, by provisioning.Actor, q provisioning.EventQuery) ([]provisioning.Event, error) {
	var n provisioning.Node
	if !q.MAC.IsZero() {
		var err error
		if n, err = r.followed(ctx, by, q.MAC); err != nil {
			return nil, err
		}
	}
	q, err := rights.Events(by, q, n)
	if err != nil {
		return nil, err
	}
	return r.store.Events(ctx, q)
}

// Concerns tells whether by may be told of e: a farmer is of what his nodes do.
func (r *Registry) Concerns(ctx context.Context, by provisioning.Actor, e provisioning.Event) bool {
	n, err := r.followed(ctx, by, e.MAC)
	return err == nil && !e.At.Before(rights.Since(by, n))
}

// followed refuses to tell of mac (zero: of all) to those whose it is not. To a farmer
// it returns the node.
func (r *Registry) followed(ctx context.Context, by provisioning.Actor, mac provisioning.MAC) (provisioning.Node, error) {
	if rights.All(by) {
		return provisioning.Node{}, nil
	}
	if mac.IsZero() {
		return provisioning.Node{}, rights.Follow(by)
	}
	return r.nodeFor(ctx, r.store, by, mac)
}

// NodeHistory returns who changed a node, newest first, at most limit of them. A farmer
// gets the changes since it is his, the first of which does not tell what it was before.
func (r *Registry) NodeHistory(ctx context.Context, by provisioning.Actor, mac provisioning.MAC, limit int) ([]provisioning.Change, error) {
	n, err := r.followed(ctx, by, mac)
	if err != nil {
		return nil, err
	}
	changes, err := r.store.Changes(ctx, provisioning.ChangeQuery{Subject: mac.String(), Limit: limit})
	provisioning.MarkUndone(changes)
	if rights.All(by) || err != nil {
		return changes, err
	}
	return changesOf(n.Farmer, changes), nil
}

// History returns changes, newest first. A subject that is a MAC address may be in any notation.
func (r *Registry) History(ctx context.Context, by provisioning.Actor, q provisioning.ChangeQuery) ([]provisioning.Change, error) {
	if err := rights.Admin(by, "read the history"); err != nil {
		return nil, err
	}
	mac, noMAC := provisioning.ParseMAC(q.Subject)
	if noMAC == nil {
		q.Subject = mac.String()
	}
	changes, err := r.store.Changes(ctx, q)
	provisioning.MarkUndone(changes)
	// Eleven digits: neither a farmer's id nor a date has as many.
	if err == nil && len(changes) == 0 && noMAC != nil && provisioning.MeantAsMAC(q.Subject, 11) {
		err = noMAC
	}
	return changes, err
}

// changed writes a line of the history; before and after may be nil. Every change of
// this package has one, so here is where whoever may only read is refused.
func (r *Registry) changed(ctx context.Context, tx provisioning.Tx, by provisioning.Actor, action, subject string, before, after any) error {
	if err := rights.Change(by); err != nil {
		return err
	}
	c := provisioning.Change{At: r.now(), Actor: by.Name, From: by.From, Action: action, Subject: subject, Batch: batchOf(ctx), Undoes: undoes(ctx, subject)}
	for _, side := range []struct {
		to   *json.RawMessage
		from any
	}{{&c.Before, before}, {&c.After, after}} {
		if side.from == nil {
			continue
		}
		text, err := json.Marshal(side.from)
		if err != nil {
			return err
		}
		*side.to = text
	}
	return tx.AddChange(ctx, c)
}
