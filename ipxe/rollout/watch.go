package rollout

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"time"

	"farmboot/ipxe/kernel"
	"farmboot/provisioning"
	"farmboot/provisioning/pause"
)

// trial is how long after its kernel a node must not have netbooted again, to be no
// failure before it was up, and to be proven after.
const trial = 10 * time.Minute

// outcome is what a node made of a kernel.
type outcome struct {
	at     time.Time // when the kernel went out
	up     bool
	failed bool
}

// judge follows events, oldest first, of nodes that get a kernel whose path is rel.
type judge struct {
	rel     string
	since   time.Time
	selects func(provisioning.MAC) bool // nil: all
	strict  bool                        // silence and crashes after up are failures too
	last    map[provisioning.MAC]outcome
	again   map[provisioning.MAC]bool // was up, and netbooted again within the trial
	bad     map[provisioning.MAC]bool // had failures
	boots   int
	failed  int
}

// newJudge returns the judge of a canary. It is strict: most kernels that crash wait for
// two hours (panic=7200) before they netboot again, so that a node of which nothing is
// heard for ten minutes counts as failed; and so does one that netboots again soon after
// it was up, for the second time in a row.
func newJudge(c *Canary) *judge {
	return &judge{
		rel: c.Kernel, since: c.Since, selects: c.Selects, strict: true,
		last: map[provisioning.MAC]outcome{}, again: map[provisioning.MAC]bool{}, bad: map[provisioning.MAC]bool{},
	}
}

// see takes one event in.
func (j *judge) see(e provisioning.Event) {
	if e.MAC.IsZero() || e.At.Before(j.since) || j.selects != nil && !j.selects(e.MAC) {
		return
	}
	o, pending := j.last[e.MAC]
	switch e.Stage {
	case provisioning.StageKernel:
		if e.File == j.rel && (e.Size == 0 || e.Bytes >= e.Size) {
			if !pending || o.up || o.failed { // not the same boot's next try
				j.boots++
			}
			j.last[e.MAC] = outcome{at: e.At}
		} else if pending {
			delete(j.last, e.MAC) // it boots something else by now
		}
	case provisioning.StageUp:
		if pending && !o.failed {
			o.up = true
			j.last[e.MAC] = o
		}
	case provisioning.StageDiscover, provisioning.StageNBP, provisioning.StageScript:
		if pending && !o.failed {
			j.netboots(e.MAC, o, e.At.Sub(o.at) >= trial)
		}
	}
}

// netboots takes in that a node netboots again, which had its kernel before: more than a
// trial before, or less.
func (j *judge) netboots(mac provisioning.MAC, o outcome, late bool) {
	fails := !o.up && (!late || j.strict)
	if o.up && j.strict {
		switch {
		case late:
			delete(j.again, mac)
			return // it has proven it, and is told to boot again
		case j.again[mac]:
			fails = true
		default: // somebody may have told it to: no failure, and no proof either
			j.again[mac] = true
		}
	}
	switch {
	case fails:
		o.failed = true
		j.failed++
		j.last[mac] = o
		if j.bad != nil {
			j.bad[mac] = true
		}
	case !late:
		delete(j.last, mac)
	}
}

// tell writes into c how its nodes fared.
func (j *judge) tell(c *Canary, now time.Time) {
	c.Booted, c.Proven, c.Failed = len(j.last), 0, j.failed
	bad := maps.Clone(j.bad)
	for mac, o := range j.last {
		switch {
		case o.failed || now.Sub(o.at) < trial:
		case o.up: // and it has not netbooted again
			c.Proven++
		default: // silent: slow, or dead
			c.Failed++
			bad[mac] = true
		}
	}
	c.FailedNodes = slices.SortedFunc(maps.Keys(bad), provisioning.MAC.Compare)
}

// count tells, as far as the events of boots do, how generations fared, newest first.
func (r *Rollout) count(ctx context.Context, m provisioning.RunMode, list []Generation) error {
	if len(list) == 0 {
		return nil
	}
	oldest := list[len(list)-1].Since
	for i := len(list) - 1; i >= 0 && oldest.IsZero(); i-- {
		oldest = list[i].Since
	}
	if oldest.IsZero() {
		return nil
	}
	j := &judge{rel: kernel.DefaultOf(m), since: oldest, last: map[provisioning.MAC]outcome{}}
	i := len(list) - 1
	_, err := r.follow(ctx, oldest, 0, func(e provisioning.Event) {
		for i > 0 && !list[i-1].Since.IsZero() && !e.At.Before(list[i-1].Since) {
			i--
		}
		boots, failed := j.boots, j.failed
		j.see(e)
		list[i].Boots += j.boots - boots
		list[i].Failed += j.failed - failed
	})
	return err
}

// follow reads the events since a time, and behind an id, page by page. It returns the id
// of the last.
func (r *Rollout) follow(ctx context.Context, since time.Time, after int64, see func(provisioning.Event)) (int64, error) {
	const page = 2000
	for {
		events, err := r.store.Events(ctx, provisioning.EventQuery{Since: since, After: after, Limit: page})
		if err != nil {
			return after, err
		}
		for _, e := range events {
			see(e)
			after = e.ID
		}
		if len(events) < page {
			return after, nil
		}
	}
}

// Verdict is what is to be done with a canary.
type Verdict int

// The verdicts.
const (
	GoOn Verdict = iota
	Promoted
	TakenBack
)

// fewFailures is how many boots of a candidate may fail whatever the number of its nodes.
const fewFailures = 2

// verdict decides: taken back when more than a few boots fail, and more than a twentieth
// of its nodes' number; promoted when half of its nodes have proven it, twenty at most.
// Nodes that nobody registered count once they boot it.
func (c *Canary) verdict() Verdict {
	nodes := max(c.Known, c.Booted)
	switch {
	case c.Failed > max(fewFailures, nodes/20):
		return TakenBack
	case c.Proven >= max(1, min((nodes+1)/2, 20)):
		return Promoted
	}
	return GoOn
}

// Fared writes into a canary, where there is one, how its nodes fared so far.
func (r *Rollout) Fared(ctx context.Context, c *Canary) error {
	if c == nil {
		return nil
	}
	j := newJudge(c)
	_, err := r.follow(ctx, c.Since, 0, j.see)
	if err != nil {
		return err
	}
	j.tell(c, r.now())
	return nil
}

// watch is a canary that Look has seen, and how far it has read the events.
type watch struct {
	canary *Canary
	judge  *judge
	after  int64
}

// lookEvery is how often the canaries are looked after.
const lookEvery = 15 * time.Second

// Ended is told that a canary was promoted or taken back by the boots of its nodes.
type Ended func(context.Context, *Canary, Verdict)

// Run promotes canaries that have proven themselves, and takes back those that fail,
// until ctx ends. Where two appliances share the database, the first does it, and the
// other one gives its own run mode the kernel too.
func (r *Rollout) Run(ctx context.Context, modes func() []provisioning.RunMode, log *slog.Logger, ended Ended) error {
	for {
		for _, m := range modes() {
			c, v, err := r.Look(ctx, m)
			switch {
			case ctx.Err() != nil:
			case err != nil:
				log.Warn("a canary cannot be looked after", "runmode", m, "err", provisioning.Detail(err))
			case v == Promoted:
				log.Info("a candidate is promoted: its nodes have proven it", "runmode", m, "kernel", c.Kernel, "proven", c.Proven, "failures", c.Failed)
			case v == TakenBack:
				log.Warn("a candidate is taken back: its nodes fail with it", "runmode", m, "kernel", c.Kernel, "failures", c.Failed, "proven", c.Proven)
			}
			if err == nil && v != GoOn {
				ended(ctx, c, v)
			}
		}
		if pause.For(ctx, lookEvery) != nil {
			return nil
		}
	}
}

// Look does once for a run mode what Run does, and tells what it did: what became of its
// canary, if anything. It is not called twice at once.
func (r *Rollout) Look(ctx context.Context, m provisioning.RunMode) (*Canary, Verdict, error) {
	c, line, err := r.last(ctx, m)
	if err != nil {
		return nil, GoOn, err
	}
	w, before := r.watching(m)
	if c == nil {
		if line.Action == actionPromote && (w != nil || !before) {
			if err := r.follows(ctx, m, w, line); err != nil {
				return nil, GoOn, err
			}
		}
		r.watch(m, nil)
		return nil, GoOn, nil
	}
	if w == nil || w.canary.SHA256 != c.SHA256 || !w.canary.Since.Equal(c.Since) {
		w = &watch{canary: c, judge: newJudge(c)}
		r.watch(m, w)
	}
	if w.after, err = r.follow(ctx, c.Since, w.after, w.judge.see); err != nil {
		return nil, GoOn, err
	}
	w.judge.tell(c, r.now())
	v := c.verdict()
	if sum, err := r.kernels.SHA256(kernel.DefaultOf(m)); v == Promoted && (err != nil || sum != c.Former && sum != c.SHA256) {
		// Somebody, or upstream, gave the run mode another kernel meanwhile: what is to be
		// booted is theirs to say, not ours.
		return nil, GoOn, err
	}
	action := actionPromote
	switch v {
	case GoOn:
		return nil, GoOn, nil
	case Promoted: // first, as in Promote
		if err := r.give(ctx, appliance, c); err != nil {
			return nil, GoOn, err
		}
	case TakenBack:
		action = ActionTaken
	}
	first, err := r.editor.NoteIf(ctx, appliance, action, subject(m), c, nil, line.ID)
	if err != nil || !first { // another appliance has just done it
		return nil, GoOn, err
	}
	r.watch(m, nil)
	return c, v, nil
}

// Appliance is the name, in the history, of who does what the boots of nodes ask for.
const Appliance = "canary"

var appliance = provisioning.Actor{Name: Appliance, Role: provisioning.RoleAdmin, From: "appliance"}

// watching returns the canary that Look has seen, nil for none, and whether it has looked
// before.
func (r *Rollout) watching(m provisioning.RunMode) (w *watch, before bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w, before = r.watched[m]
	return w, before
}

func (r *Rollout) watch(m provisioning.RunMode, w *watch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.watched[m] = w
}

// follows gives our run mode the kernel that another appliance, which shares the database
// and has a kernel folder of its own, has promoted by that line of the history, while we
// looked on or did not run. Ours that boots another kernel than when that was begun is left
// alone: it is promoted already, or somebody chose; and so it is where anybody chose since.
func (r *Rollout) follows(ctx context.Context, m provisioning.RunMode, w *watch, line provisioning.Change) error {
	c := new(Canary)
	if w != nil {
		c = w.canary
	} else if err := json.Unmarshal(line.Before, c); err != nil {
		return nil // written by hand
	}
	if w == nil {
		since, err := r.store.Changes(ctx, provisioning.ChangeQuery{Subject: kernel.DefaultOf(m), Limit: historyLimit})
		if err != nil || slices.ContainsFunc(since, func(change provisioning.Change) bool {
			var after identity
			followed := change.Actor == Appliance && json.Unmarshal(change.After, &after) == nil && after.SHA256 == c.SHA256
			return change.ID > line.ID && !followed
		}) {
			return err
		}
	}
	sum, err := r.kernels.SHA256(kernel.DefaultOf(m))
	if err != nil || sum != c.Former {
		return err
	}
	return r.give(ctx, appliance, c)
}
