package boots

import (
	"iter"
	"net/netip"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"farmboot/provisioning"
)

// News is what happened, as it waits to be stored: an event, or that Peer is the address of
// MAC, and so the boots of that address which had none since At.
//
// Of a farm that is switched on tens of thousands wait. So what an event tells is packed
// at once: that takes a third of the memory, and the garbage collector follows no texts.
type News struct {
	ID    int64 // of the event, when it has one
	At    int64 // Unix milliseconds
	MAC   provisioning.MAC
	Peer  netip.Addr
	Stage provisioning.Stage
	IPXE  bool

	learned bool   // it is no event
	body    []byte // what a row keeps of the event
	machine []byte // what the machine said of itself: fieldArch and those behind it
}

// IsEvent tells whether it is an event.
func (n *News) IsEvent() bool { return !n.learned }

// Happened packs an event. Its text is appended to room, which is returned.
func Happened(room []byte, e *provisioning.Event) (News, []byte) {
	begin := len(room)
	room = appendBody(room, e)
	end := len(room)
	for i, text := range said(&e.Machine) {
		room = appendText(room, fieldArch+protowire.Number(i), *text)
	}
	return News{
		ID: e.ID, At: provisioning.Millis(e.At), MAC: e.MAC, Peer: e.Peer, Stage: e.Stage, IPXE: e.IPXE,
		body: room[begin:end:end], machine: room[end:len(room):len(room)],
	}, room
}

// Pack packs events.
func Pack(events []provisioning.Event) []News {
	news := make([]News, len(events))
	var room []byte
	for i := range events {
		news[i], room = Happened(room, &events[i])
	}
	return news
}

// Learned says that peer is the address of mac, and was since then.
func Learned(peer netip.Addr, mac provisioning.MAC, since time.Time) News {
	return News{At: provisioning.Millis(since), MAC: mac, Peer: peer, learned: true}
}

// Event is the event as it is stored: without what the machine said of itself.
func (n *News) Event() provisioning.Event {
	var e provisioning.Event
	if err := readBody(n.body, &e); err != nil {
		panic(err) // we have packed it
	}
	e.ID, e.At, e.MAC = n.ID, provisioning.FromMillis(n.At), n.MAC
	return e
}

// Size is of how many bytes the text is in which it was packed.
func (n *News) Size() int { return len(n.body) + len(n.machine) }

// turn is what tells of an event whether a boot begins with it.
func (n *News) turn() provisioning.Event {
	switch n.Stage {
	case provisioning.StageNBP, provisioning.StageKernel: // by which file, and how much of it
		return n.Event()
	}
	return provisioning.Event{At: provisioning.FromMillis(n.At), Stage: n.Stage, IPXE: n.IPXE}
}

// fieldArch is the first of what a machine says of itself. These are never stored so.
const fieldArch protowire.Number = 1

// said is what a machine says of itself.
func said(m *provisioning.Machine) [6]*string {
	return [...]*string{&m.Arch, &m.Firmware, &m.UUID, &m.Serial, &m.Manufacturer, &m.Product}
}

// Said is what the machine said of itself, each by a number from 0 to 5.
func (n *News) Said() iter.Seq2[int, []byte] {
	return func(yield func(int, []byte) bool) {
		for rest := n.machine; len(rest) > 0; {
			field, _, tag := protowire.ConsumeTag(rest)
			text, size := protowire.ConsumeBytes(rest[tag:])
			rest = rest[tag+size:]
			if !yield(int(field-fieldArch), text) {
				return
			}
		}
	}
}

// Machine is what the machine said of itself.
func (n *News) Machine() (m provisioning.Machine) {
	texts := said(&m)
	for i, text := range n.Said() {
		*texts[i] = string(text)
	}
	return m
}
