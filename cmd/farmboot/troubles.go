package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"farmboot/ipxe/kernel"
	"farmboot/ipxe/rollout"
	"farmboot/ipxe/upstream"
	"farmboot/provisioning"
	"farmboot/provisioning/logonce"
	"farmboot/provisioning/pause"
	"farmboot/provisioning/story"
	"farmboot/setup/alert"
	"farmboot/setup/ca"
	"farmboot/setup/doctor"
)

// The sources of alerts: what is wrong now, with the cure, and what happened.

// unwell is why nodes cannot boot from here.
func (a *appliance) unwell(ctx context.Context) []alert.Condition {
	why := a.health.unhealthy(ctx)
	if why == "" {
		return nil
	}
	return []alert.Condition{{Key: "health", Text: "nodes cannot boot: " + why, Cure: []string{"farmboot doctor on the appliance"}}}
}

// renewalFails is how long before its end our own certificate, which is renewed months
// before, is told of.
const renewalFails = 14 * 24 * time.Hour

// certificateTroubles are what clients have against the certificate, or will soon.
func (a *appliance) certificateTroubles(context.Context) []alert.Condition {
	h := a.cfg.HTTP
	cure := []string{fmt.Sprintf("put a new certificate and its key in the place of %s and %s: they are taken within seconds", h.TLSCert, h.TLSKey)}
	if h.TLSCert == "" {
		cure = []string{"the log says why the certificate could not be renewed; farmboot doctor on the appliance"}
	}
	weak, err := ca.Inspect(filepath.Join(a.cfg.State, "ca"), h.TLSCert, h.TLSKey, a.now())
	if err != nil {
		weak = append(weak, err.Error())
	}
	if end := a.certificateEnd(); h.TLSCert == "" && !end.IsZero() && end.Sub(a.now()) < renewalFails {
		weak = append(weak, "it ends on "+end.Format(time.DateOnly)+", and was not renewed")
	}
	var all []alert.Condition
	for _, w := range weak {
		all = append(all, alert.Condition{Key: "certificate " + w, Text: "the certificate: " + w, Cure: cure})
	}
	return all
}

// silentLooks is how many looks in a row upstream must fail before people are told, as many as
// there are in twice the configured interval: once may be a reboot, and every node boots all the same.
const silentLooks = 3

// upstreamTroubles are kernels that upstream has and that cannot be taken, and an upstream
// that is not there any more.
func (a *appliance) upstreamTroubles(context.Context) []alert.Condition {
	if a.upstream == nil {
		return nil
	}
	// After one that failed the next look comes sooner.
	return a.upstreamFaults(a.upstream.LastLook(), silentLooks, (silentLooks-1)*a.cfg.Kernel.Refresh)
}

// upstreamFaults is upstreamTroubles that have lasted for so many looks, and so long.
func (a *appliance) upstreamFaults(look upstream.Look, looks int, long time.Duration) (all []alert.Condition) {
	lasts := func(times int, since time.Time) bool { return times >= looks && a.now().Sub(since).Abs() >= long }
	failed := slices.Sorted(maps.Keys(look.Failed))
	silent := lasts(look.Silent, look.Since)
	if silent {
		what, check := "has given no answer since", "the service is on, and reached from the appliance: farmboot kernel sync --dry-run there says what it gets"
		if look.Refuses {
			what, check = "answers, but has given no kernel since", "why the service refuses them, by its own log: farmboot kernel sync --dry-run on the appliance says what it gets"
		}
		text := fmt.Sprintf("%s %s %s; nodes boot what they did before", a.upstream, what, look.Since.UTC().Format("2006-01-02 15:04 MST"))
		if len(failed) > 0 { // the others say the same
			text += ": " + provisioning.Detail(look.Failed[failed[0]].Err)
		}
		all = append(all, alert.Condition{Key: "upstream silent", Text: text, Cure: []string{check, "[kernel] upstream is its URL"}})
	}
	for _, rel := range failed {
		f := look.Failed[rel]
		if !upstream.Refused(f.Err) && (silent || !lasts(f.Times, f.Since)) {
			continue
		}
		all = append(all, alert.Condition{
			Key: "kernel refused " + rel, Text: fmt.Sprintf("a kernel of %s was not taken: %s; what was here stays", a.upstream, provisioning.Detail(f.Err)),
			Cure: a.upstream.Cure(rel, f.Err),
		})
	}
	return all
}

// kernelTaken tells that a kernel came from upstream.
func (a *appliance) kernelTaken(r upstream.Result) {
	n := alert.Notice{Key: "kernel taken", About: r, Text: fmt.Sprintf("kernel %s was taken from %s", r.Name, a.upstream)}
	switch mode, isDefault := kernel.ModeOf(r.Kernel); {
	case r.Pointed:
		n.Text += fmt.Sprintf(": all nodes of run mode %s boot it from now on", mode)
		n.Cure = []string{fmt.Sprintf("if nodes fail with it: farmboot kernel rollback %s", mode)}
	case isDefault:
		n.Text += fmt.Sprintf("; run mode %s does not boot it, because somebody gave it another one", mode)
		n.Cure = []string{fmt.Sprintf("if it is to boot it: farmboot kernel use %s %s --canary 5%%", mode, r.Name)}
	}
	a.tellOf(n)
}

const (
	// rivalsEvery is how often machines are played on the LANs to find other boot servers,
	// and rivalsAgain how often as long as there is one.
	rivalsEvery = time.Hour
	rivalsAgain = 5 * time.Minute
)

// runRivals looks for other boot servers until ctx ends, and returns nil.
func (a *appliance) runRivals(ctx context.Context) error {
	looking := logonce.Series{Log: a.log, Level: slog.LevelWarn, Fault: "whether there are other boot servers cannot be told", End: "it can be told again whether there are other boot servers"}
	for {
		found, err := doctor.Rivals(ctx, *a.live.Load())
		if ctx.Err() != nil {
			return nil
		}
		looking.Report(err)
		a.rivals.Store(&found)
		next := rivalsEvery
		if len(found) > 0 {
			next = rivalsAgain
		}
		if pause.For(ctx, next) != nil {
			return nil
		}
	}
}

// rivalTroubles are the other boot servers.
func (a *appliance) rivalTroubles(context.Context) (all []alert.Condition) {
	found := a.rivals.Load()
	if found == nil {
		return nil
	}
	for _, r := range *found {
		all = append(all, alert.Condition{
			Key:  fmt.Sprintf("boot server %s %s", r.Server, r.Interface),
			Text: r.What + "; " + r.Why, Cure: []string{r.Mend},
		})
	}
	return all
}

// Bounds of what alerts look at: boots of the last hour, at most so many events of them.
const (
	troublePeriod = time.Hour
	troubleEvents = 20_000
)

// loopQuiet is how long a node in a crash loop must do nothing to be in none any more: it
// hangs, was switched off, or runs without our having heard it.
const loopQuiet = 10 * time.Minute

// nodeTroubles are the nodes whose last boot, within the last hour, came to nothing.
func (a *appliance) nodeTroubles(ctx context.Context) []alert.Condition {
	now := a.now()
	events, err := a.store.Events(ctx, provisioning.EventQuery{Since: now.Add(-troublePeriod), Last: true, Limit: troubleEvents})
	if err != nil {
		return []alert.Condition{{Key: "database", Text: "the database does not answer", Cure: []string{"farmboot doctor on the appliance"}}}
	}
	boots := make(map[provisioning.MAC][]provisioning.Event)
	for _, e := range events {
		if !e.MAC.IsZero() {
			boots[e.MAC] = append(boots[e.MAC], e)
		}
	}
	var all []alert.Condition
	for mac, boot := range boots {
		told := story.Tell(boot, now)
		key := string(told.State) + " " + mac.String()
		loops := told.Loop >= story.CrashLoop && now.Sub(boot[len(boot)-1].At) < loopQuiet
		switch {
		case loops:
			all = append(all, alert.Condition{Key: "crash loop " + mac.String(), Text: a.nodeName(ctx, mac) + " is in a crash loop: " + told.Verdict, Cure: told.LoopCheck()})
		case told.State == story.Failed && told.Cause.ID == provisioning.CauseNotUp:
			// Once or twice may be a person: a loop is told of, and what it ends with.
		case told.State == story.Stalled, told.State == story.Refused, told.State == story.Failed:
			all = append(all, alert.Condition{Key: key, Text: a.nodeName(ctx, mac) + ": " + told.Verdict, Cure: told.Check})
		case told.State == story.Held:
			all = append(all, alert.Condition{Key: key, Text: mac.String() + " is not registered, and waits to be claimed", Cure: []string{"the board's page Discovered, or farmboot node claim CODE --farmer F"}})
		}
	}
	slices.SortFunc(all, func(a, b alert.Condition) int { return cmp.Compare(a.Key, b.Key) })
	return all
}

// nodeName is what people call a node.
func (a *appliance) nodeName(ctx context.Context, mac provisioning.MAC) string {
	if n, err := a.store.Node(ctx, mac); err == nil && n.Name != "" {
		return n.Name + " (" + mac.String() + ")"
	}
	return mac.String()
}

// strangers tells of machines that are not registered, once each: those that wait on
// their screen to be claimed are a trouble of their own.
type strangers struct {
	*appliance
	newest time.Time // when the last one was seen first
	told   map[provisioning.MAC]time.Time
}

const (
	mostStrangers = 1000        // unregistered MAC addresses that are looked at
	late          = time.Minute // how long after it was seen a machine may be stored, by another appliance
)

// look is an [alert.Source] that has notices alone.
func (s *strangers) look(ctx context.Context) []alert.Condition {
	gets := ""
	switch cfg := s.live.Load().Provisioning; cfg.Unknown {
	case provisioning.Boot:
		gets = fmt.Sprintf("it boots run mode %s, as unknown = \"boot\" says", cfg.RunMode)
	case provisioning.Exit:
		gets = "it was sent on to its next boot device, as unknown = \"exit\" says"
	case provisioning.Ignore:
		gets = "it got no answer, as unknown = \"ignore\" says"
	default:
		return nil
	}
	seen, err := s.store.Unregistered(ctx, mostStrangers)
	if err != nil {
		return nil // told elsewhere
	}
	if s.told == nil {
		s.told = make(map[provisioning.MAC]time.Time)
	}
	since := s.newest
	for _, m := range seen {
		if _, known := s.told[m.MAC]; known || !m.FirstSeen.After(since.Add(-late)) || len(s.told) == 0 && !m.FirstSeen.After(since) {
			continue
		}
		s.told[m.MAC] = m.FirstSeen
		if m.FirstSeen.After(s.newest) {
			s.newest = m.FirstSeen
		}
		what := m.MAC.String()
		if m.Arch != "" {
			what += " (" + m.Arch + ")"
		}
		s.tellOf(alert.Notice{
			Key: "unknown machine", About: m.MAC, Text: fmt.Sprintf("unknown machine %s asked to boot: %s", what, gets),
			Cure: []string{fmt.Sprintf("if it is yours, register it: farmboot node add %s, or the board's page Discovered", m.MAC)},
		})
	}
	maps.DeleteFunc(s.told, func(_ provisioning.MAC, at time.Time) bool { return at.Before(s.newest.Add(-late)) })
	return nil
}

// rollbacks tells that an admin went back to a former kernel, or ended the trial of one.
type rollbacks struct {
	*appliance
	begun bool
	last  int64 // id of the last change that was looked at
}

// mostChanges is how many changes are looked at, of those since the last look.
const mostChanges = 200

// look is an [alert.Source] that has notices alone.
func (r *rollbacks) look(ctx context.Context) []alert.Condition {
	changes, err := r.store.Changes(ctx, provisioning.ChangeQuery{Limit: mostChanges})
	if err != nil {
		return nil // told elsewhere
	}
	for _, c := range slices.Backward(changes) {
		if r.begun && c.ID > r.last {
			r.tell(c)
		}
		r.last = max(r.last, c.ID)
	}
	r.begun = true
	return nil
}

// tell tells of a change.
func (r *rollbacks) tell(c provisioning.Change) {
	mode := strings.TrimPrefix(c.Subject, provisioning.CanarySubject)
	if m, ok := kernel.ModeOf(c.Subject); ok {
		mode = string(m)
	}
	switch c.Action {
	case rollout.ActionRollback:
		var from, to struct{ Target string }
		_, _ = json.Unmarshal(c.Before, &from), json.Unmarshal(c.After, &to) // nothing where it was a file
		r.tellOf(alert.Notice{
			Key: "kernel rolled back", About: c.ID, Text: fmt.Sprintf("%s took run mode %s back: it boots %s again, not %s", c.Actor, mode, nameOr(to.Target), nameOr(from.Target)),
			Cure: []string{"farmboot kernel history " + mode + " says how nodes fared with each"},
		})
	case rollout.ActionTaken:
		if c.Actor == rollout.Appliance {
			return // told with the stories of the nodes
		}
		var k rollout.Canary
		_ = json.Unmarshal(c.Before, &k)
		r.tellOf(alert.Notice{Key: "kernel taken back", About: c.ID, Text: fmt.Sprintf("%s ended the trial of kernel %s: all nodes of run mode %s boot the same", c.Actor, nameOr(k.Kernel), mode)})
	}
}

// nameOr is the file that a link's text names.
func nameOr(target string) string {
	if target == "" {
		return "another kernel"
	}
	return path.Base(target)
}
