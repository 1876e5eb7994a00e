package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"farmboot/http/answer"
	"farmboot/provisioning"
	"farmboot/provisioning/cause"
)

const (
	// heartbeat is how often a quiet stream says that it is alive: proxies close
	// connections that are silent for a minute.
	heartbeat = 15 * time.Second
	// reconnect is how soon a client comes back when a stream has ended.
	reconnect = 2 * time.Second
	// streamsPerActor is how many streams a token, or the socket, may follow at a time: a
	// page of the board has one. Each event of each node is sent on each of them.
	streamsPerActor = 32
	// streamsInAll is that of all together.
	streamsInAll = 256
)

// streams counts who follows events, and keeps what was sent last.
type streams struct {
	mu    sync.Mutex
	total int
	by    map[string]int // by the name of the actor
	sent  [64]encoded
}

// encoded is an event as streams send it.
type encoded struct {
	id   int64
	text []byte
}

// enter counts one more stream of by; leave counts it off.
func (s *streams) enter(by provisioning.Actor) (leave func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.total == streamsInAll || s.by[by.Name] == streamsPerActor {
		return nil, provisioning.Errorf(answer.TooMany, "too many event streams are open: at most %d for each token, and %d in all", streamsPerActor, streamsInAll)
	}
	if s.by == nil {
		s.by = make(map[string]int)
	}
	s.total++
	s.by[by.Name]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.total--
		if s.by[by.Name]--; s.by[by.Name] == 0 {
			delete(s.by, by.Name)
		}
	}, nil
}

// encode returns e as streams send it, made once for all of them.
func (s *streams) encode(e provisioning.Event) ([]byte, error) {
	if e.ID <= 0 { // it could not be stored
		body, err := json.Marshal(cause.Told(e))
		return fmt.Appendf(nil, "data: %s\n\n", body), err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	slot := &s.sent[e.ID%int64(len(s.sent))]
	if slot.id != e.ID {
		body, err := json.Marshal(cause.Told(e))
		if err != nil {
			return nil, err
		}
		*slot = encoded{e.ID, fmt.Appendf(nil, "id: %d\ndata: %s\n\n", e.ID, body)}
	}
	return slot.text, nil
}

// streamEvents answers GET /api/v1/events/stream: server-sent events (WHATWG HTML
// section 9.2). Each has an event's id and JSON; a client that comes back with the
// last id that it saw misses none.
func (a *API) streamEvents(w http.ResponseWriter, r *http.Request, by provisioning.Actor) error {
	q := r.URL.Query()
	from, replay, err := resume(r.Header.Get("Last-Event-ID"), q.Get("since"))
	if err != nil {
		return err
	}
	if from.MAC, err = macOf(q, "mac"); err != nil {
		return err
	}
	// Whether he may follow that node at all, before the answer begins.
	if _, err := a.Registry.Events(r.Context(), by, provisioning.EventQuery{MAC: from.MAC, Limit: 1}); err != nil {
		return err
	}
	leave, err := a.streams.enter(by)
	if err != nil {
		return err
	}
	defer leave()
	// Live events are collected while the old ones are replayed, so none is missed.
	live, cancel := a.Subscribe(from.MAC)
	defer cancel()
	s := &stream{api: a, w: w, r: r, by: by}
	s.begin()
	if r.Method == http.MethodHead {
		return nil
	}
	if replay && !s.replay(from) {
		return nil
	}
	s.follow(live)
	return nil
}

// stream is one client that follows events. Its methods tell whether to go on.
type stream struct {
	api  *API
	w    http.ResponseWriter
	r    *http.Request
	by   provisioning.Actor
	last int64 // id of the last event sent
}

func (s *stream) begin() {
	h := s.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // nginx would hold events back
	s.w.WriteHeader(http.StatusOK)
	if s.r.Method != http.MethodHead {
		s.send("retry: %d\n\n", reconnect.Milliseconds())
	}
}

// send writes and flushes. A client that takes nothing for long has gone.
func (s *stream) send(format string, args ...any) bool {
	answer.ExtendWrite(s.w)
	if _, err := fmt.Fprintf(s.w, format, args...); err != nil {
		return false
	}
	return s.flush()
}

// event writes one event, if it is new and concerns the client.
func (s *stream) event(e provisioning.Event) bool {
	switch {
	case e.Stage == provisioning.StageDropped:
		s.send("event: dropped\ndata: %q\n\n", e.Detail)
		return false
	case e.ID != 0 && e.ID <= s.last:
		return true // replayed already
	case !s.api.Registry.Concerns(s.r.Context(), s.by, e):
		return true
	}
	text, err := s.api.streams.encode(e)
	if err != nil {
		return false
	}
	if e.ID != 0 {
		s.last = e.ID
	}
	answer.ExtendWrite(s.w)
	_, err = s.w.Write(text)
	return err == nil
}

// flush sends what was written.
func (s *stream) flush() bool { return http.NewResponseController(s.w).Flush() == nil }

// admitted tells whether the client's token, or session, is still good.
func (s *stream) admitted() bool {
	_, err := s.api.Authenticate(s.r)
	return err == nil
}

// replay sends the stored events from there on.
func (s *stream) replay(from provisioning.EventQuery) bool {
	from.Limit = page
	for s.admitted() {
		events, err := s.api.Registry.Events(s.r.Context(), s.by, from)
		if err != nil {
			return false // the client tries again from where it is
		}
		for _, e := range events {
			if !s.event(e) {
				return false
			}
			from.After = e.ID
		}
		if !s.flush() {
			return false
		}
		if len(events) < page {
			return true
		}
	}
	return false
}

// follow sends events as they happen, until the client, the recorder or the daemon
// ends.
func (s *stream) follow(live <-chan provisioning.Event) {
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		select {
		case e, ok := <-live:
			if !ok || !s.news(e, live) {
				return
			}
		case <-beat.C:
			if !s.admitted() || !s.send(":\n\n") {
				return
			}
		case <-s.r.Context().Done():
			return
		case <-answer.Stopping(s.r):
			return
		}
	}
}

// news sends e and those that wait behind it. Whether the client may be told is asked
// once for all of them: they came before the question.
func (s *stream) news(e provisioning.Event, live <-chan provisioning.Event) bool {
	waiting := len(live)
	if !s.admitted() || !s.event(e) {
		return false
	}
	for range waiting {
		if e, ok := <-live; !ok || !s.event(e) {
			return false
		}
	}
	return s.flush()
}
