// Package lru has a bounded map that drops the least recently used entry.
package lru

// Map is a map of at most so many entries; it drops the least recently used one to make
// room. It is not safe for concurrent use.
//
// Entries are in one slice and refer to each other by index: the garbage collector has no
// pointers to follow but those in keys and values, and what is put again takes no memory.
type Map[K comparable, V any] struct {
	max     int
	at      map[K]int32
	entries []entry[K, V] // entries[0] holds the ends of the ring of those in use
	unused  []int32
}

// entry is a member of the ring in the order of use: the one used after it is before it,
// the one used last is behind entries[0].
type entry[K comparable, V any] struct {
	before, behind int32
	key            K
	value          V
}

// New returns a map of at most so many entries.
func New[K comparable, V any](most int) *Map[K, V] {
	return &Map[K, V]{max: most, at: make(map[K]int32), entries: make([]entry[K, V], 1)}
}

// Get returns the entry of key, which counts as its use.
func (m *Map[K, V]) Get(key K) (V, bool) {
	i, ok := m.at[key]
	if !ok {
		var none V
		return none, false
	}
	m.use(i)
	return m.entries[i].value, true
}

// Put sets the entry of key.
func (m *Map[K, V]) Put(key K, value V) {
	i, ok := m.at[key]
	if !ok {
		if len(m.at) >= m.max {
			m.Delete(m.entries[m.entries[0].before].key)
		}
		i = m.unusedEntry()
		m.at[key] = i
		m.entries[i] = entry[K, V]{before: i, behind: i, key: key}
	}
	m.entries[i].value = value
	m.use(i)
}

// Delete forgets the entry of key, if there is one.
func (m *Map[K, V]) Delete(key K) {
	i, ok := m.at[key]
	if !ok {
		return
	}
	m.leave(i)
	m.entries[i] = entry[K, V]{}
	m.unused = append(m.unused, i)
	delete(m.at, key)
}

// use makes an entry the one used last.
func (m *Map[K, V]) use(i int32) {
	m.leave(i)
	e, ends := &m.entries[i], &m.entries[0]
	e.before, e.behind = 0, ends.behind
	m.entries[e.behind].before = i
	ends.behind = i
}

// leave takes an entry out of the ring.
func (m *Map[K, V]) leave(i int32) {
	e := &m.entries[i]
	m.entries[e.before].behind, m.entries[e.behind].before = e.behind, e.before
}

func (m *Map[K, V]) unusedEntry() int32 {
	if n := len(m.unused); n > 0 {
		i := m.unused[n-1]
		m.unused = m.unused[:n-1]
		return i
	}
	m.entries = append(m.entries, entry[K, V]{})
	return int32(len(m.entries) - 1)
}
