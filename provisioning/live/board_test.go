package live_test

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"farmboot/provisioning"
	"farmboot/provisioning/live"
	"farmboot/provisioning/storetest"
	"farmboot/provisioning/story"
)

// source is a recorder and a store, as the board sees them.
type source struct {
	mu      sync.Mutex
	stored  []provisioning.Event
	failing error
	news    chan provisioning.Event
	watched int // subscriptions
}

func (s *source) subscribe(provisioning.MAC) (<-chan provisioning.Event, func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.news = make(chan provisioning.Event, 1000)
	s.watched++
	return s.news, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.watched--
	}
}

func (s *source) events(_ context.Context, q provisioning.EventQuery) ([]provisioning.Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failing != nil {
		return nil, s.failing
	}
	var found []provisioning.Event
	for _, e := range s.stored {
		if e.ID > q.After && (q.MAC.IsZero() || q.MAC == e.MAC) {
			found = append(found, e)
		}
	}
	if len(found) > q.Limit && q.Last {
		found = found[len(found)-q.Limit:]
	}
	found = found[:min(len(found), q.Limit)]
	return found, nil
}

// add stores an event and, when told is set, tells of it.
func (s *source) add(told bool, e provisioning.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.ID = int64(len(s.stored) + 1)
	s.stored = append(s.stored, e)
	if told {
		s.news <- e
	}
}

// withBoard runs a board on s, with time that stands still while all wait.
func withBoard(t *testing.T, s *source, test func(t *testing.T, b *live.Board)) {
	synctest.Test(t, func(t *testing.T) {
		b := live.New(s.subscribe, s.events, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(context.Background())
		var running sync.WaitGroup
		running.Go(func() {
			if err := b.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		b.Latest() // somebody looks
		synctest.Wait()
		test(t, b)
		cancel()
		running.Wait()
	})
}

func at(second int) time.Time { return time.Date(2026, 11, 23, 9, 0, second, 0, time.UTC) }

func TestBoardFollows(t *testing.T) {
	s := &source{}
	s.add(false, provisioning.Event{MAC: storetest.MAC(1), At: at(1), Stage: provisioning.StageDiscover})
	s.add(false, provisioning.Event{MAC: storetest.MAC(2), At: at(2), Stage: provisioning.StageDiscover})
	withBoard(t, s, func(t *testing.T, b *live.Board) {
		s.add(true, provisioning.Event{MAC: storetest.MAC(1), At: at(3), Stage: provisioning.StageOffer})
		s.news <- s.stored[0] // told twice, as when reading and hearing overlap
		synctest.Wait()
		latest := b.Latest()
		if len(latest) != 2 || latest[0] != (live.Active{MAC: storetest.MAC(1), At: at(3)}) || len(b.Events(storetest.MAC(1), time.Time{})) != 2 {
			t.Errorf("latest %v, events %v", latest, b.Events(storetest.MAC(1), time.Time{}))
		}
		if st := b.State(storetest.MAC(1), time.Time{}, at(4)); st != story.Booting {
			t.Errorf("state %s", st)
		}
		if st := b.State(storetest.MAC(1), time.Time{}, at(4).Add(time.Hour)); st != story.Stalled {
			t.Errorf("an hour later %s", st)
		}
		s.add(true, provisioning.Event{MAC: storetest.MAC(1), At: at(5).Add(time.Hour), Stage: provisioning.StageDiscover})
		synctest.Wait()
		if st := b.State(storetest.MAC(1), time.Time{}, at(6).Add(time.Hour)); st != story.Booting {
			t.Errorf("when it boots again %s", st)
		}
		if st := b.State(storetest.MAC(9), time.Time{}, at(6)); st != story.Unseen {
			t.Errorf("of nobody %s", st)
		}
	})
}

// TestBoardTellsSince: of a boot that began before, the state is told by what came
// since then, whoever asked first.
func TestBoardTellsSince(t *testing.T) {
	s := &source{}
	for i, e := range []provisioning.Event{
		{Stage: provisioning.StageScript},
		{Stage: provisioning.StageKernel, Bytes: 40, Size: 100},
		{Stage: provisioning.StageKernel, Bytes: 60, Size: 100},
	} {
		e.MAC, e.At = storetest.MAC(1), at(i)
		s.add(false, e)
	}
	withBoard(t, s, func(t *testing.T, b *live.Board) {
		for range 2 {
			for _, test := range []struct {
				since  time.Time
				events int
				want   story.State
			}{
				{at(2), 1, story.Booting},
				{time.Time{}, 3, story.Started},
				{at(0), 3, story.Started},
				{at(3), 0, story.Unseen},
			} {
				if n := len(b.Events(storetest.MAC(1), test.since)); n != test.events {
					t.Errorf("%d events since %s, want %d", n, test.since, test.events)
				}
				if st := b.State(storetest.MAC(1), test.since, at(3)); st != test.want {
					t.Errorf("%s since %s, want %s", st, test.since, test.want)
				}
			}
			if st := b.State(storetest.MAC(1), at(2), at(3).Add(time.Hour)); st != story.Stalled {
				t.Errorf("an hour later %s", st)
			}
		}
	})
}

func TestBoardCatchesUp(t *testing.T) {
	s := &source{}
	withBoard(t, s, func(t *testing.T, b *live.Board) {
		s.add(true, provisioning.Event{MAC: storetest.MAC(1), At: at(1), Stage: provisioning.StageDiscover})
		s.add(false, provisioning.Event{MAC: storetest.MAC(1), At: at(2), Stage: provisioning.StageOffer})
		s.news <- provisioning.Event{Stage: provisioning.StageDropped}
		synctest.Wait()
		if n := len(b.Events(storetest.MAC(1), time.Time{})); n != 2 {
			t.Errorf("%d events", n)
		}
	})
}

func TestBoardWaitsForTheStore(t *testing.T) {
	s := &source{failing: errors.New("no database")}
	s.add(false, provisioning.Event{MAC: storetest.MAC(1), At: at(1), Stage: provisioning.StageDiscover})
	withBoard(t, s, func(t *testing.T, b *live.Board) {
		if len(b.Latest()) != 0 {
			t.Fatal("it knows what it cannot know")
		}
		s.mu.Lock()
		s.failing = nil
		s.mu.Unlock()
		<-time.After(time.Minute) // of the bubble's clock
		synctest.Wait()
		if len(b.Latest()) != 1 {
			t.Error("it did not try again")
		}
	})
}

// TestBoardAdoptsOrphans has a transfer that showed only an IP address turn out to
// be that of a node, as BIOS firmware does it.
func TestBoardAdoptsOrphans(t *testing.T) {
	s := &source{}
	peer := netip.MustParseAddr("192.0.2.7")
	withBoard(t, s, func(t *testing.T, b *live.Board) {
		s.add(true, provisioning.Event{MAC: storetest.MAC(1), At: at(1), Stage: provisioning.StageDiscover})
		s.add(true, provisioning.Event{Peer: peer, At: at(2), Stage: provisioning.StageNBP, Bytes: 1, Size: 1})
		synctest.Wait()
		s.mu.Lock()
		s.stored[1].MAC = storetest.MAC(1) // what Tx.AttributeEvents does
		s.mu.Unlock()
		s.add(true, provisioning.Event{MAC: storetest.MAC(1), Peer: peer, At: at(3), Stage: provisioning.StageScript})
		synctest.Wait()
		events := b.Events(storetest.MAC(1), time.Time{})
		if len(events) != 3 || events[1].Stage != provisioning.StageNBP {
			t.Errorf("events %+v", events)
		}
	})
}

// TestBoardForgetsWhenNobodyLooks, and reads all anew when somebody does.
func TestBoardForgetsWhenNobodyLooks(t *testing.T) {
	s := &source{}
	s.add(false, provisioning.Event{MAC: storetest.MAC(1), At: at(1), Stage: provisioning.StageDiscover})
	watched := func() int {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.watched
	}
	withBoard(t, s, func(t *testing.T, b *live.Board) {
		for range 10 { // as long as somebody looks
			<-time.After(time.Minute)
			if len(b.Latest()) != 1 || watched() != 1 {
				t.Fatalf("%d nodes, watched %d times", len(b.Latest()), watched())
			}
		}
		<-time.After(10 * time.Minute)
		synctest.Wait()
		if watched() != 0 {
			t.Error("it watches for nobody")
		}
		s.add(false, provisioning.Event{MAC: storetest.MAC(2), At: at(2), Stage: provisioning.StageDiscover})
		if len(b.Latest()) != 2 || watched() != 1 {
			t.Errorf("%d nodes, watched %d times", len(b.Latest()), watched())
		}
	})
}

func TestBoardIsBounded(t *testing.T) {
	s := &source{}
	for i := range 21_000 {
		s.add(false, provisioning.Event{MAC: storetest.MAC(i), At: at(0).Add(time.Duration(i) * time.Second), Stage: provisioning.StageDiscover})
	}
	for i := range 100 {
		s.add(false, provisioning.Event{MAC: storetest.MAC(20_999), At: at(i).Add(24 * time.Hour), Stage: provisioning.StageRefused})
	}
	withBoard(t, s, func(t *testing.T, b *live.Board) {
		latest := b.Latest()
		if len(latest) > 20_000 || latest[0].MAC != storetest.MAC(20_999) || len(b.Events(storetest.MAC(20_999), time.Time{})) != 40 || len(b.Events(storetest.MAC(0), time.Time{})) != 0 {
			t.Errorf("%d nodes, %d events", len(latest), len(b.Events(storetest.MAC(20_999), time.Time{})))
		}
	})
}
