package story

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"farmboot/provisioning"
	"farmboot/provisioning/cause"
	"farmboot/provisioning/human"
)

// State is how a boot stands.
type State string

// The states.
const (
	Unseen  State = "unseen"  // no event of it is kept
	Booting State = "booting" // on its way
	Stalled State = "stalled" // it should have gone on by now
	Refused State = "refused" // we refused what it asked for
	Ignored State = "ignored" // it is not registered, and such nodes get no answer
	Held    State = "held"    // it waits to be claimed
	Exited  State = "exited"  // sent on to its next boot device
	Started State = "started" // its kernel went out whole
	Booted  State = "booted"  // its operating system runs: it asked the LAN for an address
	Failed  State = "failed"  // it told us so, or netbooted again soon after its kernel without having been up
)

// Story tells how a node's last boot went, in plain words.
type Story struct {
	State   State     `json:"state"`
	Began   time.Time `json:"began,omitzero"`
	Steps   []Step    `json:"steps,omitempty"`
	Verdict string    `json:"verdict"`         // one sentence
	Check   []string  `json:"check,omitempty"` // what to look at if it stalled or was refused, likeliest first

	// Loop is how many boots in a row before this one failed, each of them soon after its
	// kernel had gone out; 0 once it is up. A machine that is only slow has none.
	Loop int `json:"loop,omitempty"`

	// Unbootable: we have nothing that this machine could start, registered or not.
	Unbootable bool `json:"-"`
	// Cause is why it was refused or failed; zero: neither, or it is not known.
	Cause provisioning.Cause `json:"cause,omitzero"`
}

// Step is one event of a boot, or several alike in a row.
type Step struct {
	At    time.Time          `json:"at"`
	After time.Duration      `json:"after"` // since the boot began, in nanoseconds
	Stage provisioning.Stage `json:"stage"`
	Text  string             `json:"text"`
	Times int                `json:"times"` // how often in a row
}

// Tell tells the story of the last boot among the events of one MAC address, in any
// order: their IDs tell which came first, never a clock. Now decides whether a boot that
// has not ended is on its way or has stalled.
func Tell(events []provisioning.Event, now time.Time) Story {
	if told := Boots(events, now, 1); len(told) > 0 {
		return told[0]
	}
	return Story{State: Unseen, Verdict: "No boot of this MAC address has been seen.", Check: stalls["unseen"].check}
}

// Boots tells the stories of the boots among the events of one MAC address, the last
// first, at most so many of them.
func Boots(events []provisioning.Event, now time.Time, limit int) []Story {
	events = slices.Clone(events)
	slices.SortStableFunc(events, func(a, b provisioning.Event) int { return cmp.Compare(a.ID, b.ID) })
	all := events
	undone := voidOf(events)
	var told []Story
	var next []provisioning.Event // the boot that came after
	for len(events) > 0 && len(told) < limit {
		boot, phase := lastBoot(events)
		s := Story{Began: boot[0].At, Steps: steps(boot)}
		before := events[:len(events)-len(boot)]
		counted := undone.without(boot)
		switch refusal, ok := standingRefusal(undone.without(events)); {
		case len(counted) == 0: // what it did before is not kept any more
			s.State, s.Verdict = Unseen, "It was claimed, and "+cause.Message(boot[len(boot)-1].Cause)+"."
		case ok:
			s.refused(refusal, counted[len(counted)-1].At, now)
		case failed(counted, next):
			s.failed(kernelOf(counted), now)
		default:
			s.judge(counted, phase, now)
			former, _ := lastBoot(before)
			former = undone.without(former)
			if failed(former, counted) && s.open() {
				s.failed(kernelOf(former), now)
			}
			if c, broken := brokenLink(former, counted); broken {
				s.broke(c, counted[len(counted)-1].At, now)
			}
		}
		told = append(told, s)
		next, events = counted, before
	}
	if len(told) > 0 {
		told[0].loops(all, now)
	}
	return told
}

// Seen returns the story for a machine that is known to have booted: when none of its
// events is kept, the story says that, not that there was no boot.
func (s Story) Seen() Story {
	if s.State != Unseen || len(s.Steps) > 0 {
		return s
	}
	return Story{State: Unseen, Verdict: "No step of its boots is recorded: they are stored a moment after they happen, and not for ever."}
}

// steps turns events into steps; several alike in a row become one, and so do the
// pairs of DISCOVER and OFFER of firmware that keeps asking.
func steps(boot []provisioning.Event) []Step {
	var list []Step
	var told []provisioning.Event // what each of them tells
	for _, e := range boot {
		step := Step{At: e.At, After: max(e.At.Sub(boot[0].At), 0), Stage: e.Stage, Text: sentence(e), Times: 1}
		if n := len(list); n > 0 && retold(list[n-1].Stage, e.Stage) {
			list[n-1], told[n-1] = step, e // what it tells, this tells anew
			continue
		}
		if i := repeated(told, e); i >= 0 {
			list[i].Times++
			continue
		}
		list, told = append(list, step), append(told, e)
	}
	return list
}

// retold tells whether a step tells anew what the one before it told: how far a kernel
// has come, or which place a node has while it waits.
func retold(before, step provisioning.Stage) bool {
	switch before {
	case provisioning.StageLoading:
		return step == provisioning.StageLoading || step == provisioning.StageKernel
	case provisioning.StageWait:
		return step == provisioning.StageWait
	}
	return false
}

// repeated returns the index of the event at the end of those told that e repeats, -1 if
// there is none.
func repeated(told []provisioning.Event, e provisioning.Event) int {
	asks := func(s provisioning.Stage) bool {
		return s == provisioning.StageDiscover || s == provisioning.StageOffer
	}
	for i := len(told) - 1; i >= 0; i-- {
		if alike(told[i], e) {
			return i
		}
		if !asks(told[i].Stage) || !asks(e.Stage) {
			return -1
		}
	}
	return -1
}

// alike tells whether two events of a node tell the same, at whatever time.
func alike(a, b provisioning.Event) bool {
	a.ID, a.At, a.MAC, a.Peer, a.Machine = b.ID, b.At, b.MAC, b.Peer, b.Machine
	return a == b
}

// sentence says what happened.
func sentence(e provisioning.Event) string {
	text := cause.Detail(e)
	detail := func(before string) string {
		if text == "" {
			return ""
		}
		return before + text
	}
	switch e.Stage {
	case provisioning.StageDiscover:
		return "asked the network for a boot server (DISCOVER)" + detail(": ")
	case provisioning.StageOffer:
		return "we offered to boot it" + detail(": ")
	case provisioning.StageBootServer:
		return "asked our boot server (port 4011) for its boot file" + detail(": ")
	case provisioning.StageNBP:
		return "fetched its network boot program" + detail(" ") + transferred(e)
	case provisioning.StageScript:
		return "fetched its boot script" + detail(": ")
	case provisioning.StageHold:
		return cmp.Or(text, "waits on its screen to be claimed")
	case provisioning.StageWait:
		return cmp.Or(text, "waits for its turn to fetch its kernel")
	case provisioning.StageClaim:
		return cmp.Or(text, "claimed")
	case provisioning.StageLoading:
		return "is fetching its kernel" + detail(" ") + soFar(e)
	case provisioning.StageKernel:
		return "fetched its kernel" + detail(" ") + transferred(e)
	case provisioning.StageExit:
		return cmp.Or(text, "sent on to its next boot device")
	case provisioning.StageUp:
		return "is up: its operating system asked the network for an address" + detail(": ")
	case provisioning.StageFailed:
		return "told us that it failed" + detail(": ")
	case provisioning.StageRefused:
		return "refused" + detail(": ")
	default:
		return string(e.Stage) + detail(": ")
	}
}

// soFar tells how much of a file is through.
func soFar(e provisioning.Event) string {
	if e.Size <= 0 || e.Duration <= 0 {
		return ""
	}
	text := human.Bytes(e.Bytes) + " of " + human.Bytes(e.Size) + " so far"
	if rate := human.Rate(e.Bytes, e.Duration); rate != "" {
		text += ", " + rate
	}
	return " (" + text + ")"
}

// transferred tells how much went out, and how fast.
func transferred(e provisioning.Event) string {
	var parts []string
	switch {
	case e.Size > 0 && e.Bytes < e.Size:
		parts = append(parts, fmt.Sprintf("only %s of %s", human.Bytes(e.Bytes), human.Bytes(e.Size)))
	case e.Bytes > 0:
		parts = append(parts, human.Bytes(e.Bytes))
	}
	if e.Duration > 0 {
		parts = append(parts, "in "+human.Duration(e.Duration))
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, " ") + ")"
}

// clock writes the time since a boot began.
func clock(d time.Duration) string {
	if d < 100*time.Second {
		return fmt.Sprintf("+%.3fs", d.Seconds())
	}
	return "+" + d.Round(time.Second).String()
}

// Format writes the story for a terminal, with times of that place.
func (s Story) Format(place *time.Location) string {
	var b strings.Builder
	if len(s.Steps) > 0 {
		fmt.Fprintf(&b, "Last boot, %s:\n", s.Began.In(place).Format("2006-01-02 15:04:05 MST"))
	}
	for _, step := range s.Steps {
		times := ""
		if step.Times > 1 {
			times = fmt.Sprintf(", %d times", step.Times)
		}
		fmt.Fprintf(&b, "  %9s  %s%s\n", clock(step.After), step.Text, times)
	}
	fmt.Fprintf(&b, "%s\n", s.Verdict)
	if len(s.Check) > 0 {
		fmt.Fprintln(&b, "Check:")
	}
	for _, c := range s.Check {
		fmt.Fprintf(&b, "  - %s\n", c)
	}
	return b.String()
}
