package tftp

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// clients plays clients that ask for places.
type clients struct {
	t     *testing.T
	l     *limits
	now   time.Time
	cut   []string // in order
	names map[string]*admission
}

func newClients(t *testing.T) *clients {
	return &clients{t: t, l: newLimits(), now: time.Unix(1_800_000_000, 0), names: make(map[string]*admission)}
}

// ask has addr ask for request; the result is "" if it is admitted.
func (c *clients) ask(addr, request string) (refused string) {
	c.t.Helper()
	c.now = c.now.Add(time.Millisecond)
	name := addr + " " + request
	a, refused := c.l.begin(transferKey{netip.AddrPortFrom(netip.MustParseAddr(addr), 2070), request}, c.now, func() {
		c.cut = append(c.cut, name)
	})
	if a != nil {
		c.names[name] = a
	}
	return refused
}

// many has addr ask n times.
func (c *clients) many(addr string, n int) {
	c.t.Helper()
	for i := range n {
		c.ask(addr, fmt.Sprint(i))
	}
}

// takeAll has four addresses take all places, with transfers that they acknowledge.
func (c *clients) takeAll() {
	c.t.Helper()
	for i := range 4 {
		addr := fmt.Sprintf("10.0.0.%d", i+1)
		c.many(addr, maxTransfersPerPeer)
		for j := range maxTransfersPerPeer {
			c.answered(fmt.Sprintf("%s %d", addr, j))
		}
	}
}

func (c *clients) answered(name string) { c.l.answered(c.names[name], c.now) }

func (c *clients) end(name string) { c.l.end(c.names[name]) }

// wantCut checks who had to go since the last time.
func (c *clients) wantCut(names ...string) {
	c.t.Helper()
	if !slices.Equal(c.cut, names) {
		c.t.Errorf("had to go: %q, want %q", c.cut, names)
	}
	c.cut = nil
}

func (c *clients) wantRefused(got, want string) {
	c.t.Helper()
	if got != want {
		c.t.Errorf("refused: %q, want %q", got, want)
	}
}

func TestLimits_OldestUnansweredMakesRoomForANewcomer(t *testing.T) {
	c := newClients(t)
	for i := range 8 {
		c.many(fmt.Sprintf("10.0.0.%d", i+1), maxTransfers/8)
	}
	c.answered("10.0.0.1 0")
	c.wantRefused(c.ask("10.0.1.1", "ipxe.efi"), "")
	c.wantCut("10.0.0.1 1")
	c.answered("10.0.1.1 ipxe.efi")
	// It has acknowledged something, so what it asks for next comes first as well.
	c.wantRefused(c.ask("10.0.1.1", "autoexec.ipxe"), "")
	c.wantCut("10.0.0.1 2")
	if n := c.l.count(); n != maxTransfers {
		t.Errorf("%d under way, want %d", n, maxTransfers)
	}
}

func TestLimits_WhoeverHasMostUnansweredGivesUpItsOwn(t *testing.T) {
	c := newClients(t)
	c.ask("10.0.1.1", "ipxe.efi") // the oldest, but the only one of its address
	for i := range 4 {
		c.many(fmt.Sprintf("10.0.0.%d", i+1), maxTransfersPerPeer)
	}
	c.wantCut("10.0.0.4 0") // one place was taken
	c.wantRefused(c.ask("10.0.0.2", "more"), "")
	c.wantCut("10.0.0.2 0")
	c.wantRefused(c.ask("10.0.0.2", "still more"), "")
	c.wantCut("10.0.0.2 1")
}

func TestLimits_AtMostSoManyForEachAddress(t *testing.T) {
	c := newClients(t)
	c.many("10.0.0.1", maxTransfersPerPeer)
	c.wantRefused(c.ask("10.0.0.1", "more"), "")
	c.wantCut("10.0.0.1 0")
	for i := range maxTransfersPerPeer {
		if a := c.names[fmt.Sprintf("10.0.0.1 %d", i)]; !a.over {
			c.l.answered(a, c.now)
		}
	}
	c.answered("10.0.0.1 more")
	c.wantRefused(c.ask("10.0.0.1", "still more"), resultBusy)
	c.wantCut()
}

func TestLimits_FewThatAcknowledgedCannotKeepOthersOut(t *testing.T) {
	c := newClients(t)
	c.takeAll()
	c.end("10.0.0.2 7")
	c.end("10.0.0.3 7")
	c.end("10.0.0.4 7")
	for i := range 3 {
		c.wantRefused(c.ask(fmt.Sprintf("10.0.1.%d", i+1), "ipxe.efi"), "")
		c.answered(fmt.Sprintf("10.0.1.%d ipxe.efi", i+1))
	}
	c.wantCut()
	c.wantRefused(c.ask("10.0.1.9", "ipxe.efi"), "")
	c.wantCut("10.0.0.1 0")
	c.answered("10.0.1.9 ipxe.efi")
	c.wantRefused(c.ask("10.0.0.2", "more"), resultBusy)
	c.wantCut()
}

// TestLimits_NewcomersDoNotMakeRoomForEachOther: machines that are switched on together
// among many transfers that were acknowledged all get their place, and keep it until their
// acknowledgement is here.
func TestLimits_NewcomersDoNotMakeRoomForEachOther(t *testing.T) {
	c := newClients(t)
	c.takeAll()
	for i := range 200 {
		c.wantRefused(c.ask(fmt.Sprintf("10.0.1.%d", i+1), "ipxe.efi"), "")
	}
	for i := range 200 {
		if c.names[fmt.Sprintf("10.0.1.%d ipxe.efi", i+1)].over {
			t.Errorf("10.0.1.%d made room for another machine", i+1)
		}
	}
}

func TestLimits_Repeats(t *testing.T) {
	c := newClients(t)
	c.wantRefused(c.ask("10.0.0.1", "ipxe.efi"), "")
	c.wantRefused(c.ask("10.0.0.1", "ipxe.efi"), resultDuplicate)
	c.answered("10.0.0.1 ipxe.efi")
	c.end("10.0.0.1 ipxe.efi")
	c.wantRefused(c.ask("10.0.0.1", "ipxe.efi"), "")
	// One that is over does not take its successor's place with it.
	if got := c.l.count(); got != 1 {
		t.Errorf("%d under way, want 1", got)
	}
}

// TestLimits_NothingIsLeft: whatever happens in whatever order, at the end nothing is
// remembered of anybody.
func TestLimits_NothingIsLeft(t *testing.T) {
	c := newClients(t)
	for i := range 6 {
		c.many(fmt.Sprintf("10.0.0.%d", i+1), 700)
	}
	n := 0
	for name := range c.names {
		if n++; n%3 == 0 {
			c.answered(name)
		}
	}
	for _, a := range c.names {
		c.l.end(a)
		c.l.end(a)
		c.l.answered(a, c.now)
	}
	if c.l.total != 0 || len(c.l.peers) != 0 || len(c.l.begun) != 0 || c.l.unanswered.Len() != 0 {
		t.Errorf("left: %d transfers, %d peers, %d requests, %d unanswered", c.l.total, len(c.l.peers), len(c.l.begun), c.l.unanswered.Len())
	}
}
