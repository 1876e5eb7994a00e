package tftp

import (
	"net/netip"
	"sync"
)

const (
	maxTransfers        = 1024 // at once; a client that finds no room asks again
	maxTransfersPerPeer = 32   // per address: a machine has one or two, but a router may hide several
)

// limits knows which transfers are under way.
type limits struct {
	mu     sync.Mutex
	active map[transferKey]struct{}
	peers  map[netip.Addr]int
}

// transferKey tells transfers apart: a client that repeats its request, because
// our answer is late, does so from the same port.
type transferKey struct {
	peer netip.AddrPort
	name string
}

func newLimits() *limits {
	return &limits{active: make(map[transferKey]struct{}), peers: make(map[netip.Addr]int)}
}

// begin admits a transfer, or says why not: it is a [metrics] result.
func (l *limits) begin(k transferKey) (refused string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.active[k]; ok {
		return resultDuplicate
	}
	if len(l.active) >= maxTransfers || l.peers[k.peer.Addr()] >= maxTransfersPerPeer {
		return resultBusy
	}
	l.active[k] = struct{}{}
	l.peers[k.peer.Addr()]++
	return ""
}

// end takes note that it is over.
func (l *limits) end(k transferKey) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.active, k)
	if l.peers[k.peer.Addr()]--; l.peers[k.peer.Addr()] == 0 {
		delete(l.peers, k.peer.Addr())
	}
}

// count is the number of transfers under way.
func (l *limits) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.active)
}
