package recorder

import (
	"sync"
	"testing"

	"farmboot/provisioning"
	"farmboot/provisioning/boots"
)

func news(held int) *boots.News { return &boots.News{Event: provisioning.Event{Held: held}} }

// TestInboxKeepsOrder: what is put while batches are taken comes out once, in order, and as
// it was, though memory is used again.
func TestInboxKeepsOrder(t *testing.T) {
	b, total, next := newInbox(), 10*inboxSize, 0
	var group sync.WaitGroup
	group.Go(func() {
		for i := 0; i < total; {
			if b.put(news(i)) {
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
			for e := range eventsIn(batch) {
				if e.Held != next {
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
		b.put(news(i))
	}
	<-b.ring
	b.take(1) // with what is in the same chunk
	b.put(news(3))
	b.put(news(4))
	<-b.await(2) // they are there already
}

// TestInboxIsBounded: what is too much is refused, and memory is given up when little goes on.
func TestInboxIsBounded(t *testing.T) {
	b := newInbox()
	for i := range inboxSize {
		if !b.put(news(i)) {
			t.Fatalf("refused after %d", i)
		}
	}
	if b.put(news(0)) {
		t.Error("it takes more than it has room for")
	}
	for range 2 {
		b.giveBack(b.take(inboxSize))
		b.put(news(1))
	}
	b.giveBack(b.take(1))
	b.put(news(1))
	if n := chunkSize * (len(b.waiting) + len(b.spare)); n > recorderBatch {
		t.Errorf("room for %d is held while one waits", n)
	}
}
