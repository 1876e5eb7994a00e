// Package admission decides, when a whole farm starts at once, which nodes fetch their
// kernels now and which wait for their turn.
//
// A link that a thousand downloads share brings all of them at the end. One that as many
// share as fill it brings the first much earlier, and the last at about the same time. How
// many fill it is measured on the downloads themselves.
//
// There is no socket in here. A node's turn is decided where it asks for its boot script,
// for that is where iPXE can be told to wait; a download is never refused or held up.
package admission

import (
	"sync"
	"time"

	"farmboot/provisioning"
	"farmboot/provisioning/lru"
)

const (
	// epoch is over what time the link is measured.
	epoch = 250 * time.Millisecond
	// startTime is how long a node that was admitted counts as one that downloads: so
	// long it takes from the script to the kernel. One that never fetches it keeps
	// nobody waiting for longer.
	startTime = 2 * time.Second
	// orderTime is how long it need not wait again if it asks anew instead …
	orderTime = 30 * time.Second
	// … and brokenTime, if its download broke off: it is in the middle of its boot.
	brokenTime = 10 * time.Minute
	// brokenMost is how often that may be, one after the other.
	brokenMost = 3
	// away is after what time a node that waits and does not ask is forgotten.
	away = time.Minute
	// quietTime is after what time without anybody who waits it is forgotten how much
	// the link carried.
	quietTime = 10 * time.Minute
	// tellEvery is how often it is told that a node waits.
	tellEvery = 30 * time.Second

	// mostWaiting is how many nodes wait at most. When there are more, nobody is made to.
	mostWaiting = 1 << 14
	// mostKnown is of how many nodes it is remembered that they were admitted.
	mostKnown = 1 << 14

	// sleepMost is how long a node far behind sleeps at most before it asks again, and
	// sleepLeast, how long at least.
	sleepMost, sleepLeast = 20 * time.Second, 2 * time.Second
	// askRate is how many of them ask in a second, in the order of their places: more than
	// a link boots, so that at any time enough are there, and little work.
	askRate = 250
)

// Control is the admission to the downloads of an appliance. It is safe for concurrent
// use.
type Control struct {
	now func() time.Time
	// near is how many nodes may be left waiting for an answer, those that are next:
	// each is a connection.
	near int

	mu        sync.Mutex
	admitted  *lru.Map[provisioning.MAC, *slot]
	reserved  []*slot // those that have not begun, by time
	starting  int     // of them, those that have not begun indeed
	downloads map[*Download]struct{}
	fetching  int // downloads of nodes that were admitted, but for slow ones
	known     int // the same with slow ones
	others    int // all other downloads, but for slow ones
	queue     queue
	climb     climb
	waited    time.Time // when somebody waited last
	busy      time.Time // when a download of somebody who was admitted ended last

	begun time.Time // the epoch
	ended int64     // bytes of downloads that have ended in it
	rate  float64   // bytes a second, in the epoch before
	size  float64   // bytes of a whole download, on average; 0: there was none yet
}

// slot is a node that was admitted.
type slot struct {
	granted  time.Time
	starting bool      // it counts though it has not begun
	active   int       // its downloads that are under way
	begun    bool      // it has begun one
	broke    time.Time // when its download broke off; zero: it did not
	breaks   int       // so far
}

// New returns a Control. At most near nodes are left waiting for an answer at once.
func New(now func() time.Time, near int) *Control {
	return &Control{
		now: now, near: near,
		admitted: lru.New[provisioning.MAC, *slot](mostKnown), downloads: make(map[*Download]struct{}),
		queue: newQueue(), climb: climb{limit: floor},
	}
}

// Turn is what a node gets that asks.
type Turn struct {
	Admitted bool
	// Of one that waits:
	Place, Of int           // its place in the queue, from 1, and how many wait
	About     time.Duration // for how long, about; 0: that is not known
	// Sleep is how long it is to sleep before it asks again. 0: it is to ask at once, and
	// is left waiting for an answer until [Turn.Called] is closed, or a while.
	Sleep  time.Duration
	Called <-chan struct{}
	News   bool // that it waits is to be told
}

// Ask decides for a node that asks for its script. boots says that it is certain to fetch
// its kernel next; a client that may only look at the script does not wait as long as no
// node downloads.
func (c *Control) Ask(mac provisioning.MAC, farmer provisioning.FarmerID, boots bool) Turn {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	c.look(now)
	if c.again(mac, now) {
		return Turn{Admitted: true}
	}
	w := c.queue.nodes[mac]
	if w == nil {
		if !boots && c.idle(now) || c.room() && c.queue.here == 0 || len(c.queue.nodes) >= mostWaiting {
			c.grant(mac, now)
			return Turn{Admitted: true}
		}
		w = c.queue.join(mac, farmer, now)
	}
	c.waited, w.asked = now, now
	c.queue.stays(w)
	c.serve(now)
	if c.queue.nodes[mac] != w {
		return Turn{Admitted: true}
	}
	c.queue.goes(w)
	return c.waits(w, now)
}

// waits is what a node gets that has to wait.
func (c *Control) waits(w *waiter, now time.Time) Turn {
	t := Turn{Place: c.queue.place(w), Of: len(c.queue.nodes), Called: w.called}
	if t.News = now.Sub(w.told) >= tellEvery; t.News {
		w.told = now
	}
	if c.size > 0 && c.rate > 0 {
		t.About = time.Duration(float64(t.Place) * c.size / c.rate * float64(time.Second))
	}
	if t.Place > c.near {
		t.Sleep = min(max(time.Duration(t.Place)*time.Second/askRate, sleepLeast), sleepMost)
	}
	return t
}

// Stay notes that a request of a node that waits is left waiting for an answer, until the
// function is called that it returns.
func (c *Control) Stay(mac provisioning.MAC) (leave func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.queue.nodes[mac]
	if w == nil {
		return func() {}
	}
	c.queue.stays(w)
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.queue.nodes[mac] == w {
			w.asked = c.now()
			c.queue.goes(w)
		}
	}
}

// Look does what time brings, for nodes that are left waiting: four times a second while
// there are any.
func (c *Control) Look() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.look(c.now())
}

// again tells whether a node was admitted already, and need not wait again.
func (c *Control) again(mac provisioning.MAC, now time.Time) bool {
	s, ok := c.admitted.Get(mac)
	switch {
	case !ok:
		return false
	case s.active > 0: // it has started anew, and we do not know yet that it went
	case !s.begun && now.Sub(s.granted) < orderTime:
	case !s.broke.IsZero() && now.Sub(s.broke) < brokenTime && s.breaks < brokenMost:
		s.granted, s.begun, s.broke = now, false, time.Time{}
		c.reserve(s)
	default:
		c.admitted.Delete(mac)
		return false
	}
	return true
}

// room tells whether one more node may download. Downloads that did not ask are no reason
// to wait; but where there are many of them, as many nodes that ask may share the link
// with them.
func (c *Control) room() bool {
	return c.fetching+c.starting < max(c.climb.limit, c.others)
}

// idle tells whether no node waits and none downloads.
func (c *Control) idle(now time.Time) bool {
	return len(c.queue.nodes) == 0 && c.known == 0 && now.Sub(c.busy) > startTime
}

// grant admits a node.
func (c *Control) grant(mac provisioning.MAC, now time.Time) {
	s := &slot{granted: now}
	c.admitted.Put(mac, s)
	c.reserve(s)
}

// reserve makes a slot count for startTime. When mostKnown slots count, the oldest stops
// counting.
func (c *Control) reserve(s *slot) {
	if s.starting {
		return
	}
	if len(c.reserved) >= mostKnown {
		c.unreserve(c.reserved[0])
		c.reserved = c.reserved[1:]
	}
	s.starting = true
	c.starting++
	c.reserved = append(c.reserved, s)
}

func (c *Control) unreserve(s *slot) {
	if s.starting {
		s.starting = false
		c.starting--
	}
}

// serve calls those that are here, as long as there is room.
func (c *Control) serve(now time.Time) {
	for c.room() {
		w := c.queue.next()
		if w == nil {
			return
		}
		c.queue.call(w)
		c.grant(w.mac, now)
	}
}

// look does what time brings.
func (c *Control) look(now time.Time) {
	for len(c.reserved) > 0 && (!c.reserved[0].starting || now.Sub(c.reserved[0].granted) >= startTime) {
		c.unreserve(c.reserved[0])
		c.reserved[0] = nil
		c.reserved = c.reserved[1:]
	}
	if now.Sub(c.begun) >= epoch {
		c.measure(now)
		c.queue.forget(now)
		if len(c.queue.nodes) == 0 && now.Sub(c.waited) > quietTime {
			c.climb = climb{limit: floor}
		}
	}
	c.serve(now)
}
