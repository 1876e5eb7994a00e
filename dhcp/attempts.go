package dhcp

import (
	"sync"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"

	"farmboot/provisioning"
)

// rememberAttempts is of how many machines the last attempt to boot is remembered.
const rememberAttempts = 1 << 15

// attempts follows how machines fare with what they are answered, and chooses what they
// are answered next. A strategy that booted a client once is never given up, unless another
// architecture asks in its place.
type attempts struct {
	mu       sync.Mutex
	machines *recent[*machine]
}

// machine is one MAC address.
type machine struct {
	clients [kinds]attempt
	last    clientKind // that asked last
}

// attempt is the last boot of a client of a machine.
type attempt struct {
	begun    bool
	arch     iana.Arch // of whoever asked last: another one is another client
	xid      dhcpv4.TransactionID
	secs     uint16
	strategy provisioning.Strategy
	proven   bool // it has booted this client before
	fetched  bool // in this boot, the program went out
	ran      bool // in this boot, the program ran
}

// outcome is what the attempt has come to so far.
func (a *attempt) outcome() outcome {
	switch {
	case a.ran:
		return booted
	case a.fetched:
		return silent
	}
	return unfetched
}

// repeats tells whether a DISCOVER belongs to the same boot as the one before: firmware
// repeats it with the same xid after 4, 8 and 16 seconds, iPXE after one. Firmware that
// takes a new xid each time says in secs for how long it has been trying.
func (a *attempt) repeats(xid dhcpv4.TransactionID, secs uint16) bool {
	return a.begun && (a.xid == xid || secs > a.secs)
}

func newAttempts() *attempts { return &attempts{machines: newRecent[*machine](rememberAttempts)} }

// discover returns the strategy for a DISCOVER, but of our own iPXE. proven is asked, once for a machine, what
// the store knows of it.
func (t *attempts) discover(c Client, req *dhcpv4.DHCPv4, ch choices, proven func() (provisioning.Proven, bool)) provisioning.Strategy {
	kind := kindOf(c)
	m, known := t.machines.get(c.MAC)
	if !known {
		m = new(machine)
		if p, ok := proven(); ok {
			for k := range kinds {
				if k.String() == p.Client {
					m.clients[k] = attempt{strategy: p.Strategy, proven: true}
				}
			}
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.machines.put(c.MAC, m)
	m.last = kind
	a := &m.clients[kind]
	if a.begun && a.arch != c.Arch {
		*a = attempt{}
	}
	switch {
	case a.repeats(req.TransactionID, req.NumSeconds):
	case a.begun && !a.proven:
		a.strategy = ch.next(a.strategy, a.outcome())
		fallthrough
	default:
		a.fetched, a.ran = false, false
	}
	a.begun, a.arch, a.xid, a.secs = true, c.Arch, req.TransactionID, req.NumSeconds
	if !ch.allows(a.strategy) { // what is chosen for the node has changed, or what it is
		a.strategy, a.proven = ch.first(), false
	}
	return a.strategy
}

// current returns the strategy of a machine's boot that is under way.
func (t *attempts) current(c Client, ch choices) provisioning.Strategy {
	t.mu.Lock()
	defer t.mu.Unlock()
	if m, ok := t.machines.get(c.MAC); ok {
		if a := m.clients[kindOf(c)]; a.arch == c.Arch && ch.allows(a.strategy) {
			return a.strategy
		}
	}
	return ch.first()
}

// fetched takes note that a boot program went out to mac.
func (t *attempts) fetched(mac provisioning.MAC) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if m, ok := t.machines.get(mac); ok {
		m.clients[m.last].fetched = true
	}
}

// refused takes note that mac's shim refused our iPXE: another one would not help.
func (t *attempts) refused(mac provisioning.MAC) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if m, ok := t.machines.get(mac); ok {
		m.clients[m.last].ran = true
	}
}

// running takes note that the program of mac runs: it asked for its script, or by DHCP
// once more. It returns what has thereby proved itself for the first time. A machine that
// did not fetch its program from us runs another one, from a stick for instance.
func (t *attempts) running(mac provisioning.MAC) (p provisioning.Proven, news bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m, ok := t.machines.get(mac)
	if !ok {
		return p, false
	}
	a := &m.clients[m.last]
	a.ran = true
	if !a.begun || a.proven || !a.fetched && !(m.last == kindIPXE && a.strategy.Form == provisioning.UsualForm) {
		return p, false
	}
	a.proven = true
	return provisioning.Proven{MAC: mac, Client: m.last.String(), Strategy: a.strategy}, true
}
