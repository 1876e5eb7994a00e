package fakeclient

import "net/netip"

// Choice is what firmware does once it has chosen between offers.
type Choice struct {
	Server netip.Addr // that it loads its boot file from, or asks for one; not valid: none
	File   string     // "": it asks Server for it, on port 4011
	Err    error      // why it boots nothing, or nothing that runs
}

// Choose says what firmware does with offers that come in, in this order, before the
// time for collecting them is over. They answer the DISCOVER of the machine id.
func (p Persona) Choose(id Identity, offers ...Packet) Choice {
	if !id.Address.IsValid() {
		id.Address = id.placeholder() // it need not ask for one
	}
	m, _ := p.Start(id)
	for _, o := range offers {
		if m.state == selecting {
			m.Receive(o)
		}
	}
	for m.state == selecting {
		m.Expire()
	}
	switch {
	case m.state == asking:
		return Choice{Server: m.plan.ask[0]}
	case m.result.Boot != nil:
		return Choice{Server: m.result.Boot.Server, File: m.result.Boot.File, Err: m.result.Err}
	case m.result.Err == nil: // it has an address, and nothing to boot
		return Choice{Err: ErrNoBootOffer}
	}
	return Choice{Err: m.result.Err}
}

// placeholder is an address for a machine that takes none (RFC 5737).
func (Identity) placeholder() netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, 1}) }
