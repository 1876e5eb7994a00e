package live

import (
	"cmp"
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"farmboot/provisioning"
	"farmboot/provisioning/pause"
	"farmboot/provisioning/story"
)

const (
	// boardNodes is how many nodes the board remembers; beyond it those that were
	// quiet for longest are forgotten, a tenth at a time.
	boardNodes = 20_000
	// boardEvents is how many events of a node it remembers: a boot has about ten.
	boardEvents = 40
	// boardPast is how many events are read at the start, boardPage at a time.
	boardPast = 100_000
	boardPage = 2000
	// boardIdle is how long the picture is kept while no page shows it.
	boardIdle = 2 * time.Minute
	// boardWait is how long the first page waits for the picture.
	boardWait = 5 * time.Second
	// boardRetry is how long to wait when the store cannot be read.
	boardRetry = 5 * time.Second
)

// Board remembers what every node did last, so that all of them can be shown at
// once. It does so as long as somebody looks: it reads what happened before when somebody
// begins to, and forgets all when nobody has for a while. Safe for concurrent use.
type Board struct {
	subscribe func(provisioning.MAC) (events <-chan provisioning.Event, cancel func())
	events    func(context.Context, provisioning.EventQuery) ([]provisioning.Event, error)
	log       *slog.Logger

	wanted chan struct{} // holds a value when somebody begins to look

	mu      sync.RWMutex
	looked  time.Time     // when somebody last did
	there   chan struct{} // closed when the picture is there; nil: nobody looks
	nodes   map[provisioning.MAC]track
	lastID  int64
	orphans map[netip.Addr]struct{} // addresses that had events before their MAC address was known
}

// track is what is remembered of a node.
type track struct {
	steps []step      // oldest first, never empty
	state story.State // of its last boot, once that is over; else ""
	began time.Time   // that boot
}

// NewBoard returns a Board; [Board.Run] makes it follow. subscribe is
// [recorder.Recorder.Subscribe], events [provisioning.Store.Events].
func New(
	subscribe func(provisioning.MAC) (<-chan provisioning.Event, func()),
	events func(context.Context, provisioning.EventQuery) ([]provisioning.Event, error),
	log *slog.Logger,
) *Board {
	return &Board{
		subscribe: subscribe, events: events, log: log,
		wanted: make(chan struct{}, 1),
	}
}

// Run keeps the picture until ctx ends, and returns nil.
func (b *Board) Run(ctx context.Context) error {
	for {
		select {
		case <-b.wanted:
			b.watch(ctx)
		case <-ctx.Done():
			return nil
		}
	}
}

// look notes that a page is shown, and waits for the picture if it is the first.
func (b *Board) look() {
	b.mu.Lock()
	b.looked = time.Now()
	if b.there == nil {
		b.there = make(chan struct{})
		b.begin()
		b.wanted <- struct{}{}
	}
	there := b.there
	b.mu.Unlock()
	select {
	case <-there:
		return
	default:
	}
	timer := time.NewTimer(boardWait)
	defer timer.Stop()
	select {
	case <-there:
	case <-timer.C: // the store is slow, or Run has ended
	}
}

// begin makes an empty picture.
func (b *Board) begin() {
	b.nodes, b.orphans, b.lastID = map[provisioning.MAC]track{}, map[netip.Addr]struct{}{}, 0
}

// watch keeps the picture until nobody has looked for a while.
func (b *Board) watch(ctx context.Context) {
	for ctx.Err() == nil {
		following, stop := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() {
			defer close(done)
			b.followOn(following)
		}()
		b.awaitIdle(following)
		stop()
		<-done
		if b.forget() {
			return
		}
	}
}

// awaitIdle returns when nobody has looked for a while, or ctx ends.
func (b *Board) awaitIdle(ctx context.Context) {
	tick := time.NewTicker(boardIdle / 4)
	defer tick.Stop()
	for !b.idle() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (b *Board) idle() bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return time.Since(b.looked) >= boardIdle
}

// forget lets the picture go, unless somebody has just looked again.
func (b *Board) forget() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if time.Since(b.looked) < boardIdle {
		return false
	}
	b.there, b.nodes, b.orphans = nil, nil, nil
	return true
}

// isThere tells those who wait that the picture is there.
func (b *Board) isThere() {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-b.there:
	default:
		close(b.there)
	}
}

// followOn follows the events until ctx ends, whatever happens to the store.
func (b *Board) followOn(ctx context.Context) {
	for ctx.Err() == nil {
		dropped, err := b.follow(ctx)
		b.isThere()
		if err != nil && ctx.Err() == nil {
			b.log.Warn("the board cannot read boot events", "err", err)
			_ = pause.For(ctx, boardRetry) // the loop looks at ctx
		} else if !dropped {
			<-ctx.Done() // the recorder has ended, and so shall we
		}
	}
}

// follow reads what was missed, then what comes, until it has to begin again.
func (b *Board) follow(ctx context.Context) (dropped bool, err error) {
	news, cancel := b.subscribe(provisioning.MAC{})
	defer cancel()
	if err := b.read(ctx); err != nil {
		return false, err
	}
	b.isThere()
	for {
		select {
		case e, ok := <-news:
			if !ok {
				return false, nil
			}
			if e.Stage == provisioning.StageDropped {
				return true, nil
			}
			b.see(ctx, e)
		case <-ctx.Done():
			return false, nil
		}
	}
}

// read reads what was missed: of the last events, those that are not known.
func (b *Board) read(ctx context.Context) error {
	last, err := b.events(ctx, provisioning.EventQuery{Limit: 1, Last: true})
	if err != nil || len(last) == 0 {
		return err
	}
	after := max(b.lastID, last[0].ID-boardPast)
	for {
		past, err := b.events(ctx, provisioning.EventQuery{After: after, Limit: boardPage})
		if err != nil {
			return err
		}
		for _, e := range past {
			b.see(ctx, e)
			after = e.ID
		}
		if len(past) < boardPage {
			return nil
		}
	}
}

// see remembers an event. Only one goroutine calls it.
func (b *Board) see(ctx context.Context, e provisioning.Event) {
	if e.ID != 0 && e.ID <= b.lastID {
		return // read already
	}
	e.Peer = e.Peer.Unmap()
	var adopted []provisioning.Event
	if !e.MAC.IsZero() && b.isOrphan(e.Peer) {
		// By now the store knows whose the earlier events of that address were.
		adopted, _ = b.events(ctx, provisioning.EventQuery{MAC: e.MAC, Limit: boardEvents, Last: true})
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lastID = max(b.lastID, e.ID)
	switch {
	case e.MAC.IsZero():
		if len(b.orphans) >= boardNodes {
			clear(b.orphans)
		}
		b.orphans[e.Peer] = struct{}{}
	case len(adopted) > 0:
		delete(b.orphans, e.Peer)
		steps := make([]step, len(adopted))
		for i, e := range adopted {
			steps[i] = pack(e)
		}
		b.nodes[e.MAC] = track{steps: steps}
	default:
		had := b.nodes[e.MAC].steps
		if len(had) >= boardEvents {
			had = had[len(had)-boardEvents+1:]
		}
		// Readers hold on to what they were given: never append in place.
		b.nodes[e.MAC] = track{steps: append(slices.Clip(had), pack(e))}
	}
	b.makeRoom()
}

func (b *Board) isOrphan(peer netip.Addr) bool {
	b.mu.RLock()
	defer b.mu.RUnlock()
	_, ok := b.orphans[peer]
	return ok
}

// makeRoom forgets those that were quiet for longest.
func (b *Board) makeRoom() {
	if len(b.nodes) <= boardNodes {
		return
	}
	for _, d := range b.active()[boardNodes*9/10:] {
		delete(b.nodes, d.MAC)
	}
}

// Deed is that a node did something.
type Active struct {
	MAC provisioning.MAC
	At  time.Time // of its last event
}

// active lists the nodes, the one that did something last first.
func (b *Board) active() []Active {
	type entry struct {
		Active
		id int64
	}
	list := make([]entry, 0, len(b.nodes))
	for mac, t := range b.nodes {
		last := t.steps[len(t.steps)-1]
		list = append(list, entry{Active{mac, last.time()}, last.id})
	}
	slices.SortFunc(list, func(x, y entry) int {
		return cmp.Or(cmp.Compare(y.id, x.id), x.MAC.Compare(y.MAC))
	})
	active := make([]Active, len(list))
	for i, e := range list {
		active[i] = e.Active
	}
	return active
}

// Latest lists the nodes that did something, the last first.
func (b *Board) Latest() []Active {
	b.look()
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.active()
}

// Events returns what is remembered of a node since then, oldest first; the zero time
// asks for all of it.
func (b *Board) Events(mac provisioning.MAC, since time.Time) []provisioning.Event {
	b.look()
	b.mu.RLock()
	steps := b.nodes[mac].steps
	b.mu.RUnlock()
	return eventsSince(mac, steps, since)
}

func eventsSince(mac provisioning.MAC, steps []step, since time.Time) []provisioning.Event {
	events := make([]provisioning.Event, 0, len(steps))
	for _, s := range steps {
		if e := s.event(mac); !e.At.Before(since) {
			events = append(events, e)
		}
	}
	return events
}

// State tells how a node's last boot stands, for somebody who may know of it since
// then. A boot that is over is judged once: of thousands of nodes, few are booting.
func (b *Board) State(mac provisioning.MAC, since, now time.Time) story.State {
	b.look()
	return b.state(mac, since, now)
}

func (b *Board) state(mac provisioning.MAC, since, now time.Time) story.State {
	b.mu.RLock()
	t := b.nodes[mac]
	b.mu.RUnlock()
	if t.state != "" && !t.began.Before(since) {
		return t.state
	}
	events := eventsSince(mac, t.steps, since)
	if len(events) == 0 {
		return story.Unseen
	}
	told := story.Tell(events, now)
	if told.State != story.Booting && told.State != story.Held {
		b.over(mac, t.steps, len(events), told)
	}
	return told.State
}

// over notes that a boot is over, if all that is remembered was judged and nothing has
// happened since.
func (b *Board) over(mac provisioning.MAC, steps []step, judged int, told story.Story) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if t := b.nodes[mac]; len(t.steps) == judged && len(steps) == judged && &t.steps[0] == &steps[0] {
		t.state, t.began = told.State, told.Began
		b.nodes[mac] = t
	}
}
