package dhcp

import (
	"net/netip"
	"slices"
	"sync/atomic"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"golang.org/x/net/ipv4"
)

// Local is an address of ours on an interface.
type Local struct {
	Prefix  netip.Prefix // the address, with its network
	BaseURL string       // what nodes of that network reach our HTTP server by, without a slash at the end
}

// Link is an interface that machines boot from, and our addresses on it, of which
// each packet is answered from one. They may change at any time. Its methods are safe
// for concurrent use; those that a packet waits for take no lock.
type Link struct {
	name  string
	index int
	state atomic.Pointer[linkState]
}

// linkState is what a Link knows at one moment. Nothing in it changes.
type linkState struct {
	locals []local
	heard  netip.Addr // what the LAN's DHCP server gave out last; the zero Addr: not known
}

// local is a Local with what every reply from it needs.
type local struct {
	Local
	control []byte // ancillary data: source address and interface
}

// NewLink returns the link of an interface; if index is not 0, replies leave by the
// interface of that index. There is at least one address, and the first one is
// taken where nothing speaks for another.
func NewLink(name string, index int, locals ...Local) *Link {
	l := &Link{name: name, index: index}
	l.state.Store(&linkState{})
	l.Set(locals...)
	return l
}

// Set replaces our addresses.
func (l *Link) Set(locals ...Local) {
	next := make([]local, len(locals))
	for i, a := range locals {
		next[i] = local{a, (&ipv4.ControlMessage{Src: a.Prefix.Addr().AsSlice(), IfIndex: l.index}).Marshal()}
	}
	l.update(func(s linkState) linkState { return linkState{next, s.heard} })
}

// Hear takes note of an address that the LAN's DHCP server gives out. It tells
// whether machines are told another address of ours since.
func (l *Link) Hear(given netip.Addr) (news bool) {
	s := l.state.Load()
	if len(s.locals) == 1 || s.find(given) == nil || s.find(given) == s.find(s.heard) {
		return false
	}
	was := l.Told()
	l.update(func(s linkState) linkState { return linkState{s.locals, given} })
	return l.Told() != was
}

// Undecided tells whether we have addresses in several networks there, and nothing
// is known of which one the LAN's machines are in.
func (l *Link) Undecided() bool {
	s := l.state.Load()
	several := slices.ContainsFunc(s.locals, func(a local) bool { return a.Prefix.Masked() != s.locals[0].Prefix.Masked() })
	return several && s.find(s.heard) == nil
}

// Told returns the address that a machine is told that does not have one yet.
func (l *Link) Told() netip.Addr { return l.state.Load().choose(netip.Addr{}).Prefix.Addr() }

func (l *Link) update(change func(linkState) linkState) {
	for {
		old := l.state.Load()
		next := change(*old)
		if l.state.CompareAndSwap(old, &next) {
			return
		}
	}
}

// find returns our address in the network that a is in; nil if there is none.
func (s *linkState) find(a netip.Addr) *local {
	if !a.IsValid() {
		return nil
	}
	for i := range s.locals {
		if s.locals[i].Prefix.Contains(a) {
			return &s.locals[i]
		}
	}
	return nil
}

// is returns our address a; nil if it is none of ours.
func (s *linkState) is(a netip.Addr) *local {
	for i := range s.locals {
		if s.locals[i].Prefix.Addr() == a {
			return &s.locals[i]
		}
	}
	return nil
}

// choose returns the address of ours that fits what is known, the best witness first;
// without any, the first.
func (s *linkState) choose(witnesses ...netip.Addr) *local {
	for _, w := range witnesses {
		if l := s.find(w); l != nil {
			return l
		}
	}
	if l := s.find(s.heard); l != nil {
		return l
	}
	return &s.locals[0]
}

// local returns the address of ours that a packet from peer is answered from, which
// was sent to the address to: the one in the relay agent's network, else the one that
// was asked, else the one in the client's network, else in that of the addresses that
// the DHCP server gives out.
func (l *Link) local(req *dhcpv4.DHCPv4, peer netip.AddrPort, to netip.Addr) *local {
	s := l.state.Load()
	if len(s.locals) == 1 {
		return &s.locals[0]
	}
	if relay, ok := relayAgent(req); ok {
		if found := s.find(relay); found != nil {
			return found
		}
	}
	if found := s.is(to); found != nil {
		return found
	}
	client, _ := address(req.ClientIPAddr)
	return s.choose(client, peer.Addr())
}
