package provisioning

import (
	"net/netip"
	"time"
)

// Stage is a step on a node's way from power-on to its kernel.
type Stage string

// The stages, in the order in which a boot passes them.
const (
	StageDiscover   Stage = "discover"   // a netbooting DISCOVER came in (RFC 2131)
	StageOffer      Stage = "offer"      // we answered it with an OFFER (proxyDHCP, PXE 2.1)
	StageBootServer Stage = "bootserver" // a REQUEST on 4011 was ACKed (PXE boot server, BINL)
	StageNBP        Stage = "nbp"        // a network boot program went out, by TFTP or HTTP
	StageScript     Stage = "script"     // a boot script went out
	StageHold       Stage = "hold"       // the node waits on screen to be claimed
	StageClaim      Stage = "claim"      // somebody claimed it
	StageLoading    Stage = "loading"    // a kernel is on its way: so far Bytes of Size, in Duration
	StageKernel     Stage = "kernel"     // a kernel went out; Bytes of Size, Duration
	StageExit       Stage = "exit"       // the node was sent on to its next boot device
	StageRefused    Stage = "refused"    // we refused something; Detail says why
)

// StageDropped is the last event that a subscriber gets who did not keep up. It is
// never stored.
const StageDropped Stage = "dropped"

// Ignored is the Detail with which a node is refused whose policy is [Ignore].
const Ignored = `not registered, and unknown = "ignore"`

// Event is one thing that one node did, or that we did for it.
type Event struct {
	ID       int64         `json:"id"` // given by the store; grows with time
	At       time.Time     `json:"at"`
	MAC      MAC           `json:"mac"` // zero: not known (yet), see package recorder
	Peer     netip.Addr    `json:"peer,omitzero"`
	Stage    Stage         `json:"stage"`
	Detail   string        `json:"detail,omitempty"` // file, architecture, reason: one line for people
	Bytes    int64         `json:"bytes,omitempty"`  // sent
	Size     int64         `json:"size,omitempty"`   // of the whole, where Bytes is a part
	Duration time.Duration `json:"duration,omitempty"`
	Machine  Machine       `json:"-"` // where it said so: kept with the MAC address, not with the event
}

// Record is how a listener reports an event. It never blocks and never fails;
// the Recorder behind it drops, and counts, what it cannot keep up with.
type Record func(Event)
