package recorder

import (
	"sync"

	"farmboot/provisioning"
)

// subscriberQueue is how many events a subscriber may lag behind: a farm of 250
// nodes that powers on makes about 2,000 within seconds.
const subscriberQueue = 1024

// subscribers sends events to those who subscribed.
type subscribers struct {
	mu   sync.Mutex
	open map[*subscriber]struct{}
}

type subscriber struct {
	mac    provisioning.MAC // zero: of every node
	events chan provisioning.Event
}

// add returns a new subscriber, who gets every event from now on.
func (s *subscribers) add(mac provisioning.MAC) *subscriber {
	sub := &subscriber{mac: mac, events: make(chan provisioning.Event, subscriberQueue)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = make(map[*subscriber]struct{})
	}
	s.open[sub] = struct{}{}
	return sub
}

// remove closes the subscriber's channel, once.
func (s *subscribers) remove(sub *subscriber) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.close(sub)
}

func (s *subscribers) close(sub *subscriber) {
	if _, ok := s.open[sub]; ok {
		delete(s.open, sub)
		close(sub.events)
	}
}

// count tells how many watch.
func (s *subscribers) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open)
}

// publish sends e to the subscribers that it concerns. It does not wait for a slow one: the
// last place in a subscriber's queue is for the news that it has been dropped.
func (s *subscribers) publish(e provisioning.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for sub := range s.open {
		switch {
		case !sub.mac.IsZero() && sub.mac != e.MAC:
		case len(sub.events) < cap(sub.events)-1:
			sub.events <- e
		default:
			sub.events <- provisioning.Event{At: e.At, Stage: provisioning.StageDropped, Detail: "too slow to follow; reconnect, and go on from the last event seen"}
			s.close(sub)
		}
	}
}

// closeAll ends every subscription.
func (s *subscribers) closeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for sub := range s.open {
		s.close(sub)
	}
}
