// Package rollout knows what each run mode booted before, goes back to it, and tries a
// kernel on a few nodes first.
//
// All of it is in the history of changes, which two appliances may share and which
// outlives every restart: who gave a run mode which kernel, and the canary that was begun
// last and has not ended. What nodes do with a candidate is told by their boot events.
package rollout

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"farmboot/ipxe/kernel"
	"farmboot/provisioning"
)

// Rollout decides on the kernels of run modes. Its methods are safe for concurrent use,
// by several processes too.
type Rollout struct {
	store   Store
	kernels *kernel.Store
	editor  *kernel.Editor
	now     func() time.Time

	mu      sync.Mutex
	known   map[provisioning.RunMode]lastCanary
	watched map[provisioning.RunMode]*watch // what Look has seen so far
}

// Store is what a Rollout needs of a [provisioning.Store].
type Store interface {
	provisioning.Reader
	DecisionsVersion() uint64
}

// lastCanary is the canary of a run mode as the store said last.
type lastCanary struct {
	canary  *Canary // nil: there is none
	version uint64  // as long as the store has that; 0: it must be asked
}

// New returns a Rollout of those kernels, whose history is in store.
func New(store Store, kernels *kernel.Store, editor *kernel.Editor, now func() time.Time) *Rollout {
	r := &Rollout{
		store: store, kernels: kernels, editor: editor, now: now,
		known: make(map[provisioning.RunMode]lastCanary), watched: make(map[provisioning.RunMode]*watch),
	}
	editor.Guard(r.needs)
	return r
}

// needs is the editor's [kernel.Needed].
func (r *Rollout) needs(ctx context.Context, name string, steps int) error {
	modes, err := r.modes()
	if err != nil {
		return err
	}
	for _, m := range modes {
		c, err := r.Canary(ctx, m)
		if err != nil {
			return err
		}
		if c != nil && c.Kernel == name {
			return provisioning.Errorf(provisioning.Conflict, "kernel %s is in use: run mode %s tries it on some nodes; farmboot kernel promote %[2]s or farmboot kernel rollback %[2]s ends that", name, m)
		}
		if steps == 0 {
			continue
		}
		_, back, err := r.former(ctx, m)
		if err != nil {
			return err
		}
		for _, g := range back[:min(steps, len(back))] {
			if g.Kernel == name {
				return provisioning.Errorf(provisioning.Conflict, "kernel %s is in use: run mode %s would go back to it", name, m)
			}
		}
	}
	return nil
}

// GoesBackTo lists the run modes whose next rollback would give them that kernel.
func (r *Rollout) GoesBackTo(ctx context.Context, name string) (those []provisioning.RunMode, err error) {
	modes, err := r.modes()
	if err != nil {
		return nil, err
	}
	for _, m := range modes {
		_, back, err := r.former(ctx, m)
		if err != nil {
			return nil, err
		}
		if len(back) > 0 && back[0].Kernel == name {
			those = append(those, m)
		}
	}
	return those, nil
}

// modes lists the run modes that boot something.
func (r *Rollout) modes() (modes []provisioning.RunMode, err error) {
	defaults, err := r.kernels.Defaults()
	for _, d := range defaults {
		if m, ok := kernel.ModeOf(d.Name); ok {
			modes = append(modes, m)
		}
	}
	return modes, err
}

// Generation is a kernel that a run mode booted from some time on.
type Generation struct {
	RunMode provisioning.RunMode `json:"runmode"`
	Kernel  string               `json:"kernel"` // name of the file; "" if it has none in the kernel folder
	SHA256  string               `json:"sha256"`
	Since   time.Time            `json:"since,omitzero"` // zero: not known, it was put there by hand
	By      string               `json:"by"`
	Boots   int                  `json:"boots"`    // kernels that went out whole
	Failed  int                  `json:"failures"` // those whose node netbooted again before it was up
}

// identity is how the history tells a kernel.
type identity struct {
	Target string `json:"target"`
	SHA256 string `json:"sha256"`
}

// historyLimit is how many changes of a run mode are looked at.
const historyLimit = 200

// changed is a line of the history by which a run mode got a kernel.
type changed struct {
	Generation
	rollback bool
}

// lines returns a run mode's lines, oldest first. What boots now is the last, be it in
// the history or not.
func (r *Rollout) lines(ctx context.Context, m provisioning.RunMode) ([]changed, error) {
	changes, err := r.store.Changes(ctx, provisioning.ChangeQuery{Subject: kernel.DefaultOf(m), Limit: historyLimit})
	if err != nil {
		return nil, err
	}
	var list []changed
	for _, c := range slices.Backward(changes) {
		var after identity
		if json.Unmarshal(c.After, &after) != nil || after.SHA256 == "" {
			continue
		}
		if len(list) == 0 { // what was there before anything was written down
			var before identity
			if json.Unmarshal(c.Before, &before) == nil && before.SHA256 != "" {
				list = append(list, changed{Generation: Generation{RunMode: m, Kernel: nameOf(before), SHA256: before.SHA256, By: "by hand"}})
			}
		}
		list = append(list, changed{Generation{RunMode: m, Kernel: nameOf(after), SHA256: after.SHA256, Since: c.At, By: c.Actor}, c.Action == ActionRollback})
	}
	sum, err := r.kernels.SHA256(kernel.DefaultOf(m))
	if err == nil && (len(list) == 0 || list[len(list)-1].SHA256 != sum) {
		// Where it booted that before, somebody went back: by hand, or by a rollback that was
		// killed before it was written down. The next rollback goes further back then.
		now := Generation{RunMode: m, Kernel: r.kernels.FileOf(kernel.DefaultOf(m)), SHA256: sum, By: "by hand"}
		list = append(list, changed{now, slices.ContainsFunc(list, func(c changed) bool { return c.SHA256 == sum })})
	}
	if err != nil && provisioning.ErrorCode(err) != provisioning.NotFound {
		return nil, err
	}
	return list, nil
}

// nameOf is the file that a link's text names.
func nameOf(i identity) string { return i.Target[strings.LastIndexByte(i.Target, '/')+1:] }

// History returns what a run mode booted, newest first; the first is what it boots now.
func (r *Rollout) History(ctx context.Context, m provisioning.RunMode) ([]Generation, error) {
	lines, err := r.lines(ctx, m)
	if err != nil {
		return nil, err
	}
	list := make([]Generation, 0, len(lines))
	for _, l := range slices.Backward(lines) {
		list = append(list, l.Generation)
	}
	return list, r.count(ctx, m, list)
}

// Record is what a run mode boots, booted and tried.
type Record struct {
	RunMode     provisioning.RunMode `json:"runmode"`
	Canary      *Canary              `json:"canary,omitempty"` // what it tries, and how that fared so far
	Generations []Generation         `json:"generations"`      // newest first; the first is what it boots now
	Dropped     []Dropped            `json:"dropped,omitempty"`
}

// Dropped is a canary that ended without being promoted.
type Dropped struct {
	Canary
	Until   time.Time `json:"until"`
	EndedBy string    `json:"ended_by"`
}

// Record returns a run mode's.
func (r *Rollout) Record(ctx context.Context, m provisioning.RunMode) (rec Record, err error) {
	rec.RunMode = m
	if rec.Generations, err = r.History(ctx, m); err != nil {
		return rec, err
	}
	if rec.Canary, err = r.Canary(ctx, m); err != nil {
		return rec, err
	}
	if err := r.Fared(ctx, rec.Canary); err != nil {
		return rec, err
	}
	changes, err := r.store.Changes(ctx, provisioning.ChangeQuery{Subject: subject(m), Limit: historyLimit})
	for _, c := range changes {
		d := Dropped{Until: c.At, EndedBy: c.Actor}
		if c.Action != actionPromote && len(c.Before) > 0 && json.Unmarshal(c.Before, &d.Canary) == nil {
			rec.Dropped = append(rec.Dropped, d)
		}
	}
	return rec, err
}

// Rollback gives a run mode the kernel that it booted before this one, and returns both.
// Going back twice goes back two steps, not to and fro. A kernel that is not here any more
// is passed over.
func (r *Rollout) Rollback(ctx context.Context, by provisioning.Actor, m provisioning.RunMode) (from, to Generation, err error) {
	from, to, err = r.Before(ctx, m)
	if err != nil {
		return from, to, err
	}
	// Whatever its header says: it is what was booted.
	return from, to, r.editor.PointFor(ctx, by, ActionRollback, m, to.Kernel, true)
}

// Before returns what a run mode boots, and what Rollback would give it.
func (r *Rollout) Before(ctx context.Context, m provisioning.RunMode) (from, to Generation, err error) {
	from, back, err := r.former(ctx, m)
	if err != nil {
		return from, to, err
	}
	if len(back) == 0 {
		return from, to, provisioning.Errorf(provisioning.NotFound, "run mode %s has nothing to go back to: no other kernel that it booted is still here (farmboot kernel history %[1]s); farmboot kernel use %[1]s KERNEL gives it one", m)
	}
	return from, back[0], nil
}

// former returns what a run mode boots, and what is still here of what it would go back
// to: the next rollback gives it the first, the one after that the second.
func (r *Rollout) former(ctx context.Context, m provisioning.RunMode) (from Generation, back []Generation, err error) {
	lines, err := r.lines(ctx, m)
	if err != nil {
		return from, nil, err
	}
	var stack []Generation
	for _, l := range lines {
		if i := slices.IndexFunc(stack, func(g Generation) bool { return g.SHA256 == l.SHA256 }); i >= 0 && (l.rollback || i == len(stack)-1) {
			stack = stack[:i]
		}
		stack = append(stack, l.Generation)
	}
	if len(stack) > 0 {
		from, stack = stack[len(stack)-1], stack[:len(stack)-1]
	}
	for _, g := range slices.Backward(stack) {
		name, ok := r.find(g)
		if !ok {
			continue
		}
		g.Kernel = name
		back = append(back, g)
	}
	return from, back, nil
}

// Back takes back a kernel that a run mode tries on some nodes; where it tries none, it is
// Rollback. It tells in one line what it did.
func (r *Rollout) Back(ctx context.Context, by provisioning.Actor, m provisioning.RunMode) (string, error) {
	c, err := r.Canary(ctx, m)
	if err != nil {
		return "", err
	}
	if c != nil {
		_, err := r.TakeBack(ctx, by, m)
		return fmt.Sprintf("run mode %s does not try %s any more", m, c.Kernel), err
	}
	from, to, err := r.Rollback(ctx, by, m)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("run mode %s boots %s again, not %s", m, to.Kernel, from.Kernel), nil
}

// find returns the name of the file here that has a generation's content.
func (r *Rollout) find(g Generation) (string, bool) {
	for _, name := range []string{g.Kernel, kernel.ByDigest(g.RunMode, g.SHA256)} {
		if sum, err := r.kernels.SHA256(name); err == nil && sum == g.SHA256 {
			return name, true
		}
	}
	return "", false
}

// Canary is a kernel that is tried on a few nodes of a run mode.
type Canary struct {
	RunMode provisioning.RunMode `json:"runmode"`
	Kernel  string               `json:"kernel"`
	SHA256  string               `json:"sha256"`
	Former  string               `json:"former"` // SHA-256 of what the run mode boots meanwhile
	// Nodes boot it, and those whose place in the run mode is below Share.
	Nodes []provisioning.MAC `json:"nodes,omitempty"`
	Share float64            `json:"share,omitempty"` // 0 to 1
	Known int                `json:"known"`           // how many nodes that we know boot it
	Since time.Time          `json:"since"`
	By    string             `json:"by"`
	// What came of it so far.
	Booted int `json:"booted"`
	Proven int `json:"proven"`
	Failed int `json:"failures"`
	// FailedNodes are those whose boots failed.
	FailedNodes []provisioning.MAC `json:"failed_nodes,omitempty"`
}

// What the history calls what is done with the kernel of a run mode.
const (
	ActionRollback = "kernel rollback"
	ActionTaken    = "kernel taken back"
	actionCanary   = "kernel canary"
	actionPromote  = "kernel promote"
)

// subject is what the history calls a run mode's canary.
func subject(m provisioning.RunMode) string { return provisioning.CanarySubject + string(m) }

// Canary returns the canary of a run mode; nil if there is none.
func (r *Rollout) Canary(ctx context.Context, m provisioning.RunMode) (*Canary, error) {
	c, _, err := r.last(ctx, m)
	return c, err
}

// last returns the canary of a run mode and the line of the history that began it; if there
// is none, the line that ended the last one, with the zero id for no line.
func (r *Rollout) last(ctx context.Context, m provisioning.RunMode) (*Canary, provisioning.Change, error) {
	last, err := r.store.Changes(ctx, provisioning.ChangeQuery{Subject: subject(m), Limit: 1})
	if err != nil || len(last) == 0 {
		return nil, provisioning.Change{}, err
	}
	if len(last[0].After) == 0 {
		return nil, last[0], nil
	}
	c := new(Canary)
	if err := json.Unmarshal(last[0].After, c); err != nil {
		return nil, last[0], fmt.Errorf("read the canary of run mode %s: %w", m, err)
	}
	c.Since, c.By = last[0].At, last[0].Actor
	return c, last[0], nil
}

// assignLimit is how long a node waits to be told whether there is a candidate for it.
const assignLimit = 500 * time.Millisecond

// Current is Canary for a node or somebody who waits: where the store does not answer in
// time, what it answered last.
func (r *Rollout) Current(ctx context.Context, m provisioning.RunMode) *Canary {
	version := r.store.DecisionsVersion() // before the question
	r.mu.Lock()
	last := r.known[m]
	r.mu.Unlock()
	if version != 0 && last.version == version {
		return last.canary
	}
	ctx, cancel := context.WithTimeout(ctx, assignLimit)
	defer cancel()
	c, err := r.Canary(ctx, m)
	if err != nil {
		return last.canary
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.known[m] = lastCanary{c, version}
	return c
}

// Selects tells whether a node boots the candidate. A node keeps its side.
func (c *Canary) Selects(mac provisioning.MAC) bool {
	return slices.Contains(c.Nodes, mac) || rank(c.RunMode, c.SHA256, mac) < c.Share
}

// rank is the place of a node in its run mode, from 0 to 1, another one for each kernel so
// that not always the same nodes try the next.
func rank(m provisioning.RunMode, sum string, mac provisioning.MAC) float64 {
	h := sha256.Sum256(fmt.Appendf(nil, "%s %s %s", m, sum, mac))
	return float64(binary.BigEndian.Uint64(h[:])>>11) / (1 << 53)
}

// Assign gives a node that boots its run mode's default the candidate, where there is one
// and it is for that node.
func (r *Rollout) Assign(ctx context.Context, a provisioning.Assignment) provisioning.Assignment {
	if a.Policy != provisioning.Boot || a.Node.Kernel != "" {
		return a
	}
	c := r.Current(ctx, a.Node.RunMode)
	if c == nil || !c.Selects(a.Node.MAC) || r.kernels.Available(ctx, c.Kernel) != nil {
		return a // what all others boot
	}
	if sum, err := r.kernels.SHA256(c.Kernel); err == nil && sum != c.SHA256 {
		return a // another file has its name by now
	}
	a.Node.Kernel, a.Candidate = c.Kernel, true
	return a
}

// Start tries a kernel on some nodes of a run mode: "5" of those that we know, "5%" of
// all, or those of a list of MAC addresses. A canary that is there is replaced.
func (r *Rollout) Start(ctx context.Context, by provisioning.Actor, m provisioning.RunMode, name, which string) (*Canary, error) {
	if err := r.kernels.Check(name); err != nil {
		if provisioning.ErrorCode(err) != provisioning.NotFound {
			return nil, err
		}
		if err := r.editor.Take(ctx, name); err != nil {
			return nil, err
		}
	}
	sum, err := r.kernels.SHA256(name)
	if err != nil {
		return nil, err
	}
	former, err := r.kernels.SHA256(kernel.DefaultOf(m))
	if err != nil {
		return nil, provisioning.Errorf(provisioning.Conflict, "run mode %s has no kernel that the other nodes could boot meanwhile: farmboot kernel use %[1]s %s", m, name)
	}
	c := &Canary{RunMode: m, Kernel: name, SHA256: sum, Former: former, Since: r.now(), By: by.Name}
	if err := r.choose(ctx, c, which); err != nil {
		return nil, err
	}
	if former == sum {
		return nil, provisioning.Errorf(provisioning.Conflict, "run mode %s boots the same as %s already, byte by byte", m, name)
	}
	old, err := r.Canary(ctx, m)
	if err != nil {
		return nil, err
	}
	if old != nil {
		return c, r.end(ctx, by, actionCanary, old, c)
	}
	return c, r.editor.Note(ctx, by, actionCanary, subject(m), nil, c)
}

// end notes the end of a canary, with how its nodes fared, and what comes instead, nil for
// nothing.
func (r *Rollout) end(ctx context.Context, by provisioning.Actor, action string, c *Canary, next any) error {
	_ = r.Fared(ctx, c) // it ends all the same
	return r.editor.Note(ctx, by, action, subject(c.RunMode), c, next)
}

// choose reads which nodes are meant.
func (r *Rollout) choose(ctx context.Context, c *Canary, which string) error {
	bad := provisioning.Errorf(provisioning.Invalid, "bad canary %.80q: accepted are a number of nodes, as 5, a share of them, as 5%%, or MAC addresses with commas between them", which)
	if share, ok := strings.CutSuffix(which, "%"); ok {
		p, err := strconv.ParseFloat(share, 64)
		if err != nil || !(p > 0 && p <= 100) {
			return bad
		}
		c.Share = p / 100
		known, err := r.ranked(ctx, c)
		if err != nil {
			return err
		}
		// One of them at least. A larger share would have as many of those that are not
		// registered try it.
		if len(known) > 0 && !c.Selects(known[0]) {
			c.Nodes = known[:1]
		}
		for _, mac := range known {
			if c.Selects(mac) {
				c.Known++
			}
		}
		return nil
	}
	_, notOne := provisioning.ParseMAC(which) // 525400000001 is no number of nodes
	if n, err := strconv.Atoi(which); err == nil && notOne != nil {
		known, err := r.ranked(ctx, c)
		switch {
		case err != nil:
			return err
		case n < 1:
			return bad
		case len(known) < n:
			return provisioning.Errorf(provisioning.Invalid, "%d nodes are to try it, but of the registered ones only %d boot the default of run mode %s: name fewer, or a share, as 5%%", n, len(known), c.RunMode)
		}
		c.Nodes, c.Known = known[:n], n
		return nil
	}
	for s := range strings.SplitSeq(which, ",") {
		mac, err := provisioning.ParseMAC(strings.TrimSpace(s))
		switch {
		case err != nil && provisioning.MeantAsMAC(s, 11):
			return err
		case err != nil:
			return bad
		}
		switch n, err := r.store.Node(ctx, mac); {
		case provisioning.ErrorCode(err) == provisioning.NotFound: // it may boot by default
		case err != nil:
			return err
		case n.RunMode != c.RunMode:
			return provisioning.Errorf(provisioning.Invalid, "node %s boots run mode %s, and would not try a kernel of run mode %s", mac, n.RunMode, c.RunMode)
		case n.Kernel != "":
			return provisioning.Errorf(provisioning.Invalid, "node %s has a kernel of its own, %s, and would not try another: farmboot node set %[1]s --kernel \"\" takes that away", mac, n.Kernel)
		}
		if !slices.Contains(c.Nodes, mac) {
			c.Nodes = append(c.Nodes, mac)
		}
	}
	c.Known = len(c.Nodes)
	return nil
}

// ranked lists the registered nodes that boot a run mode's default, by their rank.
func (r *Rollout) ranked(ctx context.Context, c *Canary) ([]provisioning.MAC, error) {
	var macs []provisioning.MAC
	for n, err := range provisioning.ListNodes(r.store.Nodes).All(ctx, provisioning.NodeQuery{RunMode: c.RunMode}) {
		if err != nil {
			return nil, err
		}
		if n.Kernel == "" {
			macs = append(macs, n.MAC)
		}
	}
	slices.SortFunc(macs, func(a, b provisioning.MAC) int {
		return cmp.Compare(rank(c.RunMode, c.SHA256, a), rank(c.RunMode, c.SHA256, b))
	})
	return macs, nil
}

// Use gives a run mode a kernel, for all of its nodes. A canary ends with that: what it
// tries must not take the place of what somebody chose since.
func (r *Rollout) Use(ctx context.Context, by provisioning.Actor, m provisioning.RunMode, name string, force bool) error {
	if err := r.editor.Point(ctx, by, m, name, force); err != nil {
		return err
	}
	c, err := r.Canary(ctx, m)
	if err != nil || c == nil {
		return err
	}
	action := ActionTaken
	if c.Kernel == name {
		action = actionPromote
	}
	return r.end(ctx, by, action, c, nil)
}

// Promote gives the candidate to all nodes of its run mode.
func (r *Rollout) Promote(ctx context.Context, by provisioning.Actor, m provisioning.RunMode) (*Canary, error) {
	c, err := r.existing(ctx, m)
	if err != nil {
		return nil, err
	}
	// The run mode first: where we are killed in between, the canary is promoted again.
	if err := r.give(ctx, by, c); err != nil {
		return nil, err
	}
	return c, r.end(ctx, by, actionPromote, c, nil)
}

// give makes the candidate what the run mode boots here.
func (r *Rollout) give(ctx context.Context, by provisioning.Actor, c *Canary) error {
	if err := r.editor.Take(ctx, c.Kernel); err != nil {
		return err
	}
	if err := r.same(c); err != nil {
		return err
	}
	return r.editor.PointFor(ctx, by, kernel.ActionLink, c.RunMode, c.Kernel, false)
}

// same returns an error where another file than the one that is tried has its name.
func (r *Rollout) same(c *Canary) error {
	sum, err := r.kernels.SHA256(c.Kernel)
	if err == nil && sum != c.SHA256 {
		return provisioning.Errorf(provisioning.Conflict, "kernel %s is another one than that which was tried: farmboot kernel use %s %[1]s, if it is the right one", c.Kernel, c.RunMode)
	}
	return err
}

// TakeBack ends a canary: its nodes boot what all others do.
func (r *Rollout) TakeBack(ctx context.Context, by provisioning.Actor, m provisioning.RunMode) (*Canary, error) {
	c, err := r.existing(ctx, m)
	if err != nil {
		return nil, err
	}
	return c, r.end(ctx, by, ActionTaken, c, nil)
}

func (r *Rollout) existing(ctx context.Context, m provisioning.RunMode) (*Canary, error) {
	c, err := r.Canary(ctx, m)
	if err == nil && c == nil {
		return nil, provisioning.Errorf(provisioning.NotFound, "run mode %s tries no kernel: farmboot kernel use %[1]s KERNEL --canary 5%% does", m)
	}
	return c, err
}
