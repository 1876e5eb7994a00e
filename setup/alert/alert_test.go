package alert

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

var start = time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)

// stalled are conditions of nodes.
func stalled(nodes ...string) []Condition {
	var all []Condition
	for _, n := range nodes {
		all = append(all, Condition{Key: n, Text: n + " stalled", Cure: []string{"its cable"}})
	}
	return all
}

// TestDigest plays hours of an appliance, asked every 15 seconds, and holds what is told
// against what ought to be.
func TestDigest(t *testing.T) {
	many := make([]string, 30)
	for i := range many {
		many[i] = fmt.Sprintf("node-%02d", i)
	}
	type phase struct {
		from  time.Duration
		wrong []Condition
	}
	tests := map[string]struct {
		phases []phase
		want   string // "time kind conditions/standing"
	}{
		"one trouble, mended":                   {[]phase{{0, stalled("a")}, {5 * time.Minute, nil}}, "1m0s trouble 1/1, 7m0s well 0/0"},
		"one that goes before it is told":       {[]phase{{0, stalled("a")}, {45 * time.Second, nil}}, ""},
		"a flood is one message":                {[]phase{{0, stalled("a")}, {30 * time.Second, stalled(many...)}}, "1m0s trouble 30/30"},
		"more troubles wait, and are new alone": {[]phase{{0, stalled("a")}, {2 * time.Minute, stalled("a", "b", "c")}}, "1m0s trouble 1/1, 11m0s trouble 2/3"},
		"flapping is told once":                 {[]phase{{0, stalled("a")}, {2 * time.Minute, nil}, {3 * time.Minute, stalled("a")}, {4 * time.Minute, nil}, {5 * time.Minute, stalled("a")}, {20 * time.Minute, nil}}, "1m0s trouble 1/1, 22m0s well 0/0"},
		"again after an hour and more":          {[]phase{{0, stalled("a")}, {2 * time.Minute, nil}, {70 * time.Minute, stalled("a")}}, "1m0s trouble 1/1, 4m0s well 0/0, 1h11m0s trouble 1/1"},
		"one of two mended says nothing":        {[]phase{{0, stalled("a", "b")}, {5 * time.Minute, stalled("b")}}, "1m0s trouble 2/2"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var d Digest
			var told []string
			for at := time.Duration(0); at < 2*time.Hour; at += askEvery {
				var wrong []Condition
				for _, p := range tt.phases {
					if at >= p.from {
						wrong = p.wrong
					}
				}
				if m, ok := d.Next(start.Add(at), wrong); ok {
					told = append(told, fmt.Sprintf("%v %s %d/%d", at, m.Kind, len(m.Conditions), m.Standing))
				}
			}
			if got := strings.Join(told, ", "); got != tt.want {
				t.Errorf("told: %s\nwant: %s", got, tt.want)
			}
		})
	}
}

// TestNoticesAreToldApart: by what they are about, not by their words.
func TestNoticesAreToldApart(t *testing.T) {
	var d Digest
	d.Note(Notice{Key: "kernel taken back", About: int64(1), Text: "a trial has ended"})
	d.Note(Notice{Key: "kernel taken back", About: int64(1), Text: "the trial has ended"})
	d.Note(Notice{Key: "kernel taken back", About: int64(2), Text: "a trial has ended"})
	d.Note(Notice{Key: "kernel taken", About: int64(2), Text: "a trial has ended"})
	d.Next(start, nil)
	if m, ok := d.Next(start.Add(gather), nil); !ok || len(m.Notices) != 3 || m.Notices[0].Text != "a trial has ended" {
		t.Errorf("told %t: %+v", ok, m.Notices)
	}
}

func TestNotices(t *testing.T) {
	var d Digest
	at := start
	next := func(after time.Duration) (Message, bool) {
		at = at.Add(after)
		return d.Next(at, nil)
	}
	note := func(n int) {
		d.Note(Notice{Key: "unknown machine", About: n, Text: fmt.Sprintf("machine %d", n), Details: []string{"from QEMU"}, Cure: []string{"register it"}})
	}
	for range 1000 {
		note(1)
	}
	if m, ok := next(0); ok {
		t.Errorf("at once: %+v", m)
	}
	m, ok := next(gather)
	want := "- machine 1\n    from QEMU\n    check: register it\nSee /admin"
	if !ok || m.Kind != KindNotice || len(m.Notices) != 1 || m.Title() != "Farmboot: machine 1" || m.Text() != want {
		t.Errorf("due %v: %+v, %q", ok, m, m.Text())
	}
	if _, ok := next(time.Hour); ok {
		t.Error("a notice is told twice")
	}
	for n := range 1000 {
		note(n)
	}
	next(0)
	m, ok = next(gather)
	if text := m.Text(); !ok || len(m.Notices) != mostNotices || m.Dropped != 900 || m.Title() != "Farmboot: 1000 notices" || strings.Count(text, "machine") != mostListed || !strings.Contains(text, "… and 980 more notices.") {
		t.Errorf("due %v: a flood: %q, %s", ok, m.Title(), text)
	}
	note(1)
	next(0)
	if _, ok := next(apart - time.Second); ok {
		t.Error("the next message comes too soon")
	}
	if _, ok := next(time.Second); !ok {
		t.Error("the next message does not come")
	}
	// A notice comes with a trouble that is told anyway.
	next(0)
	note(2)
	d.Next(at, stalled("a"))
	if m, ok := d.Next(at.Add(gather), stalled("a")); !ok || m.Kind != KindTrouble || len(m.Notices) != 1 {
		t.Errorf("%v: %+v", ok, m)
	}
}

func TestText(t *testing.T) {
	m := Message{Kind: KindTrouble, Appliance: "https://192.0.2.10", Conditions: stalled("a"), Standing: 3}
	want := "- a stalled\n    check: its cable\nTold before, and still so: 2.\nSee https://192.0.2.10/admin"
	if m.Title() != "Farmboot: a stalled" || m.Text() != want {
		t.Errorf("%q, %q", m.Title(), m.Text())
	}
	for range 30 {
		m.Conditions = append(m.Conditions, stalled("b")...)
	}
	if text := m.Text(); !strings.Contains(text, "… and 11 more.") || m.Title() != "Farmboot: 31 troubles" {
		t.Errorf("%q, %q", m.Title(), text)
	}
}

// received is what a place got.
type received struct {
	path, query, signature, title, body string
}

// place is a server that takes messages, or not.
func place(t *testing.T, status int) (*httptest.Server, <-chan received) {
	got := make(chan received, 100)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- received{r.URL.Path, r.URL.RawQuery, r.Header.Get(SignatureHeader), r.Header.Get("Title"), string(body)}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "{}")
	}))
	t.Cleanup(s.Close)
	return s, got
}

func teller(t *testing.T, urls ...string) *Teller {
	t.Helper()
	x := &Teller{Appliance: func() string { return "https://192.0.2.10" }, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return start }}
	if err := x.To(urls); err != nil {
		t.Fatal(err)
	}
	return x
}

func TestWebhook(t *testing.T) {
	s, got := place(t, http.StatusNoContent)
	x := teller(t, "webhook+"+s.URL+"/farm?room=3&secret=s3cret")
	if err := x.Test(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := <-got
	var m Message
	if err := json.Unmarshal([]byte(r.body), &m); err != nil || m.Kind != KindTest || m.Appliance != "https://192.0.2.10" {
		t.Errorf("%v: %s", err, r.body)
	}
	if want := sign("s3cret", start, []byte(r.body)); r.path != "/farm" || r.query != "room=3" || r.signature != want {
		t.Errorf("%+v, want the signature %s and the query room=3", r, want)
	}
	// As "printf 1.body | openssl dgst -sha256 -hmac key" says it.
	if got, want := sign("key", time.Unix(1, 0), []byte("body")), "t=1,v1=91b5374b153842ad05b2c4eab9349b8321b14703165bd3fb8b034dfb8be98ae5"; got != want {
		t.Errorf("signature %s, want %s", got, want)
	}
	refusing, _ := place(t, http.StatusForbidden)
	err := teller(t, "webhook+"+refusing.URL+"/x?secret=s3cret").Test(t.Context())
	if err == nil || !strings.Contains(err.Error(), "403") || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("a place that refuses: %v", err)
	}
}

// TestShoutrrr sends by the library, to a server that plays ntfy.
func TestShoutrrr(t *testing.T) {
	s, got := place(t, http.StatusOK)
	x := teller(t, "ntfy://user:hunter2@"+strings.TrimPrefix(s.URL, "http://")+"/farm?scheme=http")
	if err := x.Test(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r := <-got; r.title != "Farmboot: a test" || !strings.Contains(r.body, "messages of https://192.0.2.10 arrive here") {
		t.Errorf("ntfy got %+v", r)
	}
	s.Close()
	if err := x.Test(t.Context()); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("a place that is gone: %v", err)
	}
}

func TestCheck(t *testing.T) {
	for _, url := range []string{"", "ntfy", "carrierpigeon://x", "webhook+ftp://x/", "webhook+https://", "telegram://token", "smtp://u:hunter2@"} {
		if err := Check(url); err == nil || strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", url, err)
		}
	}
	for url, want := range map[string]string{
		"carrierpigeon://x":                "nothing is sent by carrierpigeon://: accepted are those of shoutrrr",
		"ntfy://u:hunter2@h/%zz":           "ntfy: this cannot be read as a URL: ",
		"telegram://hunter2@telegram":      "telegram: something is missing behind telegram://, or too much: accepted is telegram://TOKEN@telegram?chats=CHAT",
		"smtp://u:hunter2@example.org:25/": "accepted is smtp://USER:PASSWORD@HOST:PORT/?from=ADDRESS&to=ADDRESS",
		"zulip://hunter2":                  "accepted is what shoutrrr's manual says of zulip",
	} {
		if err := Check(url); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v, want %s", url, err, want)
		}
	}
	// What is said to be accepted is.
	for _, url := range []string{
		"ntfy://u:p@ntfy.example.org/farm", "ntfy://ntfy.example.org/farm", "telegram://110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw1@telegram?chats=@farm",
		"smtp://u:p@example.org:587/?from=a@example.org&to=b@example.org", "discord://token@123456789012345678",
		"slack://hook:T00000000-B00000000-abcdefghijklmnopqrstuvwx@webhook", "gotify://example.org/Aaa.bbb.ccc.ddd", "pushover://shoutrrr:token@user/",
	} {
		if err := Check(url); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
	if err := teller(t).To([]string{"webhook+https://example.org/", "nonsense"}); err == nil {
		t.Error("a list with a wrong URL is taken")
	}
}

// TestRun: troubles are told while the teller runs, and again where a place did not take
// them.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sent []Message
		fail := 2
		x := &Teller{Appliance: func() string { return "u" }, Log: slog.New(slog.DiscardHandler), Now: time.Now}
		x.senders = []sender{func(_ context.Context, m Message) error {
			if fail--; fail >= 0 {
				return io.ErrUnexpectedEOF
			}
			sent = append(sent, m)
			return nil
		}}
		x.Watch(func(context.Context) []Condition { return stalled("a") })
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- x.Run(ctx) }()
		<-time.After(10 * time.Minute)
		cancel()
		if err := <-done; err != nil || len(sent) != 1 || sent[0].Kind != KindTrouble {
			t.Errorf("error %v, sent %+v", err, sent)
		}
	})
}
