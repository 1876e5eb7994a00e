package admission

// floor is how many downloads there may always be at once, whatever is measured: with
// fewer nodes nobody ever waits. Sixteen iPXEs fill a link of 1 Gbit/s, slow ones too
// (a BIOS node with the firmware's network driver takes some 20 MB/s).
const floor = 16

const (
	// ceiling is how many there may be at most. More connections than a server holds
	// would be no limit.
	ceiling = 4096
	// worthwhile is by how much the rate has to grow for more downloads at once to be
	// worth it: less is noise.
	worthwhile = 1.07
	// asMuch is how much of its speed a download has to keep for the link not to be full.
	asMuch = 0.9
	// fading is what is left of a rate, from one measurement to the next, that was not
	// reached again: links change.
	fading = 0.98
	// asFast is how much of the rate has to be left for fewer downloads to be as good.
	asFast = 0.97
	// samples is over how many epochs a number of downloads is measured, after one in
	// which those that there are settle.
	samples = 2
	// probeEvery is after how many epochs another number is tried.
	probeEvery = 32
)

// climb finds the smallest number of downloads at once that fills the link, as a
// congestion control finds its window: it tries more of them for as long as together they
// become faster, and goes back by the step that brought nothing (compare the start of BBR,
// and Vegas, which watches whether more in flight only waits longer). From time to time it
// tries a few more, and a few less.
type climb struct {
	limit  int     // how many there may be now
	before int     // how many there might be before this was tried; 0: nothing is tried
	base   float64 // bytes a second, with before, or with limit; 0: not measured yet
	peak   float64 // the fastest of the epochs that count: in others, many had just ended
	epochs int     // that this number has been measured for, the first included
	quiet  int     // epochs since something was tried last
	fewer  bool    // what is tried next: fewer of them
}

// take takes in the rate of an epoch, in bytes a second, in which there were as many
// downloads as there may be, and nodes that waited.
func (c *climb) take(rate float64) {
	if c.epochs++; c.epochs == 1 {
		return // they have just begun
	}
	c.peak = max(c.peak, rate)
	if c.epochs <= samples {
		return
	}
	rate = c.peak
	switch {
	case c.base == 0:
		c.base = rate
		c.try(more(c.limit))
	case c.before == 0:
		c.base = max(rate, c.base*fading)
		c.peak, c.epochs = 0, 1
		if c.quiet += samples; c.quiet < probeEvery {
			return
		}
		if c.fewer = !c.fewer; c.fewer && c.limit > floor {
			c.try(c.limit - c.limit/4)
		} else {
			c.try(more(c.limit))
		}
	case c.limit < c.before && rate >= c.base*asFast:
		c.stay(rate)
	case c.limit > c.before && rate >= c.base*worthwhile:
		gain, full := rate/c.base, c.before
		if c.base = rate; gain >= asMuch*float64(c.limit)/float64(full) {
			c.try(2 * c.limit) // each is as fast as before: the link is far from full
			return
		}
		c.limit = min(c.limit, int(float64(full)*gain*(2-asMuch))+1) // so many fill it
		c.stay(rate)
	default:
		c.limit = c.before
		c.stay(c.base)
	}
}

// more is a few more: they hold up few nodes where the link is full.
func more(limit int) int { return limit + limit/4 }

// try tries another number of downloads.
func (c *climb) try(limit int) {
	c.before, c.limit = c.limit, min(max(limit, floor), ceiling)
	c.peak, c.epochs, c.quiet = 0, 0, 0
	if c.limit == c.before {
		c.before = 0
	}
}

// stay stays with the number of downloads that there may be, and that carry so much.
func (c *climb) stay(rate float64) {
	c.before, c.base = 0, rate
	c.peak, c.epochs, c.quiet = 0, 0, 0
}
