package admission

import (
	"cmp"
	"slices"
	"time"

	"farmboot/provisioning"
)

// queue is the nodes that wait: a line for each farmer, oldest first. Farmers take turns,
// the one first whose last turn is longest ago. A node that is not there at its turn,
// because it sleeps before it asks again, keeps its place; nodes that are there go first.
type queue struct {
	nodes map[provisioning.MAC]*waiter
	lines map[provisioning.FarmerID]*line // those of farmers who had turns stay until nobody waits
	here  int                             // nodes that are left waiting for an answer
	came  uint64                          // nodes so far
	turns uint64                          // so far
}

// line is the nodes of a farmer that wait; those without one have one too.
type line struct {
	waiters []*waiter // by arrival
	served  uint64    // turn that it had last; 0: none
}

// waiter is a node that waits.
type waiter struct {
	mac     provisioning.MAC
	farmer  provisioning.FarmerID
	arrival uint64
	since   time.Time
	asked   time.Time     // last
	told    time.Time     // when its place was told last
	here    int           // requests of it that are left waiting
	called  chan struct{} // closed when it is its turn
}

func newQueue() queue {
	return queue{nodes: make(map[provisioning.MAC]*waiter), lines: make(map[provisioning.FarmerID]*line)}
}

// join puts a node at the end of its farmer's line.
func (q *queue) join(mac provisioning.MAC, farmer provisioning.FarmerID, now time.Time) *waiter {
	q.came++
	w := &waiter{mac: mac, farmer: farmer, arrival: q.came, since: now, called: make(chan struct{})}
	l := q.lines[farmer]
	if l == nil {
		l = new(line)
		q.lines[farmer] = l
	}
	l.waiters = append(l.waiters, w)
	q.nodes[mac] = w
	return w
}

// leave takes a node out.
func (q *queue) leave(w *waiter) {
	l := q.lines[w.farmer]
	i := l.index(w)
	l.waiters = slices.Delete(l.waiters, i, i+1)
	delete(q.nodes, w.mac)
	if w.here > 0 {
		q.here--
	}
	switch {
	case len(q.nodes) == 0:
		clear(q.lines)
	case len(l.waiters) == 0 && len(q.lines) > mostWaiting:
		delete(q.lines, w.farmer)
	}
}

// stays notes that a request of w is left waiting, and goes that it no longer is.
func (q *queue) stays(w *waiter) {
	if w.here++; w.here == 1 {
		q.here++
	}
}

func (q *queue) goes(w *waiter) {
	if w.here--; w.here == 0 {
		q.here--
	}
}

// index is the place of a waiter in its line, from 0.
func (l *line) index(w *waiter) int {
	i, _ := slices.BinarySearchFunc(l.waiters, w.arrival, func(o *waiter, a uint64) int { return cmp.Compare(o.arrival, a) })
	return i
}

// before tells whether a line has its turn before another one; both have nodes.
func (l *line) before(o *line) bool {
	return cmp.Or(cmp.Compare(l.served, o.served), cmp.Compare(l.waiters[0].arrival, o.waiters[0].arrival)) < 0
}

// place is how many turns it takes until it is the turn of w: 1 for the next.
func (q *queue) place(w *waiter) int {
	own := q.lines[w.farmer]
	round := own.index(w)
	place := round + 1
	for _, l := range q.lines {
		if l == own || len(l.waiters) == 0 {
			continue
		}
		place += min(len(l.waiters), round)
		if len(l.waiters) > round && l.before(own) {
			place++
		}
	}
	return place
}

// next returns the first of the nodes that are here; nil: none is.
func (q *queue) next() *waiter {
	if q.here == 0 {
		return nil
	}
	var first *waiter
	var its *line
	at := 0 // its place in its line
	for _, l := range q.lines {
		for i, w := range l.waiters {
			if first != nil && i > at {
				break
			}
			if w.here == 0 {
				continue
			}
			if first == nil || i < at || l.before(its) {
				first, its, at = w, l, i
			}
			break
		}
	}
	return first
}

// call gives w its turn.
func (q *queue) call(w *waiter) {
	q.turns++
	q.lines[w.farmer].served = q.turns
	q.leave(w)
	close(w.called)
}

// oldest is since when the node waits that has waited for longest; zero: none waits.
func (q *queue) oldest() (since time.Time) {
	var first *waiter
	for _, l := range q.lines {
		if len(l.waiters) > 0 && (first == nil || l.waiters[0].arrival < first.arrival) {
			first = l.waiters[0]
		}
	}
	if first == nil {
		return time.Time{}
	}
	return first.since
}

// forget takes out those of which nothing was heard for away.
func (q *queue) forget(now time.Time) {
	for _, w := range q.nodes {
		if w.here == 0 && now.Sub(w.asked) > away {
			q.leave(w)
		}
	}
}
