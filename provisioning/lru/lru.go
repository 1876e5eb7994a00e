// Package lru is a map that forgets what was not used for longest.
package lru

import "container/list"

// Map is a map of at most max entries that forgets the one that was not used for
// longest. It is not safe for concurrent use.
type Map[K comparable, V any] struct {
	max     int
	order   list.List // of entry[K, V], last used in front
	entries map[K]*list.Element
}

type entry[K comparable, V any] struct {
	key   K
	value V
}

// New returns a map of at most so many entries.
func New[K comparable, V any](most int) *Map[K, V] {
	return &Map[K, V]{max: most, entries: make(map[K]*list.Element)}
}

// Get returns the entry of key, which counts as its use.
func (l *Map[K, V]) Get(key K) (V, bool) {
	e, ok := l.entries[key]
	if !ok {
		var none V
		return none, false
	}
	l.order.MoveToFront(e)
	return e.Value.(entry[K, V]).value, true
}

// Put sets the entry of key.
func (l *Map[K, V]) Put(key K, value V) {
	if e, ok := l.entries[key]; ok {
		e.Value = entry[K, V]{key, value}
		l.order.MoveToFront(e)
		return
	}
	l.entries[key] = l.order.PushFront(entry[K, V]{key, value})
	if len(l.entries) > l.max {
		l.Delete(l.order.Back().Value.(entry[K, V]).key)
	}
}

// Delete forgets the entry of key, if there is one.
func (l *Map[K, V]) Delete(key K) {
	if e, ok := l.entries[key]; ok {
		l.order.Remove(e)
		delete(l.entries, key)
	}
}
