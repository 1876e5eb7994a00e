package recorder

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// A farm of 500 nodes that is switched on says all that it has to say …
	linesAtOnce = 3000
	// … and a flood of forged requests, which would fill the disk of the log, not more
	// than so many lines a second.
	linesPerSecond = 50
)

// lines bounds how many lines of the log the steps of boots are.
type lines struct {
	mu    sync.Mutex
	limit *rate.Limiter
	left  int // out, since one was let through
}

func newLines() *lines { return &lines{limit: rate.NewLimiter(linesPerSecond, linesAtOnce)} }

// pass tells whether there may be one more line, and how many were left out before it.
func (l *lines) pass(now time.Time) (left int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.limit.AllowN(now, 1) {
		l.left++
		return 0, false
	}
	left, l.left = l.left, 0
	return left, true
}
