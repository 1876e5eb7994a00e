package api_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"farmboot/provisioning"
	"farmboot/provisioning/story"
)

// message is one message of an event stream.
type message struct{ event, id, data string }

// stream follows an event stream.
type stream struct {
	t      *testing.T
	lines  *bufio.Scanner
	cancel context.CancelFunc
}

// follow opens an event stream, and returns when it has begun.
func (s *site) follow(t *testing.T, path, token string, options ...func(*http.Request)) *stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	t.Cleanup(cancel)
	res, err := http.DefaultClient.Do(s.request("GET", path, token, "", options...).WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("status %d, %v", res.StatusCode, res.Header)
	}
	return &stream{t, bufio.NewScanner(res.Body), cancel}
}

// next returns the next message; ok is false at the end of the stream.
func (s *stream) next() (m message, ok bool) {
	s.t.Helper()
	for s.lines.Scan() {
		field, value, _ := strings.Cut(s.lines.Text(), ": ")
		switch field {
		case "event":
			m.event = value
		case "id":
			m.id = value
		case "data":
			m.data = value
		case "":
			if m.data != "" {
				return m, true
			}
		}
	}
	return m, false
}

// details reads n messages, and returns the detail of each.
func (s *stream) details(n int) string {
	s.t.Helper()
	var list []string
	for range n {
		m, ok := s.next()
		if !ok {
			s.t.Fatalf("the stream ended after %v: %v", list, s.lines.Err())
		}
		e := decode[provisioning.Event](s.t, reply{body: []byte(m.data)})
		if strconv.FormatInt(e.ID, 10) != m.id {
			s.t.Errorf("id %s of %s", m.id, m.data)
		}
		list = append(list, e.Detail)
	}
	return strings.Join(list, " ")
}

// happen records events of a node, one for each detail.
func (s *site) happen(node string, details ...string) {
	s.t.Helper()
	for _, d := range details {
		s.recorder.Record(provisioning.Event{MAC: mac(s.t, node), Stage: provisioning.StageScript, Detail: d})
	}
}

// stored waits until n events are stored, and returns them.
func (s *site) stored(n int) []provisioning.Event {
	s.t.Helper()
	for end := time.Now().Add(waitLimit); ; {
		events := decode[[]provisioning.Event](s.t, s.do("GET", "/api/v1/events", "").want(s.t, http.StatusOK))
		if len(events) >= n {
			return events
		}
		if time.Now().After(end) {
			s.t.Fatalf("%d events stored, want %d", len(events), n)
		}
	}
}

func TestStream(t *testing.T) {
	s := newSite(t)
	admin := s.follow(t, "/api/v1/events/stream", s.tokens.admin)
	ofNode := s.follow(t, "/api/v1/events/stream?mac="+node2, s.tokens.admin)
	farmer := s.follow(t, "/api/v1/events/stream", s.tokens.five)
	s.happen(node1, "a")
	s.happen(node2, "b")
	s.happen(spare, "c")
	s.happen(node1, "d")
	if got := admin.details(4); got != "a b c d" {
		t.Errorf("admin sees %q", got)
	}
	if got := ofNode.details(1); got != "b" {
		t.Errorf("follower of node 2 sees %q", got)
	}
	if got := farmer.details(2); got != "a d" {
		t.Errorf("farmer five sees %q", got)
	}

	// Where a client left off, another goes on, and then follows.
	events := s.stored(4)
	resumed := s.follow(t, "/api/v1/events/stream", s.tokens.admin, header("Last-Event-ID", fmt.Sprint(events[1].ID)))
	mine := s.follow(t, "/api/v1/events/stream?since=0", s.tokens.five)
	s.happen(node1, "e")
	if got := resumed.details(3); got != "c d e" {
		t.Errorf("resumed: %q", got)
	}
	if got := mine.details(3); got != "a d e" {
		t.Errorf("farmer five resumed: %q", got)
	}

	// A browser that comes back to an older database has to be let in.
	back := s.follow(t, "/api/v1/events/stream", s.tokens.admin, header("Last-Event-ID", "1700000000"))
	s.happen(node1, "f")
	if got := back.details(1); got != "f" {
		t.Errorf("back: %q", got)
	}

	// The daemon does not wait for streams.
	close(s.stop)
	for _, f := range []*stream{admin, resumed, mine, farmer, ofNode} {
		for {
			if _, ok := f.next(); !ok {
				break
			}
		}
		if err := f.lines.Err(); err != nil {
			t.Errorf("stream ended with %v", err)
		}
	}
}

// TestStreamOfOthers: nobody follows a node that is not his.
func TestStreamOfOthers(t *testing.T) {
	s := newSite(t)
	s.send(s.request("GET", "/api/v1/events/stream?mac="+node2, s.tokens.five, "")).want(t, http.StatusForbidden)
	s.send(s.request("GET", "/api/v1/events/stream?mac="+wild, s.tokens.five, "")).want(t, http.StatusNotFound)
}

// TestNodeOfAnotherBefore: who gets a node is not told what it did and was as another
// farmer's, wherever he asks; an admin is.
func TestNodeOfAnotherBefore(t *testing.T) {
	s := newSite(t)
	node := "/api/v1/nodes/" + node2
	s.do("PUT", node, `{"args":"secret=six"}`).want(t, http.StatusOK)
	before := provisioning.Event{At: clock().Add(-time.Minute), MAC: mac(t, node2), Stage: provisioning.StageScript, Detail: "secret=six"}
	s.recorder.Record(before)
	s.stored(1)
	follower := s.follow(t, "/api/v1/events/stream", s.tokens.five)
	s.do("PUT", node, `{"args":"","farmer":5}`).want(t, http.StatusOK)
	s.recorder.Record(before) // told of late
	s.happen(node2, "of-five")
	if got := follower.details(1); got != "of-five" {
		t.Errorf("he follows %q", got)
	}
	s.stored(3)
	for _, path := range []string{node + "/history", node + "/story", "/api/v1/events", "/api/v1/events?mac=" + node2, "/api/v1/events?since=0&mac=" + node2} {
		for who, token := range map[string]string{"five": s.tokens.five, "admin": s.tokens.admin} {
			body := string(s.send(s.request("GET", path, token, "")).want(t, http.StatusOK).body)
			if told := strings.Contains(body, "secret=six"); told != (who == "admin") {
				t.Errorf("%s to %s: %s", path, who, body)
			}
			if !strings.HasSuffix(path, "history") && !strings.Contains(body, "of-five") {
				t.Errorf("%s does not tell %s what it did since: %s", path, who, body)
			}
		}
	}
	for _, stream := range []string{"?since=0", "?since=0&mac=" + node2} {
		replayed := s.follow(t, "/api/v1/events/stream"+stream, s.tokens.five)
		if got := replayed.details(1); got != "of-five" {
			t.Errorf("%s replays %q", stream, got)
		}
	}
}

func TestEvents(t *testing.T) {
	s := newSite(t)
	s.happen(node1, "a", "b")
	s.happen(node2, "c")
	s.happen(node1, "d")
	events := s.stored(4)
	for _, test := range []struct{ query, token, want string }{
		{"", s.tokens.admin, "a b c d"},
		{"?limit=2", s.tokens.admin, "c d"},
		{fmt.Sprintf("?since=%d", events[1].ID), s.tokens.admin, "c d"},
		{"?since=0&limit=3", s.tokens.admin, "a b c"},
		{"?mac=" + node2, s.tokens.admin, "c"},
		{"?since=" + time.Now().Add(time.Hour).Format("2006-01-02T15:04:05Z"), s.tokens.admin, ""},
		{"?since=2026-01-01T00:00:00Z", s.tokens.admin, "a b c d"},
		{fmt.Sprintf("?since=%d", time.Now().Add(-time.Hour).Unix()), s.tokens.admin, "a b c d"},
		{fmt.Sprintf("?since=%d", time.Now().Add(time.Hour).Unix()), s.tokens.admin, ""},
		{"?since=999999", s.tokens.admin, ""},
		{"?since=2026-01-01T00:00:00+01:00", s.tokens.admin, "a b c d"},
		{"?since=2026-01-01T00:00:00%2B01:00", s.tokens.admin, "a b c d"},
		{fmt.Sprintf("?since=%d", events[3].ID), s.tokens.admin, ""},
		{"", s.tokens.five, "a b d"},
		{"", s.tokens.six, "c"},
		{"?mac=" + node1 + "&limit=1", s.tokens.five, "d"},
	} {
		var got []string
		for _, e := range decode[[]provisioning.Event](t, s.send(s.request("GET", "/api/v1/events"+test.query, test.token, "")).want(t, http.StatusOK)) {
			got = append(got, e.Detail)
		}
		if fmt.Sprint(got) != "["+test.want+"]" {
			t.Errorf("%q: %v, want %s", test.query, got, test.want)
		}
	}
	if next := s.do("GET", "/api/v1/events?since=0&limit=3", "").header.Get("X-Next-After"); next != fmt.Sprint(events[2].ID) {
		t.Errorf("X-Next-After %q", next)
	}
	told := decode[story.Story](t, s.do("GET", "/api/v1/nodes/"+node1+"/story", "").want(t, http.StatusOK))
	if told.State == story.Unseen || len(told.Steps) == 0 {
		t.Errorf("story %+v", told)
	}
}

// TestStreamsAreBounded: a token may follow so many times, and another one is not
// concerned; who has gone makes room.
func TestStreamsAreBounded(t *testing.T) {
	s := newSite(t)
	first := s.follow(t, "/api/v1/events/stream", s.tokens.five)
	for range 31 {
		s.follow(t, "/api/v1/events/stream", s.tokens.five)
	}
	r := s.send(s.request("GET", "/api/v1/events/stream", s.tokens.five, "")).want(t, http.StatusTooManyRequests)
	if p := r.problem(t); !strings.Contains(p.Message, "at most 32 for each token") {
		t.Error(p.Message)
	}
	s.happen(node1, "a")
	if got := s.follow(t, "/api/v1/events/stream?since=0", s.tokens.admin).details(1); got != "a" {
		t.Errorf("an admin sees %q", got)
	}
	first.cancel()
	for end := time.Now().Add(waitLimit); ; {
		ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
		res, err := http.DefaultClient.Do(s.request("GET", "/api/v1/events/stream", s.tokens.five, "").WithContext(ctx))
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		res.Body.Close()
		if res.StatusCode == http.StatusOK {
			break
		}
		if time.Now().After(end) {
			t.Fatal("nobody makes room")
		}
	}
}
