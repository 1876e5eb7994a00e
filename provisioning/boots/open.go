package boots

import (
	"cmp"
	"context"
	"iter"
	"net/netip"
	"slices"
	"time"

	"farmboot/provisioning"
	"farmboot/provisioning/lru"
	"farmboot/provisioning/story"
)

// Open remembers the boots under way, so that an event is added to that of its node. It
// is not safe for concurrent use.
type Open struct {
	most  int
	boots *lru.Map[whose, open]
	last  int64 // greatest ID of an event in them
}

// whose is whose boot it is: a MAC address, or the IP address as long as that is not known.
type whose struct {
	bytes [16]byte
	isMAC bool
}

func of(mac provisioning.MAC, peer netip.Addr) (w whose) {
	if mac.IsZero() {
		return whose{bytes: peer.As16()}
	}
	w.isMAC = true
	copy(w.bytes[:], mac[:])
	return w
}

// open is a boot under way.
type open struct {
	whose    whose
	row      provisioning.BootRow
	steps    int
	follower story.Follower
	stored   bool
}

// unknownFor ends what an address does without a MAC address: another node may have it
// then. So what is given to a node may be as much older than it was asked for.
const unknownFor = 3 * time.Minute

// NewOpen remembers so many boots, those that went on last. How one that is forgotten goes
// on is in another row.
func NewOpen(most int) *Open { return &Open{most: most, boots: lru.New[whose, open](most)} }

// Number gives the events among news their IDs, greater than all before. A store that ended
// without warning may have lost the last transactions, and gives their IDs again; the boots
// that are remembered have them, and go on in other rows then.
func (o *Open) Number(ctx context.Context, tx provisioning.Tx, news ...[]News) error {
	events := 0
	for n := range All(news...) {
		if n.IsEvent() {
			events++
		}
	}
	id, err := tx.NumberEvents(ctx, events)
	if err != nil {
		return err
	}
	if again := o.last - id + 1; again > 0 && events > 0 {
		if _, err := tx.NumberEvents(ctx, int(again)); err != nil {
			return err
		}
		id, o.boots = o.last+1, lru.New[whose, open](o.most)
	}
	for n := range All(news...) {
		if n.IsEvent() {
			n.ID = id
			id++
		}
	}
	return nil
}

// All is the news of all chunks, in order.
func All(chunks ...[]News) iter.Seq[*News] {
	return func(yield func(*News) bool) {
		for _, chunk := range chunks {
			for i := range chunk {
				if !yield(&chunk[i]) {
					return
				}
			}
		}
	}
}

// Changes are the rows that change with some news.
type Changes struct {
	provisioning.BootChanges
	at     map[whose]int // in open
	open   []open        // as they are then; without steps: not open any more
	closed []open
}

// Add returns what changes with that news, whose events have growing IDs. It is remembered
// when [Open.Keep] is called: what could not be stored may be added again.
func (o *Open) Add(news ...[]News) Changes {
	usual := 1
	for _, chunk := range news {
		usual += len(chunk) / 2 // a DISCOVER and its OFFER are one node's
	}
	c := Changes{at: make(map[whose]int, usual), open: make([]open, 0, usual)}
	for n := range All(news...) {
		if n.IsEvent() {
			o.step(&c, n)
		} else {
			o.learn(&c, n)
		}
	}
	c.Put = make([]provisioning.BootRow, 0, len(c.closed)+len(c.open))
	for _, list := range [][]open{c.closed, c.open} {
		for i := range list {
			if b := &list[i]; b.steps > 0 {
				c.Put = append(c.Put, b.row)
			}
		}
	}
	return c
}

// get returns the boot under way of somebody, to be changed; without steps: there is none.
func (o *Open) get(c *Changes, key whose) (b *open, changed bool) {
	i, ok := c.at[key]
	if !ok {
		remembered, _ := o.boots.Get(key)
		i, remembered.whose = len(c.open), key
		c.at[key], c.open = i, append(c.open, remembered)
	}
	return &c.open[i], ok && c.open[i].steps > 0
}

// step adds an event to its boot, or begins one with it.
func (o *Open) step(c *Changes, n *News) {
	key := of(n.MAC, n.Peer)
	b, changed := o.get(c, key)
	if begins := b.follow(n); begins || b.steps == MaxSteps || n.ID-b.row.ID >= Span {
		if changed {
			c.closed = append(c.closed, *b)
		}
		*b = open{whose: key, row: provisioning.BootRow{MAC: n.MAC}, follower: b.follower}
		if n.MAC.IsZero() {
			b.row.Peer = n.Peer
		}
	}
	add(&b.row, n.ID, n.At, n.body)
	b.steps++
}

// follow tells whether an event begins another boot.
func (b *open) follow(n *News) (begins bool) {
	if n.MAC.IsZero() {
		return b.steps == 0 || provisioning.FromMillis(n.At).Sub(b.row.Began) > unknownFor
	}
	return b.follower.Begins(n.turn()) || b.steps == 0
}

// learn gives what an address did to the node that has it: its boot program went out by
// TFTP before it had said who it is.
func (o *Open) learn(c *Changes, n *News) {
	mac, since := n.MAC, provisioning.FromMillis(n.At)
	c.Attribute = append(c.Attribute, provisioning.Attribution{MAC: mac, Peer: n.Peer, Since: since})
	for i := range c.closed {
		if b := &c.closed[i]; b.row.Peer == n.Peer && !b.row.Ended.Before(since) {
			c.attribute(b, mac)
		}
	}
	at, changed := o.get(c, of(provisioning.MAC{}, n.Peer))
	unknown := *at
	*at = open{whose: at.whose}
	switch {
	case unknown.steps == 0:
		return
	case unknown.row.Ended.Before(since): // what another node did that had the address
		if changed {
			c.closed = append(c.closed, unknown)
		}
		return
	}
	c.attribute(&unknown, mac)
	b, _ := o.get(c, of(mac, n.Peer))
	both, ok := join(*b, unknown)
	if !ok {
		c.closed = append(c.closed, unknown)
		return
	}
	if b.stored && both.row.ID != b.row.ID {
		c.Delete, both.stored = append(c.Delete, b.row.ID), false
	}
	*b = both
}

// attribute gives a boot to a node: its row is put anew.
func (c *Changes) attribute(b *open, mac provisioning.MAC) {
	if b.stored {
		c.Delete, b.stored = append(c.Delete, b.row.ID), false
	}
	b.row.MAC, b.row.Peer = mac, netip.Addr{}
}

// join makes one boot of a node's and of what its address did before it was known, in the
// order of the events, if a row has room for them.
func join(b, unknown open) (both open, ok bool) {
	events, err := Events(b.row)
	before, errBefore := Events(unknown.row)
	if err != nil || errBefore != nil {
		return open{}, false
	}
	events = append(events, before...)
	slices.SortFunc(events, func(a, b provisioning.Event) int { return cmp.Compare(a.ID, b.ID) })
	both = open{whose: b.whose, stored: b.stored, row: provisioning.BootRow{MAC: unknown.row.MAC}}
	var room []byte
	for _, e := range events {
		both.follower.Begins(e)
		room = appendBody(room[:0], &e)
		add(&both.row, e.ID, provisioning.Millis(e.At), room)
		both.steps++
	}
	return both, both.steps <= MaxSteps && both.row.Last-both.row.ID < Span
}

// Keep remembers what has been stored.
func (o *Open) Keep(c Changes) {
	for _, b := range c.open {
		if b.steps == 0 {
			o.boots.Delete(b.whose)
			continue
		}
		b.stored = true
		o.last = max(o.last, b.row.Last)
		o.boots.Put(b.whose, b)
	}
}

// Forget forgets the boots that could not be stored: it may be that they were.
func (o *Open) Forget(c Changes) {
	for _, b := range c.open {
		o.boots.Delete(b.whose)
	}
}

// AddEvents stores events, as boots of their own.
func AddEvents(ctx context.Context, tx provisioning.Tx, events []provisioning.Event) error {
	news, open := Pack(events), NewOpen(len(events))
	if err := open.Number(ctx, tx, news); err != nil {
		return err
	}
	return tx.WriteBoots(ctx, open.Add(news).BootChanges)
}
