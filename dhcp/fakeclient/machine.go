package fakeclient

import (
	"net/netip"
	"time"
)

// Identity is one machine, and how it is to behave on this network.
type Identity struct {
	MAC  [6]byte
	GUID [16]byte // SMBIOS UUID
	XID  uint32   // of its first transaction

	// Address, if valid, is one that the machine has already: it looks at offers
	// but takes no lease, so that a real LAN is left as it is.
	Address netip.Addr
	// Broadcast asks for answers by broadcast even where the firmware takes
	// unicasts, which a socket cannot receive before it has the address.
	Broadcast bool
	// MaxWait, if not 0, caps each wait, for those who cannot wait as long as
	// firmware does: on a healthy LAN all offers are there within a second.
	MaxWait time.Duration
}

// Persona is a kind of firmware.
type Persona struct {
	Name  string // short: "edk2 x64"
	About string // which machines have it, for people
	firmware
}

// firmware is what kinds of firmware differ in. Its methods are pure.
type firmware interface {
	// waits are the times to wait after each DISCOVER.
	waits() []time.Duration
	// collects is after how many of them it chooses, if it can.
	collects() int
	// options are those of a request, in the firmware's order.
	options(m *Machine, messageType byte) []option
	// broadcasts tells whether it asks for broadcast answers.
	broadcasts() bool
	// admit looks at a reply to a DISCOVER when it comes in.
	admit(m *Machine, r reply) error
	// enough tells whether it goes on with these offers at once, although its time
	// for collecting is not over; waited is the number of waits that are.
	enough(offers []reply, waited int) bool
	// choose decides between the offers.
	choose(offers []reply) (plan, error)
	// bootAck takes the file from an answer on port 4011.
	bootAck(m *Machine, r reply) (Boot, error)
	// runs tells whether the machine can run a file, going by its name.
	runs(file string) error
}

// plan is what firmware does after it has chosen.
type plan struct {
	lease  reply        // the offer whose address it asks for
	boot   *Boot        // what it boots then, if it knows already
	ask    []netip.Addr // else the boot servers it asks on port 4011, in this order
	port   uint16       // from this port
	newXID bool         // in a transaction of its own
	fail   error        // or: why it boots nothing, which shows only once it has the address
}

// Step is what a machine does next.
type Step struct {
	Send []Packet
	Wait time.Duration // call Expire after this; 0: the last one still counts
	Done *Result       // the attempt is over
}

// Machine is one machine in one boot attempt. Not for concurrent use.
type Machine struct {
	persona Persona
	id      Identity
	state   state
	xid     uint32
	sent    int // packets in this state
	offers  []reply
	plan    plan
	result  Result
}

type state int

const (
	selecting  state = iota // DISCOVER sent, collecting offers
	requesting              // REQUEST sent, waiting for the lease
	asking                  // REQUEST to port 4011 sent
	done
)

// maxOffers is how many offers are kept (edk2 PxeBcImpl.h, PXEBC_OFFER_MAX_NUM).
const maxOffers = 16

// Start switches a machine on.
func (p Persona) Start(id Identity) (*Machine, Step) {
	m := &Machine{persona: p, id: id, xid: id.XID, result: Result{Persona: p.Name}}
	return m, m.discover()
}

var everybody = netip.MustParseAddrPort("255.255.255.255:67")

// discover sends DISCOVER once more.
func (m *Machine) discover() Step {
	wait := m.capped(m.persona.waits()[m.sent])
	m.sent++
	return Step{Send: []Packet{m.packet(discover, clientPort, everybody)}, Wait: wait}
}

// DecidesBy returns when firmware decides what to boot, if the offers that it needs have
// come some time after it began: at the end of its wait. Both are counted from its first
// DISCOVER.
func (p Persona) DecidesBy(offered time.Duration) time.Duration {
	var end time.Duration
	for n, w := range p.waits() {
		if end += w; n+1 >= p.collects() && end > offered {
			break
		}
	}
	return end
}

// capped caps a wait.
func (m *Machine) capped(wait time.Duration) time.Duration {
	if m.id.MaxWait > 0 {
		return min(wait, m.id.MaxWait)
	}
	return wait
}

// packet builds a request of the firmware.
func (m *Machine) packet(messageType byte, from uint16, to netip.AddrPort) Packet {
	h := header{xid: m.xid, seconds: m.seconds(), mac: m.id.MAC, broadcast: m.persona.broadcasts() || m.id.Broadcast}
	source := netip.IPv4Unspecified()
	if m.state == asking {
		h.ciaddr, source, h.broadcast = m.result.Address, m.result.Address, false
	}
	return Packet{
		From: netip.AddrPortFrom(source, from), To: to,
		Data: encode(h, m.persona.options(m, messageType)),
	}
}

// seconds since the machine began, as the waits have it.
func (m *Machine) seconds() uint16 {
	var s time.Duration
	if m.state == selecting {
		for _, w := range m.persona.waits()[:max(0, m.sent-1)] {
			s += w
		}
	}
	return uint16(s / time.Second)
}

// Receive gives the machine a packet that came in on one of its ports.
func (m *Machine) Receive(p Packet) Step {
	r, err := parseReply(p)
	switch {
	case m.state == done:
		return Step{}
	case err != nil, r.xid() != m.xid, !r.isFor(m.id.MAC):
		return Step{} // somebody else's
	}
	switch m.state {
	case selecting:
		return m.receiveOffer(p, r)
	case requesting:
		return m.receiveLease(p, r)
	default:
		return m.receiveBootAck(p, r)
	}
}

func (m *Machine) ignore(p Packet, why error) Step {
	if len(m.result.Ignored) < 100 {
		m.result.Ignored = append(m.result.Ignored, Ignored{p.From, why})
	}
	return Step{}
}

func (m *Machine) receiveOffer(p Packet, r reply) Step {
	if err := m.persona.admit(m, r); err != nil {
		return m.ignore(p, err)
	}
	if len(m.offers) == maxOffers {
		return m.ignore(p, ErrTooMany)
	}
	m.offers = append(m.offers, r)
	if m.persona.enough(m.offers, m.sent-1) {
		return m.choose()
	}
	return Step{}
}

// Expire tells the machine that the time of the last Step's Wait has passed.
func (m *Machine) Expire() Step {
	switch m.state {
	case selecting:
		_, err := m.decide()
		if err == nil && m.sent >= m.persona.collects() || m.sent == len(m.persona.waits()) {
			return m.choose()
		}
		return m.discover()
	case requesting:
		if m.sent == 4 {
			return m.finish(ErrRefused)
		}
		return m.request()
	case asking:
		if m.sent == bootServerTries {
			m.plan.ask, m.sent = m.plan.ask[1:], 0
		}
		return m.askBootServer()
	}
	return Step{}
}

// decide is the firmware's choice between the offers so far.
func (m *Machine) decide() (plan, error) {
	if _, ok := first(m.offers, func(r reply) bool { return !isProxy(r) }); !ok {
		return plan{}, ErrNoLease
	}
	return m.persona.choose(m.offers)
}

// choose ends the collecting of offers.
func (m *Machine) choose() Step {
	var err error
	if m.plan, err = m.decide(); err != nil {
		return m.finish(err)
	}
	m.result.Lease = m.plan.lease.serverID()
	m.sent = 0
	if m.id.Address.IsValid() {
		m.result.Address = m.id.Address
		return m.leased()
	}
	m.state = requesting
	return m.request()
}

// request asks for the address of the chosen offer.
func (m *Machine) request() Step {
	m.sent++
	return Step{Send: []Packet{m.packet(request, clientPort, everybody)}, Wait: m.capped(4 * time.Second)}
}

func (m *Machine) receiveLease(p Packet, r reply) Step {
	switch {
	case r.serverID() != m.plan.lease.serverID():
		return m.ignore(p, ErrWrongServer)
	case r.messageType() == nak:
		return m.finish(ErrRefused)
	case r.messageType() != ack || r.yiaddr() != m.plan.lease.yiaddr():
		return m.ignore(p, ErrWrongType)
	}
	m.result.Address = r.yiaddr()
	return m.leased()
}

// leased goes on once the machine has an address.
func (m *Machine) leased() Step {
	switch {
	case m.plan.fail != nil:
		return m.finish(m.plan.fail)
	case m.plan.boot != nil:
		return m.boot(*m.plan.boot)
	case len(m.plan.ask) == 0:
		return m.finish(nil)
	}
	m.state, m.sent = asking, 0
	if m.plan.newXID {
		m.xid++
	}
	return m.askBootServer()
}

// bootServerTries is how often a boot server is asked, a second apart and then
// two (edk2 PxeBcDhcp4.h, PXEBC_BOOT_REQUEST_RETRIES and _TIMEOUT).
const bootServerTries = 2

func (m *Machine) askBootServer() Step {
	if len(m.plan.ask) == 0 {
		return m.finish(ErrNoBootServer)
	}
	m.sent++
	to := netip.AddrPortFrom(m.plan.ask[0], bootServerPort)
	return Step{Send: []Packet{m.packet(request, m.plan.port, to)}, Wait: m.capped(time.Duration(m.sent) * time.Second)}
}

func (m *Machine) receiveBootAck(p Packet, r reply) Step {
	boot, err := m.persona.bootAck(m, r)
	if err != nil {
		return m.ignore(p, err)
	}
	return m.boot(boot)
}

// boot ends the attempt with a file to load.
func (m *Machine) boot(b Boot) Step {
	m.result.Boot = &b
	return m.finish(m.persona.runs(b.File))
}

func (m *Machine) finish(err error) Step {
	m.state = done
	m.result.Err = err
	return Step{Done: &m.result}
}

// GiveUp ends the attempt from outside: a person has waited long enough. The
// result says what the firmware was still waiting for.
func (m *Machine) GiveUp() Result {
	switch m.state {
	case selecting:
		_, err := m.decide()
		if err == nil {
			err = ErrGaveUp
		}
		m.finish(err)
	case requesting:
		m.finish(ErrRefused)
	case asking:
		m.finish(ErrNoBootServer)
	}
	return m.result
}

// lease returns the options that ask for the chosen address (RFC 2131 table 5):
// the server it comes from and the address; none in other states.
func (m *Machine) lease() []option {
	if m.state != requesting {
		return nil
	}
	return []option{
		{optServerID, m.plan.lease.option(optServerID)},
		{optRequestedIP, m.plan.lease.raw[16:20]},
	}
}

// guid is option 97: type 0 and the UUID.
func (m *Machine) guid() []byte { return append([]byte{0}, m.id.GUID[:]...) }

// first returns the first offer that a condition holds for.
func first(offers []reply, condition func(reply) bool) (reply, bool) {
	for _, o := range offers {
		if condition(o) {
			return o, true
		}
	}
	return reply{}, false
}
