// Package firewall says what a host's own packet filter does with a packet.
//
// It reads the rules as nftables and iptables print them ([Read] asks both programs),
// and follows a packet through them ([Rules.In], [Rules.Out]). Where a rule depends on
// what is not known before a packet comes in, such as a rate limit, it says so: the
// answer is [Unknown], never a guess.
package firewall

import (
	"maps"
	"net/netip"
)

// Packet is what rules can know of a packet.
type Packet struct {
	Interface   string       // that it comes in on, or leaves by
	Protocol    string       // "udp" or "tcp"
	Source      netip.Prefix // one address, or the network that it is in
	Destination netip.Prefix
	SourcePort  uint16 // 0: any
	Port        uint16 // of the destination
	Broadcast   bool
	Established bool // it belongs to a conversation that was let through before
}

// Verdict is what becomes of a packet.
type Verdict string

// The verdicts.
const (
	Accepted Verdict = "accepted"
	Dropped  Verdict = "dropped"
	Unknown  Verdict = "unknown" // it depends on what cannot be known beforehand
)

// Rules are the chains of a host's packet filter.
type Rules struct {
	base   []chain // those that a hook calls, in no particular order
	called map[string]chain
}

// chain is a list of rules. Names of chains that rules call begin with their table's.
type chain struct {
	hook   string // input, output, prerouting …; "" if only rules call it
	device string // of an ingress hook
	drops  bool   // its policy is drop
	rules  []rule
}

// rule has statements that are looked at in turn: one that does not hold ends the rule.
type rule []statement

// statement tells whether it holds for a packet, and what it does with it then.
type statement func(Packet) (truth, action)

// truth is an answer that may be unknown.
type truth int

const (
	no truth = iota
	maybe
	yes
)

func truthOf(b bool) truth {
	if b {
		return yes
	}
	return no
}

func not(t truth) truth { return yes - t }

// action is what a statement does with a packet.
type action struct {
	kind   actionKind
	target string // of call and leaveFor: a key of Rules.called
}

type actionKind int

const (
	goOn actionKind = iota // the next statement, or the next rule
	accept
	drop
	leave    // back to the caller
	call     // another chain, and then the next rule
	leaveFor // another chain, and then back to the caller
)

// outcomes are what may become of a packet in a chain.
type outcomes uint8

const (
	mayAccept outcomes = 1 << iota
	mayDrop
	mayLeave // the chain ends without a verdict
)

// In says what becomes of a packet that comes in.
func (r Rules) In(p Packet) Verdict { return r.pass(p, "ingress", "prerouting", "input") }

// Out says what becomes of a packet that this host sends.
func (r Rules) Out(p Packet) Verdict { return r.pass(p, "output", "postrouting", "egress") }

// pass follows a packet through the chains of hooks. Each of them can drop it for good;
// to accept it, all must.
func (r Rules) pass(p Packet, hooks ...string) Verdict {
	verdict := Accepted
	for _, c := range r.base {
		concerned := false
		for _, h := range hooks {
			concerned = concerned || c.hook == h && (c.device == "" || c.device == p.Interface)
		}
		if !concerned {
			continue
		}
		o := r.follow(c, p, 0)
		if o&mayLeave != 0 {
			o = o&^mayLeave | map[bool]outcomes{true: mayDrop, false: mayAccept}[c.drops]
		}
		switch {
		case o == mayDrop:
			return Dropped
		case o&mayDrop != 0:
			verdict = Unknown
		}
	}
	return verdict
}

// join adds the rules of another program.
func (r Rules) join(other Rules) Rules {
	r.base = append(r.base, other.base...)
	if r.called == nil {
		r.called = make(map[string]chain)
	}
	maps.Copy(r.called, other.called)
	return r
}

// maxDepth is how deep chains call each other (Linux, NFT_JUMP_STACK_SIZE).
const maxDepth = 16

// follow returns what may become of a packet in a chain.
func (r Rules) follow(c chain, p Packet, depth int) outcomes {
	if depth > maxDepth {
		return mayAccept | mayDrop
	}
	var all outcomes
	for _, rule := range c.rules {
		holds := yes
		for _, s := range rule {
			t, a := s(p)
			holds = min(holds, t)
			if holds == no {
				break
			}
			o, ends := r.perform(a, p, depth)
			all |= o
			if ends && holds == yes {
				return all
			}
		}
	}
	return all | mayLeave
}

// perform returns what may become of a packet by an action, and whether the chain ends
// with it for sure.
func (r Rules) perform(a action, p Packet, depth int) (o outcomes, ends bool) {
	switch a.kind {
	case accept:
		return mayAccept, true
	case drop:
		return mayDrop, true
	case leave:
		return mayLeave, true
	case call, leaveFor:
		o := r.follow(r.called[a.target], p, depth+1)
		if a.kind == leaveFor {
			return o, true
		}
		return o &^ mayLeave, o&mayLeave == 0
	}
	return 0, false
}

// within compares an address that lies in a network with another network.
func within(addr, network netip.Prefix) truth {
	switch {
	case !addr.IsValid() || !network.IsValid():
		return maybe
	case !addr.Overlaps(network):
		return no
	case network.Bits() <= addr.Bits():
		return yes
	}
	return maybe
}
