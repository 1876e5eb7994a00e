package api

import (
	"encoding/json"
	"fmt"
	"net/http"
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
)

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
	answer.Patiently(s.w)
	if _, err := fmt.Fprintf(s.w, format, args...); err != nil {
		return false
	}
	return http.NewResponseController(s.w).Flush() == nil
}

// event sends one event, if it is new and concerns the client.
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
	body, err := json.Marshal(cause.Told(e))
	if err != nil {
		return false
	}
	if e.ID == 0 { // it could not be stored
		return s.send("data: %s\n\n", body)
	}
	s.last = e.ID
	return s.send("id: %d\ndata: %s\n\n", e.ID, body)
}

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
	return true
}
