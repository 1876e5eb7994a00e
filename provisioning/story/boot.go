package story

import (
	"time"

	"farmboot/provisioning"
	"farmboot/provisioning/filenames"
)

// phase is how far a boot has come, as far as it matters for telling where the next
// one begins.
type phase int

const (
	asking  phase = iota // DISCOVER, OFFER, boot server
	loading              // its NBP is on the way
	ipxe                 // iPXE has asked for an address of its own
	running              // it has a boot script
)

const (
	// askGap is how long firmware may pause while it asks: edk2 repeats a DISCOVER
	// after 4, 8, 16 and 32 s.
	askGap = 90 * time.Second
	// loadGap is how long it may take from the first NBP to iPXE's own DISCOVER:
	// slow TFTP, then all NIC drivers, then spanning tree.
	loadGap = 3 * time.Minute
	// repeatGap is how soon iPXE repeats its DISCOVER: after one second, then 2, 4
	// and 8 (measured; boot-facts: a repeat is not a failure).
	repeatGap = 10 * time.Second
)

// lastBoot returns the events since the last that began a boot. A DISCOVER begins
// one, unless firmware repeats it, or it is that of iPXE, which has just been
// loaded. The phase is how far the boot has come.
func lastBoot(events []provisioning.Event) ([]provisioning.Event, phase) {
	var b boundary
	for i, e := range events {
		b.see(i, e)
	}
	return events[b.start:], b.phase
}

// boundary follows a series of events.
type boundary struct {
	begun    bool
	start    int // index of the event that began the boot
	phase    phase
	ipxe     int  // index of the DISCOVER that was taken for iPXE's
	complete bool // its kernel went out
	last     time.Time
}

// Follower finds where boots begin, event by event of one MAC address. The zero value has
// seen none.
type Follower struct {
	boundary boundary
	seen     int
}

// Begins tells whether a boot begins with the next event. That an earlier one has begun
// another boot may show later: [Boots] looks at all of them.
func (f *Follower) Begins(e provisioning.Event) bool {
	f.boundary.see(f.seen, e)
	f.seen++
	return f.boundary.start == f.seen-1
}

func (b *boundary) begin(i int) { *b = boundary{begun: true, start: i, last: b.last} }

func (b *boundary) see(i int, e provisioning.Event) {
	pause := e.At.Sub(b.last)
	if !b.begun {
		b.begin(i)
	}
	switch e.Stage {
	case provisioning.StageDiscover:
		b.discover(i, pause, e.IPXE)
	case provisioning.StageNBP:
		b.nbp(e)
	case provisioning.StageScript, provisioning.StageHold, provisioning.StageWait, provisioning.StageExit:
		// A node with iPXE on a stick, beyond a router, shows no DISCOVER.
		if b.complete {
			b.begin(i)
		}
		b.phase = running
	case provisioning.StageLoading:
		b.phase = running
	case provisioning.StageKernel:
		b.phase, b.complete = running, b.complete || e.Bytes >= e.Size
	case provisioning.StageUp:
		b.phase, b.complete = running, true
	}
	b.last = e.At
}

// discover follows a DISCOVER. What our NBP sends says that it is iPXE, whatever
// was there before; a NIC's own ROM may say so too.
func (b *boundary) discover(i int, pause time.Duration, byIPXE bool) {
	switch {
	case b.phase == asking && pause <= askGap:
	case b.phase == loading && pause <= loadGap && byIPXE:
		b.phase, b.ipxe = ipxe, i
	case b.phase == ipxe && pause <= repeatGap && byIPXE:
	default:
		b.begin(i)
	}
}

// nbp follows a network boot program. Our iPXE is never given iPXE again: one that
// goes out after what was taken for iPXE's DISCOVER went to firmware, that had
// started anew with that DISCOVER.
func (b *boundary) nbp(e provisioning.Event) {
	if e.File == filenames.Autoexec {
		return // a script, and iPXE that asks for it
	}
	if b.phase == ipxe {
		b.begin(b.ipxe)
	}
	if b.phase < loading {
		b.phase = loading
	}
}
