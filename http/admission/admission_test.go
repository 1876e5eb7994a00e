package admission_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"farmboot/http/admission"
	"farmboot/provisioning"
)

// A farm is simulated here with time as a number: nodes that follow their scripts, and a
// link that all downloads share.

const (
	step  = 50 * time.Millisecond // the grain of simulated time
	stays = 10 * time.Second      // how long a node is left waiting for an answer
	near  = 256
	mega  = 1e6
)

// machine is a node.
type machine struct {
	mac     provisioning.MAC
	farmer  provisioning.FarmerID
	on      time.Duration // when it asks first
	fastest float64       // bytes a second that it takes at most
	breaks  int           // so often its download breaks off half-way
	never   bool          // it asks, and never downloads
	silent  bool          // it downloads, and asks nobody

	asks     time.Duration // when it asks next; negative: it does something else
	fetches  time.Duration // when it begins to download; negative: it does something else
	leave    func()        // it is left waiting for an answer …
	called   <-chan struct{}
	until    time.Duration // … so long
	download *admission.Download
	got      float64
	waited   bool
	booted   time.Duration // 0: not yet
}

// world is a farm behind a link.
type world struct {
	t        *testing.T
	link     float64 // bytes a second
	size     float64 // of the kernel, in bytes
	free     bool    // a free-for-all
	machines []*machine
	at       time.Duration
	control  *admission.Control
	most     int // downloads at once
}

func newWorld(t *testing.T, link float64) *world {
	w := &world{t: t, link: link, size: 64 * mega}
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	w.control = admission.New(func() time.Time { return began.Add(w.at) }, near)
	return w
}

// add adds so many nodes like m, which are switched on within a second.
func (w *world) add(n int, m machine) {
	for i := range n {
		m := m
		m.mac = provisioning.MAC{0x52, 0x54, 0, byte(m.farmer), byte(len(w.machines) >> 8), byte(len(w.machines))}
		m.on += time.Duration(i) * time.Second / time.Duration(n)
		m.asks, m.fetches = m.on, -1
		if m.fastest == 0 {
			m.fastest = 100 * mega
		}
		w.machines = append(w.machines, &m)
	}
}

// run lets the farm go on until something holds.
func (w *world) run(over func() bool) {
	w.t.Helper()
	for ; !over(); w.at += step {
		if w.at > 2*time.Hour {
			w.t.Fatalf("it does not end: %+v", w.control.State())
		}
		if w.at%(250*time.Millisecond) == 0 {
			w.control.State() // whoever is left waiting looks as often
		}
		for _, m := range w.machines {
			w.live(m)
		}
		w.carry()
	}
}

// live lets a node do what it does now.
func (w *world) live(m *machine) {
	if m.leave != nil {
		select {
		case <-m.called:
		default:
			if w.at < m.until {
				return
			}
		}
		m.leave()
		m.leave, m.asks = nil, w.at
	}
	switch {
	case m.asks >= 0 && w.at >= m.asks:
		m.asks = -1
		w.ask(m)
	case m.fetches >= 0 && w.at >= m.fetches:
		m.fetches, m.got = -1, 0
		m.download = w.control.Begin(m.mac, func() int64 { return int64(m.got) })
	}
}

func (w *world) ask(m *machine) {
	if w.free || m.silent {
		m.fetches = w.at + step
		return
	}
	turn := w.control.Ask(m.mac, m.farmer, true)
	switch {
	case turn.Admitted && m.never:
		m.asks = w.at + 10*time.Second
	case turn.Admitted:
		m.fetches = w.at + step
	case turn.Sleep > 0:
		m.waited, m.asks = true, w.at+turn.Sleep
	default:
		m.waited, m.leave, m.called, m.until = true, w.control.Stay(m.mac), turn.Called, w.at+stays
	}
}

// carry moves bytes: downloads share the link evenly, as far as each takes them.
func (w *world) carry() {
	var active []*machine
	for _, m := range w.machines {
		if m.download != nil {
			active = append(active, m)
		}
	}
	w.most = max(w.most, len(active))
	slices.SortStableFunc(active, func(a, b *machine) int { return int(a.fastest - b.fastest) })
	left := w.link * step.Seconds()
	for i, m := range active {
		part := min(left/float64(len(active)-i), m.fastest*step.Seconds())
		left -= part
		m.got += part
		switch {
		case m.breaks > 0 && m.got >= w.size/2:
			m.breaks--
			m.download.End(int64(m.got), false)
			m.download, m.asks = nil, w.at+20*time.Second // it starts anew
		case m.got >= w.size:
			m.download.End(int64(w.size), true)
			m.download, m.booted = nil, w.at
		}
	}
}

func (w *world) allBooted() bool {
	return !slices.ContainsFunc(w.machines, func(m *machine) bool { return m.booted == 0 && !m.never })
}

// times are when nodes had booted, sorted; of those that which chooses.
func (w *world) times(which func(*machine) bool) (list []time.Duration) {
	for _, m := range w.machines {
		if !m.never && which(m) {
			list = append(list, m.booted)
		}
	}
	slices.Sort(list)
	return list
}

func all(*machine) bool { return true }

// storm boots the same farm twice: as a free-for-all, and with admission.
func storm(t *testing.T, link float64, farm func(*world)) (free, ours *world) {
	t.Helper()
	free, ours = newWorld(t, link), newWorld(t, link)
	free.free = true
	for _, w := range []*world{free, ours} {
		farm(w)
		w.run(w.allBooted)
	}
	return free, ours
}

// TestStorm: a farm powers on at once. With admission the first nodes boot much earlier,
// half of them in about half of the time where the link is what is slow, and the last no
// later than in a free-for-all, but for what it takes to find out what the link carries.
func TestStorm(t *testing.T) {
	for _, test := range []struct {
		link, fastest float64
		nodes         int
		first, half   float64       // parts of the free-for-all's time, at most
		slack         time.Duration // of the last
	}{
		{link: 12.5 * mega, fastest: 100 * mega, nodes: 200, first: 0.15, half: 0.65, slack: 5 * time.Second},
		{link: 125 * mega, fastest: 100 * mega, nodes: 1000, first: 0.05, half: 0.55, slack: 5 * time.Second},
		{link: 125 * mega, fastest: 20 * mega, nodes: 1000, first: 0.05, half: 0.55, slack: 5 * time.Second},
		{link: 1250 * mega, fastest: 100 * mega, nodes: 1000, first: 0.05, half: 0.6, slack: 5 * time.Second},
		{link: 1250 * mega, fastest: 12.5 * mega, nodes: 1000, first: 0.25, half: 0.7, slack: 6 * time.Second},
		{link: 1250 * mega, fastest: 100 * mega, nodes: 5000, first: 0.05, half: 0.55, slack: 20 * time.Second},
		// The nodes' own links are what is slow: there is nothing to win, and little to lose.
		{link: 1250 * mega, fastest: 1.25 * mega, nodes: 1000, first: 1, half: 1.1, slack: 8 * time.Second},
	} {
		t.Run(fmt.Sprintf("%d nodes, link %.0f MB_s, each %.0f MB_s", test.nodes, test.link/mega, test.fastest/mega), func(t *testing.T) {
			free, ours := storm(t, test.link, func(w *world) { w.add(test.nodes, machine{fastest: test.fastest}) })
			a, b := free.times(all), ours.times(all)
			t.Logf("free-for-all: first %v, median %v, last %v", a[0], a[len(a)/2], a[len(a)-1])
			t.Logf("admission: first %v, median %v, last %v; %d at once", b[0], b[len(b)/2], b[len(b)-1], ours.most)
			if float64(b[0]) > float64(a[0])*test.first {
				t.Errorf("the first is up after %v, in a free-for-all after %v", b[0], a[0])
			}
			if float64(b[len(b)/2]) > float64(a[len(a)/2])*test.half {
				t.Errorf("half is up after %v, in a free-for-all after %v", b[len(b)/2], a[len(a)/2])
			}
			if last, limit := b[len(b)-1], a[len(a)-1]; last > limit+test.slack {
				t.Errorf("the last is up after %v, in a free-for-all after %v", last, limit)
			}
		})
	}
}

// TestFewNodes: as long as no more nodes download than there may always be, nobody waits;
// nor does anybody who only looks at scripts, however many there are.
func TestFewNodes(t *testing.T) {
	w := newWorld(t, 125*mega)
	w.add(16, machine{})
	w.run(w.allBooted)
	for _, m := range w.machines {
		if m.waited {
			t.Fatalf("%v had to wait", m.mac)
		}
	}
	w.at += time.Minute
	for i := range 10_000 {
		if turn := w.control.Ask(provisioning.MAC{1, 2, 3, 4, byte(i >> 8), byte(i)}, 0, false); !turn.Admitted {
			t.Fatalf("after %d scripts: %+v", i, turn)
		}
	}
}

// TestFairness: a farmer with few nodes does not wait until one with many, who was there
// before, has booted them all; the many are not starved either.
func TestFairness(t *testing.T) {
	w := newWorld(t, 125*mega)
	w.add(400, machine{farmer: 1})
	w.add(20, machine{farmer: 2, on: 5 * time.Second})
	w.add(20, machine{farmer: 3, on: 5 * time.Second})
	w.run(w.allBooted)
	of := func(f provisioning.FarmerID) []time.Duration {
		return w.times(func(m *machine) bool { return m.farmer == f })
	}
	many, few, others := of(1), of(2), of(3)
	for _, list := range [][]time.Duration{few, others} {
		if last := list[len(list)-1]; last > many[len(many)/4] {
			t.Errorf("all nodes of the small farm are up after %v, a quarter of the large one's after %v", last, many[len(many)/4])
		}
	}
	if many[20] > few[len(few)-1] {
		t.Errorf("the large farm has 20 nodes up after %v, the small one after %v", many[20], few[len(few)-1])
	}
}

// TestOldestFirst: of one farmer's nodes, none overtakes another that asked much earlier.
func TestOldestFirst(t *testing.T) {
	w := newWorld(t, 125*mega)
	w.add(300, machine{farmer: 7})
	w.add(100, machine{farmer: 7, on: 10 * time.Second})
	w.run(w.allBooted)
	early := w.times(func(m *machine) bool { return m.on < 5*time.Second })
	late := w.times(func(m *machine) bool { return m.on >= 10*time.Second })
	if late[0] < early[len(early)-1]-15*time.Second {
		t.Errorf("one that came later is up after %v, the last of those before after %v", late[0], early[len(early)-1])
	}
}

// TestHostile: hundreds that ask and never download, under addresses that nobody
// registered, keep no farmer's nodes from booting in about the usual time.
func TestHostile(t *testing.T) {
	alone, beset := newWorld(t, 125*mega), newWorld(t, 125*mega)
	for _, w := range []*world{alone, beset} {
		w.add(200, machine{farmer: 1})
	}
	beset.add(500, machine{never: true})
	for _, w := range []*world{alone, beset} {
		w.run(w.allBooted)
	}
	a, b := alone.times(all), beset.times(all)
	if last, limit := b[len(b)-1], 2*a[len(a)-1]; last > limit {
		t.Errorf("the last is up after %v, without them after %v", last, limit/2)
	}
}

// TestSlowNodes: nodes behind slow lines, however many, hold the others up only as much
// as they take of the link.
func TestSlowNodes(t *testing.T) {
	w := newWorld(t, 125*mega)
	w.add(40, machine{fastest: 0.1 * mega})
	w.add(200, machine{on: 3 * time.Second})
	w.run(w.allBooted)
	fast := w.times(func(m *machine) bool { return m.on > 0 && m.fastest > mega })
	if last, most := fast[len(fast)-1], 150*time.Second; last > most { // 200 kernels of 64 MB take 105 s
		t.Errorf("the last fast node is up after %v, want %v", last, most)
	}
}

// TestBrokenDownloads: a node whose download breaks off is in the middle of its boot, and
// goes on without waiting for its turn again.
func TestBrokenDownloads(t *testing.T) {
	w := newWorld(t, 125*mega)
	w.add(1, machine{breaks: 1})
	w.add(300, machine{})
	w.run(w.allBooted)
	if torn := w.machines[0]; torn.booted > 90*time.Second {
		t.Errorf("it is up after %v, the last after %v", torn.booted, w.at)
	}
}

// TestLinkDies: a link that dies for a minute in the middle of a storm does not let
// all nodes in at once.
func TestLinkDies(t *testing.T) {
	w := newWorld(t, 125*mega)
	w.add(100, machine{})
	w.run(func() bool { return w.at > 10*time.Second })
	link := w.link
	w.link = 0
	w.run(func() bool { return w.at > 70*time.Second })
	w.link = link
	w.run(w.allBooted)
	if w.most > 40 {
		t.Errorf("%d downloads at once", w.most)
	}
}

// TestImagesBesideNodes: downloads that ask nobody, as those of images with their script
// inside, are not held up, and those who ask get their part of the link beside them.
func TestImagesBesideNodes(t *testing.T) {
	w := newWorld(t, 125*mega)
	w.add(200, machine{silent: true})
	w.add(200, machine{farmer: 1})
	w.run(w.allBooted)
	silent := w.times(func(m *machine) bool { return m.silent })
	asking := w.times(func(m *machine) bool { return !m.silent })
	if a, s := asking[len(asking)/2], silent[len(silent)-1]; a > s {
		t.Errorf("half of those who ask are up after %v, all others after %v", a, s)
	}
}

// TestPlaces: places count from 1 without a gap, by turns between farmers, and stay while
// a node sleeps; one that does not come back is forgotten.
func TestPlaces(t *testing.T) {
	w := newWorld(t, mega)
	w.add(16, machine{farmer: 9})
	w.run(func() bool { return w.at > 2*time.Second })
	ask := func(f provisioning.FarmerID, n byte) admission.Turn {
		return w.control.Ask(provisioning.MAC{byte(f), 0, 0, 0, 0, n}, f, true)
	}
	for n := range byte(4) {
		if turn := ask(1, n); turn.Admitted || turn.Place != int(n)+1 || !turn.News || turn.About != 0 || turn.Sleep != 0 {
			t.Fatalf("node %d of farmer 1: %+v", n, turn)
		}
	}
	for n, want := range []int{2, 4} {
		if turn := ask(2, byte(n)); turn.Place != want {
			t.Errorf("node %d of farmer 2: %+v, want place %d", n, turn, want)
		}
	}
	for n, want := range []int{1, 3, 5, 6} {
		if turn := ask(1, byte(n)); turn.Place != want || turn.Of != 6 || turn.News {
			t.Errorf("node %d of farmer 1: %+v, want place %d of 6", n, turn, want)
		}
	}
	if s := w.control.State(); s.Waiting != 6 || s.Downloads != 16 || s.Limit < 16 || s.Oldest.IsZero() || s.Rate < 0.9*mega || s.Rate > 1.1*mega {
		t.Errorf("state %+v", s)
	}
	for range 3 {
		w.at += 40 * time.Second
		if turn := ask(2, 0); turn.Admitted {
			t.Fatalf("%+v", turn)
		}
	}
	if turn := ask(2, 0); turn.Place != 1 || turn.Of != 1 {
		t.Errorf("after two minutes: %+v", turn)
	}
}

// TestFlood: more than can be remembered ask, and nobody is kept from booting.
func TestFlood(t *testing.T) {
	w := newWorld(t, mega)
	w.add(16, machine{})
	w.run(func() bool { return w.at > 2*time.Second })
	admitted := 0
	for i := range 40_000 {
		if w.control.Ask(provisioning.MAC{2, 2, 2, byte(i >> 16), byte(i >> 8), byte(i)}, provisioning.FarmerID(i%3), true).Admitted {
			admitted++
		}
	}
	if s := w.control.State(); s.Waiting > 1<<14 || admitted < 40_000-s.Waiting-1 {
		t.Errorf("%d wait, %d are admitted of 40,000", s.Waiting, admitted)
	}
}
