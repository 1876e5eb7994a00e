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
	StageWait       Stage = "wait"       // the node waits for its turn to fetch its kernel; Cause has its place
	StageLoading    Stage = "loading"    // a kernel is on its way: so far Bytes of Size, in Duration
	StageKernel     Stage = "kernel"     // a kernel went out; Bytes of Size, Duration
	StageExit       Stage = "exit"       // the node was sent on to its next boot device
	StageUp         Stage = "up"         // its operating system asked the LAN for an address: it runs
	StageFailed     Stage = "failed"     // the node told us that something failed; Cause says what
	StageRefused    Stage = "refused"    // we refused something; Cause says why
)

// StageDropped is the last event that a subscriber gets who did not keep up. It is
// never stored.
const StageDropped Stage = "dropped"

// Event is one thing that one node did, or that we did for it.
type Event struct {
	ID       int64         `json:"id"` // given by the store; grows with time, whatever clocks say
	At       time.Time     `json:"at"`
	MAC      MAC           `json:"mac"` // zero: not known (yet), see package recorder
	Peer     netip.Addr    `json:"peer,omitzero"`
	Stage    Stage         `json:"stage"`
	Detail   string        `json:"detail,omitempty"`  // what else there is to say, one line for people
	IPXE     bool          `json:"ipxe,omitempty"`    // with StageDiscover: iPXE asks, not firmware
	File     string        `json:"file,omitempty"`    // that was offered or sent: a boot program, a URL, a kernel
	Via      string        `json:"via,omitempty"`     // how a boot program went out: "TFTP", "HTTP"
	Version  string        `json:"version,omitempty"` // of the kernel, in words
	SHA256   string        `json:"sha256,omitempty"`  // of the kernel
	Cause    Cause         `json:"cause,omitzero"`
	Held     int           `json:"held,omitempty"`  // how many like it were held back before
	Bytes    int64         `json:"bytes,omitempty"` // sent
	Size     int64         `json:"size,omitempty"`  // of the whole, where Bytes is a part
	Duration time.Duration `json:"duration,omitempty"`
	Machine  Machine       `json:"-"` // where it said so: kept with the MAC address, not with the event
}

// Record is how a listener reports an event. It never blocks and never fails;
// the Recorder behind it drops, and counts, what it cannot keep up with.
type Record func(Event)
