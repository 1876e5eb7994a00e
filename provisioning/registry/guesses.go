package registry

import (
	"sync"
	"time"

	"golang.org/x/time/rate"

	"farmboot/provisioning"
	"farmboot/provisioning/lru"
)

const (
	// guessesAtOnce is how many wrong claim codes a farmer may give at once …
	guessesAtOnce = 20
	// … and guessEvery how soon after that one more: to hit one of a hundred held
	// nodes' codes at random then takes some months.
	guessEvery = 10 * time.Second
	// guessersKept is how many of those who gave wrong codes are remembered.
	guessersKept = 4096
)

// guesses counts the wrong claim codes that each actor gives. The zero value is
// ready to be used.
type guesses struct {
	mu    sync.Mutex
	wrong *lru.Map[string, *rate.Limiter] // by the actor's name
}

// exhausted tells whether by must wait before his next guess.
func (g *guesses) exhausted(by provisioning.Actor, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.wrong == nil {
		return false
	}
	l, ok := g.wrong.Get(by.Name)
	return ok && l.TokensAt(now) < 1
}

// missed notes that by gave a code that nobody has.
func (g *guesses) missed(by provisioning.Actor, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.wrong == nil {
		g.wrong = lru.New[string, *rate.Limiter](guessersKept)
	}
	l, ok := g.wrong.Get(by.Name)
	if !ok {
		l = rate.NewLimiter(rate.Every(guessEvery), guessesAtOnce)
		g.wrong.Put(by.Name, l)
	}
	l.AllowN(now, 1)
}
