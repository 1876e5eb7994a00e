package dhcp

import (
	"sync"

	"farmboot/provisioning"
)

// recent remembers something of the MAC addresses that it was told of last: of at least
// half of size, of at most size of them. There are two generations; when the younger one
// is full, the older one is forgotten.
type recent[V any] struct {
	mu         sync.Mutex
	size       int
	young, old map[provisioning.MAC]V
}

func newRecent[V any](size int) *recent[V] {
	return &recent[V]{size: size, young: make(map[provisioning.MAC]V)}
}

// get returns what is remembered.
func (r *recent[V]) get(mac provisioning.MAC) (v V, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.find(mac)
}

func (r *recent[V]) find(mac provisioning.MAC) (v V, ok bool) {
	if v, ok = r.young[mac]; !ok {
		v, ok = r.old[mac]
	}
	return v, ok
}

// put remembers v.
func (r *recent[V]) put(mac provisioning.MAC, v V) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keep(mac, v)
}

func (r *recent[V]) keep(mac provisioning.MAC, v V) {
	if _, ok := r.young[mac]; !ok && len(r.young) >= r.size/2 {
		r.old, r.young = r.young, make(map[provisioning.MAC]V)
	}
	r.young[mac] = v
}

// take returns what is remembered, and forgets it.
func (r *recent[V]) take(mac provisioning.MAC) (v V, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if v, ok = r.find(mac); ok {
		delete(r.young, mac)
		delete(r.old, mac)
	}
	return v, ok
}
