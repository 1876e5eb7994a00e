package recorder

import (
	"sync"
	"testing"

	"farmboot/provisioning"
)

func news(held int) *provisioning.Event { return &provisioning.Event{Held: held} }

// TestInboxKeepsOrder: what is put while batches are taken comes out once, in order, and as
// it was, though memory is used again.
func TestInboxKeepsOrder(t *testing.T) {
	b, total, next := newInbox(), 10*inboxSize, 0
	var group sync.WaitGroup
	group.Go(func() {
		for i := 0; i < total; {
			if b.event(news(i)) {
				i++
			}
		}
	})
	for next < total {
		<-b.await(1)
		for _, most := range []int{recorderBatch, 7} {
			batch := b.take(most)
			if n := newsCount(batch); n > max(most, chunkSize) {
				t.Fatalf("%d taken of %d", n, most)
			}
			for n := range eventsIn(batch) {
				if e := n.Event(); e.Held != next {
					t.Fatalf("got %d, want %d", e.Held, next)
				}
				next++
			}
			b.giveBack(batch)
		}
	}
	group.Wait()
	if b.len() != 0 {
		t.Errorf("%d are left", b.len())
	}
}

// TestInboxRings: whoever awaits so many is woken when they are there, and not before.
func TestInboxRings(t *testing.T) {
	b := newInbox()
	b.await(3)
	for i := range 3 {
		select {
		case <-b.ring:
			t.Fatalf("it rang at %d", i)
		default:
		}
		b.event(news(i))
	}
	<-b.ring
	b.take(1) // with what is in the same chunk
	b.event(news(3))
	b.event(news(4))
	<-b.await(2) // they are there already
}

// TestInboxIsBounded: what is too much is refused, and memory is given up when little goes on.
func TestInboxIsBounded(t *testing.T) {
	b := newInbox()
	for i := range inboxSize {
		if !b.event(news(i)) {
			t.Fatalf("refused after %d", i)
		}
	}
	if b.event(news(0)) {
		t.Error("it takes more than it has room for")
	}
	for range 2 {
		b.giveBack(b.take(inboxSize))
		b.event(news(1))
	}
	b.giveBack(b.take(1))
	b.event(news(1))
	if n := chunkSize * (len(b.waiting) + len(b.spare)); n > recorderBatch {
		t.Errorf("room for %d is held while one waits", n)
	}
}
