// Package limiter limits how often something may happen, for each of many keys.
package limiter

import (
	"sync"
	"time"

	"golang.org/x/time/rate"

	"farmboot/provisioning/lru"
)

// Keyed limits a rate for each key: so many at once, then one more every so often. It
// forgets the keys that were not used for longest. It is safe for concurrent use.
type Keyed[K comparable] struct {
	burst int
	every time.Duration

	mu       sync.Mutex
	limiters *lru.Map[K, *rate.Limiter]
}

// New returns limits of burst at once and one more after every, for at most so many keys.
func New[K comparable](burst int, every time.Duration, most int) *Keyed[K] {
	return &Keyed[K]{burst: burst, every: every, limiters: lru.New[K, *rate.Limiter](most)}
}

// Allow tells whether it may happen once more for key now, and counts it if so.
func (l *Keyed[K]) Allow(key K, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	own, ok := l.limiters.Get(key)
	if !ok {
		own = rate.NewLimiter(rate.Every(l.every), l.burst)
		l.limiters.Put(key, own)
	}
	return own.AllowN(now, 1)
}

// Exhausted tells whether Allow would refuse key now. It counts nothing.
func (l *Keyed[K]) Exhausted(key K, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	own, ok := l.limiters.Get(key)
	return ok && own.TokensAt(now) < 1
}
