package answer_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"farmboot/http/answer"
	"farmboot/provisioning"
)

// newAdapter returns an adapter with what it logs and counts.
func newAdapter() (*answer.Adapter, *bytes.Buffer, *prometheus.Registry) {
	var log bytes.Buffer
	reg := prometheus.NewRegistry()
	return answer.NewAdapter(slog.New(slog.NewTextHandler(&log, nil)), time.Now, reg), &log, reg
}

func TestEveryCodeHasItsStatus(t *testing.T) {
	for code, status := range map[provisioning.Code]int{
		provisioning.Invalid: 400, provisioning.Unauthorized: 401, provisioning.Forbidden: 403, provisioning.NotFound: 404,
		provisioning.Conflict: 409, provisioning.Unavailable: 503, provisioning.Internal: 500, "of the future": 500,
	} {
		refusal := error(provisioning.Errorf(code, "because <%s>", code))
		for _, err := range []error{refusal, fmt.Errorf("wrapped: %w", refusal)} {
			for name, fail := range map[string]answer.Failure{"plain": answer.Plain, "json": answer.JSON} {
				a, _, _ := newAdapter()
				w := httptest.NewRecorder()
				a.Handle("test", fail, func(http.ResponseWriter, *http.Request) error { return err }).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
				if w.Code != status {
					t.Errorf("%s, %s: status %d, want %d", code, name, w.Code, status)
				}
				if text := w.Body.String(); (code != provisioning.Internal) != strings.Contains(text, "because <") || strings.Count(text, "\n") != 1 {
					t.Errorf("%s, %s: %q", code, name, text)
				}
			}
		}
	}
}

func TestFaultsAreLoggedAndNotShown(t *testing.T) {
	for name, h := range map[string]answer.Handler{
		"error": func(http.ResponseWriter, *http.Request) error { return errors.New("secret detail") },
		"panic": func(http.ResponseWriter, *http.Request) error { panic("secret detail") },
	} {
		a, log, reg := newAdapter()
		w := httptest.NewRecorder()
		a.Handle("test", answer.JSON, h).ServeHTTP(w, httptest.NewRequest("GET", "/x", nil))
		if w.Code != 500 || strings.Contains(w.Body.String(), "secret") || !strings.Contains(log.String(), "secret detail") {
			t.Errorf("%s: %d %s; log %s", name, w.Code, w.Body, log)
		}
		var body struct {
			Error struct{ Code, Message string }
		}
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || body.Error.Code != "internal" || body.Error.Message == "" {
			t.Errorf("%s: %s (%v)", name, w.Body, err)
		}
		want := "# HELP farmboot_http_requests_total HTTP requests answered, by handler and status.\n# TYPE farmboot_http_requests_total counter\nfarmboot_http_requests_total{handler=\"test\",status=\"500\"} 1\n"
		if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "farmboot_http_requests_total"); err != nil {
			t.Error(err)
		}
	}
}

func TestSecretsStayOutOfTheLog(t *testing.T) {
	var log bytes.Buffer
	debug := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	a := answer.NewAdapter(debug, time.Now, prometheus.NewRegistry())
	h := a.Handle("test", answer.Plain, func(http.ResponseWriter, *http.Request) error { return nil })
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/iso/prod/1/zos-debug%20secret%3Dhush", nil))
	if text := log.String(); !strings.Contains(text, "zos-debug secret=***") || strings.Contains(text, "hush") {
		t.Errorf("log: %s", text)
	}
}

// TestClientGone: a client that does not wait is no fault of ours. One that only closed
// its side reads that nothing was done.
func TestClientGone(t *testing.T) {
	a, log, reg := newAdapter()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	h := a.Handle("test", answer.Plain, func(_ http.ResponseWriter, r *http.Request) error { return r.Context().Err() })
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, "GET", "/x", nil))
	if log.Len() > 0 || w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "keep it open") {
		t.Errorf("log %s, status %d, body %s", log, w.Code, w.Body)
	}
	want := "# HELP farmboot_http_requests_total HTTP requests answered, by handler and status.\n# TYPE farmboot_http_requests_total counter\nfarmboot_http_requests_total{handler=\"test\",status=\"499\"} 1\n"
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "farmboot_http_requests_total"); err != nil {
		t.Error(err)
	}
}

// deadlines is an answer on a connection that knows write deadlines.
type deadlines struct {
	*httptest.ResponseRecorder
	last time.Time
}

// SetWriteDeadline is what http.ResponseController looks for.
func (d *deadlines) SetWriteDeadline(at time.Time) error {
	d.last = at
	return nil
}

// TestWhatIsBufferedHasADeadlineToo: it is sent when the handler has returned.
func TestWhatIsBufferedHasADeadlineToo(t *testing.T) {
	for name, send := range map[string]func(w http.ResponseWriter){
		"a part": func(w http.ResponseWriter) {
			answer.ExtendWrite(w)
			_, _ = io.WriteString(w, "part")
		},
		"a file": func(w http.ResponseWriter) { _, _ = io.Copy(w, io.LimitReader(strings.NewReader("file"), 4)) },
	} {
		a, _, _ := newAdapter()
		w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		a.Handle("test", answer.Plain, func(w http.ResponseWriter, _ *http.Request) error {
			send(w)
			return nil
		}).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		if w.last.IsZero() {
			t.Errorf("%s: nothing bounds how long it may wait to be taken", name)
		}
	}
}

func TestHostOf(t *testing.T) {
	for peer, want := range map[string]string{"10.0.0.1": "10.0.0.1", "2001:db8:1:2::7": "2001:db8:1:2::"} {
		if got := answer.HostOf(netip.MustParseAddr(peer)); got.String() != want {
			t.Errorf("%s counts as %s, want %s", peer, got, want)
		}
	}
}

func TestAbortPasses(t *testing.T) {
	a, _, _ := newAdapter()
	defer func() {
		if p := recover(); p != http.ErrAbortHandler {
			t.Errorf("recovered %v", p)
		}
	}()
	a.Handle("test", answer.Plain, func(http.ResponseWriter, *http.Request) error { panic(http.ErrAbortHandler) }).
		ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
}

// TestErrorAfterTheFirstByte cannot change the status any more; it must not add
// text to what was sent either.
func TestErrorAfterTheFirstByte(t *testing.T) {
	a, _, _ := newAdapter()
	w := httptest.NewRecorder()
	a.Handle("test", answer.Plain, func(w http.ResponseWriter, _ *http.Request) error {
		_, _ = io.WriteString(w, "half")
		return errors.New("the disk broke")
	}).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if w.Code != 200 || w.Body.String() != "half" {
		t.Errorf("%d %q", w.Code, w.Body)
	}
}

// TestFileOverARealConnection: a file of many chunks arrives whole, twice on one
// connection, for the write deadline of the first must not hurt the second.
func TestFileOverARealConnection(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	want := bytes.Repeat([]byte("0123456789abcdef"), 300<<10)
	if err := os.WriteFile(path, want, 0o600); err != nil {
		t.Fatal(err)
	}
	a, _, _ := newAdapter()
	srv := httptest.NewServer(a.Handle("test", answer.Plain, func(w http.ResponseWriter, r *http.Request) error {
		if !answer.LocalOf(r).IsLoopback() || !answer.PeerOf(r).IsLoopback() {
			t.Errorf("from %v to %v", answer.PeerOf(r), answer.LocalOf(r))
		}
		http.ServeFile(w, r, path)
		if rec := w.(*answer.Recorder); rec.Sent != int64(len(want)) {
			t.Errorf("counted %d bytes", rec.Sent)
		}
		return nil
	}))
	defer srv.Close()
	for range 2 {
		r, err := srv.Client().Get(srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r.Body)
		r.Body.Close()
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes of %d, %v", len(got), len(want), err)
		}
	}
}
