package provisioning

import (
	"net/netip"
	"sync"
	"time"
)

// peers remembers which MAC address an IP address belongs to, so that a transfer,
// which shows only the latter, can be told of the node it went to.
type peers struct {
	mu      sync.Mutex
	known   *lru[netip.Addr, peer]
	orphans *lru[netip.Addr, time.Time] // addresses with events whose MAC address is not known, since when
}

type peer struct {
	mac     MAC
	learned time.Time
}

const (
	// peersKept is more nodes than boot through one appliance within peerAge; it
	// takes about 2 MB.
	peersKept = 16384

	// peerAge is how long an address is taken to stay with its node. A boot takes
	// minutes; a DHCP server may give the address to another node after that.
	peerAge = 30 * time.Minute

	// orphanAge is how long before its MAC address was learned an event may have
	// happened to be that node's: BIOS firmware fetches its NBP by TFTP a few
	// seconds, a large one a minute, before iPXE asks for /provision/MAC.
	orphanAge = 3 * time.Minute
)

func newPeers() *peers {
	return &peers{known: newLRU[netip.Addr, peer](peersKept), orphans: newLRU[netip.Addr, time.Time](peersKept)}
}

// learn notes that addr is mac's. It returns the time since when events of addr
// are waiting to be told whose they are, the zero time if there are none.
func (p *peers) learn(addr netip.Addr, mac MAC, now time.Time) (orphansSince time.Time) {
	if !identifies(addr) || mac.IsZero() {
		return time.Time{}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known.put(addr.Unmap(), peer{mac, now})
	since, ok := p.orphans.get(addr.Unmap())
	if !ok {
		return time.Time{}
	}
	p.orphans.delete(addr.Unmap())
	if oldest := now.Add(-orphanAge); since.Before(oldest) {
		return oldest
	}
	return since
}

// mac returns whose address addr is.
func (p *peers) mac(addr netip.Addr, now time.Time) (MAC, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k, ok := p.known.get(addr.Unmap())
	if !ok || now.Sub(k.learned) > peerAge {
		return MAC{}, false
	}
	return k.mac, true
}

// orphan notes that an event of addr is waiting to be told whose it is.
func (p *peers) orphan(addr netip.Addr, at time.Time) {
	if !identifies(addr) {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if since, ok := p.orphans.get(addr.Unmap()); !ok || at.Sub(since) > orphanAge {
		p.orphans.put(addr.Unmap(), at)
	}
}

// identifies tells whether addr can be that of one node. A DISCOVER comes from
// 0.0.0.0.
func identifies(addr netip.Addr) bool {
	return addr.IsValid() && !addr.IsUnspecified() && !addr.IsMulticast()
}
