package admission

import (
	"cmp"
	"time"

	"farmboot/provisioning"
)

// Download is a kernel that is under way.
type Download struct {
	control *Control
	slot    *slot // nil: of nobody who was admitted
	begun   time.Time
	acked   func() int64 // bytes that the node has acknowledged; nil: that is not known
	first   int64        // what acked was at the beginning
	last    int64        // bytes so far, when that was measured last
	slow    bool         // it takes next to nothing of the link
}

// slowest is the part of its fair share of the link that a download takes at least, or it
// does not count: the link, or the node, at its other end is slow, or nobody is there.
const slowest = 0.25

// Begin notes that a node fetches its kernel. Zero: it is not known which. acked tells how
// many bytes the client's side of the connection has acknowledged; it is called until
// [Download.End]. nil: that is not known.
func (c *Control) Begin(mac provisioning.MAC, acked func() int64) *Download {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	d := &Download{control: c, begun: now, acked: acked}
	if acked != nil {
		d.first = acked()
	}
	if s, ok := c.admitted.Get(mac); ok && !mac.IsZero() {
		c.unreserve(s)
		s.begun, s.broke = true, time.Time{}
		s.active++
		d.slot = s
		c.known++
	}
	*c.group(d)++
	c.downloads[d] = struct{}{}
	c.look(now)
	return d
}

// group is the counter of downloads like d that are not slow.
func (c *Control) group(d *Download) *int {
	if d.slot != nil {
		return &c.fetching
	}
	return &c.others
}

// End notes that a download has ended: so many bytes went out, and whether those were all.
func (d *Download) End(sent int64, whole bool) {
	c := d.control
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	delete(c.downloads, d)
	c.ended += max(sent-d.last, 0)
	if !d.slow {
		*c.group(d)--
	}
	if whole {
		c.size = cmp.Or(c.size, float64(sent))
		c.size += (float64(sent) - c.size) / 8
	}
	if s := d.slot; s != nil {
		c.busy = now
		c.known--
		s.active--
		switch {
		case whole:
			s.breaks = 0
		case s.active == 0:
			s.broke = now
			s.breaks++
		}
	}
	c.look(now)
}

// measure ends an epoch.
func (c *Control) measure(now time.Time) {
	took := now.Sub(c.begun).Seconds()
	began := c.begun
	c.begun = now
	total := c.ended
	c.ended = 0
	parts := make(map[*Download]int64, len(c.downloads))
	for d := range c.downloads {
		if d.acked == nil {
			continue
		}
		sofar := d.acked() - d.first
		if d.begun.After(began) {
			d.last, total = sofar, total+sofar-d.last
			continue
		}
		parts[d] = sofar - d.last
		total += parts[d]
		d.last = sofar
	}
	// What is measured in passing, after a time when nobody looked, tells little.
	c.rate = float64(total) / took
	if took > 4*epoch.Seconds() {
		return
	}
	share := float64(total) / float64(max(len(c.downloads), 1))
	for d, part := range parts {
		if slow := float64(part) < share*slowest; slow != d.slow {
			d.slow = slow
			if slow {
				*c.group(d)--
			} else {
				*c.group(d)++
			}
		}
	}
	// What is to be measured is that number of downloads, while others wait. Where nothing
	// moves, as while a kernel is taken from upstream and signed, there is nothing to learn.
	if limit := c.climb.limit; total > 0 && len(c.queue.nodes) > 0 && c.fetching*10 >= limit*9 && c.fetching*10 <= limit*11 {
		c.climb.take(c.rate)
	}
}

// State is how the admission stands.
type State struct {
	Waiting   int       // nodes
	Oldest    time.Time // since when the one waits that has waited for longest; zero: nobody waits
	Downloads int       // under way, those of nobody who asked included
	Limit     int       // how many nodes fetch their kernels at once, when others wait
	Rate      float64   // bytes a second that all downloads take; 0: there are none
}

// State tells how it stands.
func (c *Control) State() State {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.look(c.now())
	s := State{Waiting: len(c.queue.nodes), Oldest: c.queue.oldest(), Downloads: len(c.downloads), Limit: c.climb.limit}
	if s.Downloads > 0 {
		s.Rate = c.rate
	}
	return s
}
