package tftp

import (
	"container/list"
	"net/netip"
	"sync"
	"time"
)

const (
	maxTransfers        = 2048 // at once
	maxTransfersPerPeer = 512  // per address: a machine has one or two, but a router may hide a farm
)

// limits knows which transfers are under way, and decides who gets a place.
//
// A request costs its sender one packet with an address that may be forged; only an
// acknowledgement shows that somebody is there. So where transfers that were never
// acknowledged hold half of the places, the oldest of them makes room, and nobody can
// keep more of those than others by asking more often. Where there are fewer, machines
// that start now are among them, which need some milliseconds to acknowledge: then the
// address that has most transfers makes room for one that has none.
type limits struct {
	mu         sync.Mutex
	total      int
	peers      map[netip.Addr]*peer
	begun      map[transferKey]*admission // of the last one with that key
	unanswered list.List                  // of *admission, the oldest in front
}

// peer is what one address has under way.
type peer struct {
	unanswered list.List // of *admission, the oldest in front
	answered   list.List // of *admission, the one that answered first in front
}

func (p *peer) count() int { return p.unanswered.Len() + p.answered.Len() }

// repeatLimit is for how long after a transfer has begun the same request is a repeat
// that came late: our answer was slow, and the client had asked again. After that it is
// a machine that starts anew.
const repeatLimit = 2 * time.Second

// transferKey tells requests apart: a client that repeats one sends the same from the
// same port.
type transferKey struct {
	peer    netip.AddrPort
	request string // the whole packet
}

func newLimits() *limits {
	return &limits{begun: make(map[transferKey]*admission), peers: make(map[netip.Addr]*peer)}
}

// admission is a transfer that has been admitted.
type admission struct {
	key      transferKey
	cut      func()    // ends the transfer, to make room
	answered time.Time // when the client first acknowledged something; zero: not yet
	over     bool

	inAll  *list.Element // of limits.unanswered; nil: answered
	inPeer *list.Element // of one of its peer's lists
}

// begin admits a transfer, or says why not: with a result that metrics count. cut is
// called, at most once and not before begin has returned, when the transfer has to make
// room for another one.
func (l *limits) begin(k transferKey, now time.Time, cut func()) (a *admission, refused string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if last, ok := l.begun[k]; ok && (last.answered.IsZero() || now.Sub(last.answered) < repeatLimit) {
		return nil, resultDuplicate
	}
	p := l.peers[k.peer.Addr()]
	if p == nil {
		p = new(peer)
	}
	if victim, full := l.makeRoom(p); full {
		if victim == nil {
			return nil, resultBusy
		}
		l.remove(victim)
		victim.cut()
	}
	a = &admission{key: k, cut: cut}
	a.inAll, a.inPeer = l.unanswered.PushBack(a), p.unanswered.PushBack(a)
	l.begun[k] = a
	l.peers[k.peer.Addr()] = p // may have been removed with the victim
	l.total++
	return a, ""
}

// makeRoom tells whether there is no room for one more transfer of p, and which one has
// to go for it; nil: none.
func (l *limits) makeRoom(p *peer) (victim *admission, full bool) {
	own := front(&p.unanswered)
	switch {
	case p.count() >= maxTransfersPerPeer:
		return own, true
	case l.total < maxTransfers:
		return nil, false
	}
	oldest := front(&l.unanswered)
	halfFull := l.unanswered.Len() >= maxTransfers/2
	switch {
	case halfFull && l.peerOf(oldest).unanswered.Len() > p.unanswered.Len():
		return oldest, true
	case own != nil:
		return own, true
	case p.count() > 0:
		return nil, true
	}
	var most *peer // of those who have more than one
	for _, other := range l.peers {
		if other.count() > 1 && (most == nil || other.count() > most.count()) {
			most = other
		}
	}
	if most == nil {
		return oldest, true
	}
	if victim = front(&most.unanswered); victim == nil {
		victim = front(&most.answered)
	}
	return victim, true
}

func (l *limits) peerOf(a *admission) *peer { return l.peers[a.key.peer.Addr()] }

func front(of *list.List) *admission {
	if e := of.Front(); e != nil {
		return e.Value.(*admission)
	}
	return nil
}

// answered takes note that the client has our answer.
func (l *limits) answered(a *admission, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a.over || a.inAll == nil {
		return
	}
	p := l.peerOf(a)
	l.unanswered.Remove(a.inAll)
	p.unanswered.Remove(a.inPeer)
	a.inAll, a.inPeer = nil, p.answered.PushBack(a)
	a.answered = now
}

// end takes note that a transfer is over.
func (l *limits) end(a *admission) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.remove(a)
}

// remove forgets a transfer, unless it has been forgotten already.
func (l *limits) remove(a *admission) {
	if a.over {
		return
	}
	a.over = true
	if l.begun[a.key] == a {
		delete(l.begun, a.key)
	}
	p := l.peerOf(a)
	if a.inAll != nil {
		l.unanswered.Remove(a.inAll)
		p.unanswered.Remove(a.inPeer)
	} else {
		p.answered.Remove(a.inPeer)
	}
	if p.count() == 0 {
		delete(l.peers, a.key.peer.Addr())
	}
	l.total--
}

// count is the number of transfers under way.
func (l *limits) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.total
}
