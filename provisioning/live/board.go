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
	"farmboot/provisioning/story"
)

const (
	// boardNodes is how many nodes the board remembers; beyond it those that were
	// quiet for longest are forgotten, a tenth at a time.
	boardNodes = 20_000
	// boardEvents is how many events of a node it remembers: a boot has about ten.
	boardEvents = 40
	// boardPast is how many events are read at the start.
	boardPast = 100_000
	// boardRetry is how long to wait when the store cannot be read.
	boardRetry = 5 * time.Second
)

// Board remembers what every node did last, so that all of them can be shown at
// once. Safe for concurrent use.
type Board struct {
	subscribe func(provisioning.MAC) (events <-chan provisioning.Event, cancel func())
	events    func(context.Context, provisioning.EventQuery) ([]provisioning.Event, error)
	log       *slog.Logger

	mu      sync.RWMutex
	nodes   map[provisioning.MAC]track
	lastID  int64
	orphans map[netip.Addr]struct{} // addresses that had events before their MAC address was known
}

// track is what is remembered of a node.
type track struct {
	events []provisioning.Event // oldest first, never empty
	state  story.State          // of its last boot, once that is over; else ""
	began  time.Time            // that boot
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
		nodes: map[provisioning.MAC]track{}, orphans: map[netip.Addr]struct{}{},
	}
}

// Run follows the events until ctx ends, and returns nil.
func (b *Board) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		dropped, err := b.follow(ctx)
		if err != nil && ctx.Err() == nil {
			b.log.Warn("the board cannot read boot events", "err", err)
			pause(ctx, boardRetry)
		} else if !dropped {
			<-ctx.Done() // the recorder has ended, and so shall we
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// follow reads what was missed, then what comes, until it has to begin again.
func (b *Board) follow(ctx context.Context) (dropped bool, err error) {
	news, cancel := b.subscribe(provisioning.MAC{})
	defer cancel()
	q := provisioning.EventQuery{After: b.lastID, Limit: boardPast, Last: true}
	past, err := b.events(ctx, q)
	if err != nil {
		return false, err
	}
	for _, e := range past {
		b.see(ctx, e)
	}
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

// see remembers an event. Only Run calls it.
func (b *Board) see(ctx context.Context, e provisioning.Event) {
	if e.ID != 0 && e.ID <= b.lastID {
		return // read already
	}
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
		b.nodes[e.MAC] = track{events: adopted}
	default:
		had := b.nodes[e.MAC].events
		if len(had) >= boardEvents {
			had = had[len(had)-boardEvents+1:]
		}
		// Readers hold on to what they were given: never append in place.
		b.nodes[e.MAC] = track{events: append(slices.Clip(had), e)}
	}
	b.makeRoom()
}

func (b *Board) isOrphan(peer netip.Addr) bool {
	_, ok := b.orphans[peer] // written by Run only, which is where we are
	return ok
}

// makeRoom forgets those that were quiet for longest.
func (b *Board) makeRoom() {
	if len(b.nodes) <= boardNodes {
		return
	}
	for _, d := range b.deeds()[boardNodes*9/10:] {
		delete(b.nodes, d.MAC)
	}
}

// Deed is that a node did something.
type Active struct {
	MAC provisioning.MAC
	At  time.Time // of its last event
}

// deeds lists the nodes, the one that did something last first.
func (b *Board) deeds() []Active {
	list := make([]Active, 0, len(b.nodes))
	for mac, t := range b.nodes {
		list = append(list, Active{mac, t.events[len(t.events)-1].At})
	}
	slices.SortFunc(list, func(x, y Active) int {
		return cmp.Or(y.At.Compare(x.At), slices.Compare(x.MAC[:], y.MAC[:]))
	})
	return list
}

// Latest lists the nodes that did something, the last first.
func (b *Board) Latest() []Active {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.deeds()
}

// Events returns what is remembered of a node since then, oldest first; the zero time
// asks for all of it. It is not to be changed.
func (b *Board) Events(mac provisioning.MAC, since time.Time) []provisioning.Event {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return eventsSince(b.nodes[mac].events, since)
}

func eventsSince(events []provisioning.Event, since time.Time) []provisioning.Event {
	early := func(e provisioning.Event) bool { return e.At.Before(since) }
	if !slices.ContainsFunc(events, early) {
		return events
	}
	return slices.DeleteFunc(slices.Clone(events), early)
}

// States counts the nodes by the state of their last boot.
func (b *Board) States(now time.Time) map[story.State]int {
	count := make(map[story.State]int)
	for _, node := range b.Latest() {
		count[b.State(node.MAC, time.Time{}, now)]++
	}
	return count
}

// State tells how a node's last boot stands, for somebody who may know of it since
// then. A boot that is over is judged once: of thousands of nodes, few are booting.
func (b *Board) State(mac provisioning.MAC, since, now time.Time) story.State {
	b.mu.RLock()
	t := b.nodes[mac]
	b.mu.RUnlock()
	if t.state != "" && !t.began.Before(since) {
		return t.state
	}
	events := eventsSince(t.events, since)
	if len(events) == 0 {
		return story.Unseen
	}
	told := story.Tell(events, now)
	if told.State != story.Booting && told.State != story.Held {
		b.over(mac, events, told)
	}
	return told.State
}

// over notes that a boot is over, if all that is remembered was judged and nothing has
// happened since.
func (b *Board) over(mac provisioning.MAC, judged []provisioning.Event, told story.Story) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if t := b.nodes[mac]; len(t.events) > 0 && &t.events[0] == &judged[0] && len(t.events) == len(judged) {
		t.state, t.began = told.State, told.Began
		b.nodes[mac] = t
	}
}
