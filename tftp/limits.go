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
	begun map[transferKey]time.Time // when the client first acknowledged something; zero: not yet
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
	return &limits{begun: make(map[transferKey]time.Time), peers: make(map[netip.Addr]int)}
}

// begin admits a transfer, or says why not: it is a [metrics] result.
func (l *limits) begin(k transferKey, now time.Time) (refused string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if began, ok := l.begun[k]; ok && (began.IsZero() || now.Sub(began) < repeatLimit) {
		return resultDuplicate
	}
	if l.total >= maxTransfers || l.peers[k.peer.Addr()] >= maxTransfersPerPeer {
		return resultBusy
	}
	l.begun[k] = time.Time{}
	l.total++
	l.peers[k.peer.Addr()]++
	return ""
}

// answered takes note that the client has our answer.
func (l *limits) answered(k transferKey, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.begun[k].IsZero() {
		l.begun[k] = now
	}
}

// end takes note that a transfer is over.
func (l *limits) end(k transferKey) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.begun, k)
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
