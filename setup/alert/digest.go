package alert

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Condition is something that is wrong, for as long as it is.
type Condition struct {
	Key  string   `json:"key"` // always the same for the same trouble
	Text string   `json:"text"`
	Cure []string `json:"cure,omitempty"` // what to do about it, likeliest first
}

// Notice is something that happened, once.
type Notice struct {
	Key     string   `json:"key"` // what kind of thing it is, for programs
	About   any      `json:"-"`   // which of that kind, to be compared: a MAC address, the number of a change
	Text    string   `json:"text"`
	Details []string `json:"details,omitempty"` // lines about it, as of each node
	Cure    []string `json:"cure,omitempty"`    // what to do about it, if anything
}

// Kind is why a message is sent.
type Kind string

// The kinds.
const (
	KindTrouble Kind = "trouble" // something is wrong that was not wrong before
	KindNotice  Kind = "notice"  // something happened, and nothing is wrong
	KindWell    Kind = "well"    // all that was told is mended
	KindTest    Kind = "test"    // somebody tries whether messages arrive
)

// Message is what is sent at one time.
type Message struct {
	Kind       Kind        `json:"kind"`
	Appliance  string      `json:"appliance"` // its URL
	At         time.Time   `json:"at"`
	Conditions []Condition `json:"conditions,omitempty"` // those that are new
	Standing   int         `json:"standing"`             // how many are wrong, new or not
	Notices    []Notice    `json:"notices,omitempty"`
	Dropped    int         `json:"dropped,omitempty"` // notices beyond those
}

// When messages are sent.
const (
	gather = time.Minute      // after the first trouble, or notice, of a message
	apart  = 10 * time.Minute // between two messages about troubles, or with notices alone
	calm   = 2 * time.Minute  // for which all must be well before that is said
	forget = time.Hour        // after which a trouble that comes again is told again
)

// Bounds of what waits to be told, and of one message.
const (
	mostListed  = 20
	mostNotices = 100
)

// Digest decides what to tell when. The zero value has told nothing.
type Digest struct {
	told    map[string]time.Time // conditions that were told, and when they were last seen
	waiting time.Time            // since when there is a condition that was not told
	last    time.Time            // of the last message about troubles
	mended  time.Time            // since when nothing is wrong any more; zero: something is, or nothing was told
	uneasy  bool                 // troubles were told, and not that all is well
	notices []Notice
	dropped int       // notices beyond those
	noted   time.Time // since when there is a notice
	noticed time.Time // when a message with notices was sent last
}

// Note keeps a notice for a message. What was noted already is not noted again.
func (d *Digest) Note(n Notice) {
	switch {
	case slices.ContainsFunc(d.notices, func(o Notice) bool { return o.Key == n.Key && o.About == n.About }):
	case len(d.notices) < mostNotices:
		d.notices = append(d.notices, n)
	default:
		d.dropped++
	}
}

// Next returns the message that is due now, where these conditions are all that is
// wrong; false if none is. It is to be called every few seconds.
func (d *Digest) Next(now time.Time, conditions []Condition) (Message, bool) {
	if d.told == nil {
		d.told = make(map[string]time.Time)
	}
	var fresh []Condition
	for _, c := range conditions {
		if _, ok := d.told[c.Key]; ok {
			d.told[c.Key] = now
		} else {
			fresh = append(fresh, c)
		}
	}
	maps.DeleteFunc(d.told, func(_ string, seen time.Time) bool { return now.Sub(seen) > forget })
	m := Message{At: now, Standing: len(conditions)}
	switch {
	case len(fresh) == 0:
		d.waiting = time.Time{}
	case d.waiting.IsZero():
		d.waiting = now
	}
	if len(d.notices) > 0 && d.noted.IsZero() {
		d.noted = now
	}
	if len(conditions) > 0 {
		d.mended = time.Time{}
	} else if d.uneasy && d.mended.IsZero() {
		d.mended = now
	}
	switch {
	case len(fresh) > 0 && now.Sub(d.waiting) >= gather && now.Sub(d.last) >= apart:
		m.Kind, m.Conditions = KindTrouble, fresh
		for _, c := range fresh {
			d.told[c.Key] = now
		}
		d.waiting, d.last, d.uneasy = time.Time{}, now, true
	case !d.mended.IsZero() && now.Sub(d.mended) >= calm:
		m.Kind = KindWell
		d.mended, d.uneasy = time.Time{}, false
	case len(d.notices) > 0 && now.Sub(d.noted) >= gather && now.Sub(d.noticed) >= apart:
		m.Kind = KindNotice
	default:
		return Message{}, false
	}
	if len(d.notices) > 0 {
		m.Notices, m.Dropped, d.noticed = d.notices, d.dropped, now
		d.notices, d.dropped, d.noted = nil, 0, time.Time{}
	}
	return m, true
}

// Title is the subject of a message: one line.
func (m Message) Title() string {
	switch m.Kind {
	case KindTrouble:
		if len(m.Conditions) == 1 {
			return "Farmboot: " + m.Conditions[0].Text
		}
		return fmt.Sprintf("Farmboot: %d troubles", len(m.Conditions))
	case KindWell:
		return "Farmboot: all well again"
	case KindTest:
		return "Farmboot: a test"
	}
	if len(m.Notices) == 1 {
		return "Farmboot: " + m.Notices[0].Text
	}
	return fmt.Sprintf("Farmboot: %d notices", len(m.Notices)+m.Dropped)
}

// Text is a message for people.
func (m Message) Text() string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	switch m.Kind {
	case KindWell:
		line("All that was wrong is mended.")
	case KindTest:
		line("This is a test: messages of %s arrive here.", m.Appliance)
	}
	item := func(text string, details, cures []string) {
		line("- %s", text)
		for _, d := range details {
			line("    %s", d)
		}
		for _, c := range cures {
			line("    check: %s", c)
		}
	}
	for _, c := range m.Conditions[:min(len(m.Conditions), mostListed)] {
		item(c.Text, nil, c.Cure)
	}
	if more := len(m.Conditions) - mostListed; more > 0 {
		line("… and %d more.", more)
	}
	if before := m.Standing - len(m.Conditions); m.Kind == KindTrouble && before > 0 {
		line("Told before, and still so: %d.", before)
	}
	for _, n := range m.Notices[:min(len(m.Notices), mostListed)] {
		item(n.Text, n.Details, n.Cure)
	}
	if more := len(m.Notices) - mostListed + m.Dropped; more > 0 {
		line("… and %d more notices.", more)
	}
	if m.Kind != KindTest {
		line("See %s/admin", m.Appliance)
	}
	return strings.TrimSuffix(b.String(), "\n")
}
