package tftp

import (
	"net/netip"
	"sync"
	"time"
)

const (
	maxTransfers        = 2048 // at once; a client that finds no room asks again
	maxTransfersPerPeer = 512  // per address: a machine has one or two, but a router may hide a farm
)

// limits knows which transfers are under way.
type limits struct {
	mu    sync.Mutex
	total int
	peers map[netip.Addr]int
	begun map[transferKey]*admission // of the last one with that key
}

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
	return &limits{begun: make(map[transferKey]*admission), peers: make(map[netip.Addr]int)}
}

// admission is a transfer that has been admitted.
type admission struct {
	key      transferKey
	answered time.Time // when the client first acknowledged something; zero: not yet
}

// begin admits a transfer, or says why not: with a result that metrics count.
func (l *limits) begin(k transferKey, now time.Time) (a *admission, refused string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if last, ok := l.begun[k]; ok && (last.answered.IsZero() || now.Sub(last.answered) < repeatLimit) {
		return nil, resultDuplicate
	}
	if l.total >= maxTransfers || l.peers[k.peer.Addr()] >= maxTransfersPerPeer {
		return nil, resultBusy
	}
	a = &admission{key: k}
	l.begun[k] = a
	l.total++
	l.peers[k.peer.Addr()]++
	return a, ""
}

// answered takes note that the client has our answer.
func (l *limits) answered(a *admission, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a.answered = now
}

// end takes note that a transfer is over.
func (l *limits) end(a *admission) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := a.key
	if l.begun[k] == a {
		delete(l.begun, k)
	}
	l.total--
	if l.peers[k.peer.Addr()]--; l.peers[k.peer.Addr()] == 0 {
		delete(l.peers, k.peer.Addr())
	}
}

// count is the number of transfers under way.
func (l *limits) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.total
}
