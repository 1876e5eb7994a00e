package recorder

import (
	"net/netip"
	"sync"
	"time"

	"farmboot/provisioning"
	"farmboot/provisioning/lru"
)

// peers remembers which MAC address an IP address belongs to, so that a transfer,
// which shows only the latter, can be told of the node it went to.
type peers struct {
	mu      sync.Mutex
	known   *lru.Map[netip.Addr, peer]
	orphans *lru.Map[netip.Addr, time.Time] // addresses with events whose MAC address is not known, since when
}

type peer struct {
	mac     provisioning.MAC
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
	return &peers{known: lru.New[netip.Addr, peer](peersKept), orphans: lru.New[netip.Addr, time.Time](peersKept)}
}

// learn notes that addr is mac's. It returns the time since when events of addr
// are waiting to be told whose they are, the zero time if there are none.
func (p *peers) learn(addr netip.Addr, mac provisioning.MAC, now time.Time) (orphansSince time.Time) {
	if !identifies(addr) || mac.IsZero() {
		return time.Time{}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known.Put(addr.Unmap(), peer{mac, now})
	since, ok := p.orphans.Get(addr.Unmap())
	if !ok {
		return time.Time{}
	}
	p.orphans.Delete(addr.Unmap())
	if oldest := now.Add(-orphanAge); since.Before(oldest) {
		return oldest
	}
	return since
}

// mac returns whose address addr is.
func (p *peers) mac(addr netip.Addr, now time.Time) (provisioning.MAC, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k, ok := p.known.Get(addr.Unmap())
	if !ok || now.Sub(k.learned) > peerAge {
		return provisioning.MAC{}, false
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
	if since, ok := p.orphans.Get(addr.Unmap()); !ok || at.Sub(since) > orphanAge {
		p.orphans.Put(addr.Unmap(), at)
	}
}

// identifies tells whether addr can be that of one node. A DISCOVER comes from
// 0.0.0.0.
func identifies(addr netip.Addr) bool {
	return addr.IsValid() && !addr.IsUnspecified() && !addr.IsMulticast()
}
