package api_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	apphttp "farmboot/http"
	"farmboot/provisioning"
)

// TestQuietStreams: a quiet stream shows that it is alive, one whose token is
// revoked ends before anything else is told, and so does that of a client that is
// told to be too slow. Time passes by itself here.
func TestQuietStreams(t *testing.T) {
	s := newSite(t)
	script := func(id int64) provisioning.Event {
		return provisioning.Event{ID: id, MAC: provisioning.MAC{2}, Stage: provisioning.StageScript}
	}
	said := func(id int64) string {
		return fmt.Sprintf("id: %d\ndata: {\"id\":%[1]d,\"at\":\"0001-01-01T00:00:00Z\",\"mac\":\"02:00:00:00:00:00\",\"stage\":\"script\"}\n\n", id)
	}
	for name, test := range map[string]struct {
		happens func(events chan<- provisioning.Event, revoke func())
		want    string
	}{
		"quiet": {func(chan<- provisioning.Event, func()) {
			time.Sleep(40 * time.Second)
		}, "retry: 2000\n\n:\n\n:\n\n"},
		"revoked": {func(_ chan<- provisioning.Event, revoke func()) {
			revoke()
			time.Sleep(time.Minute)
		}, "retry: 2000\n\n"},
		"revoked, and something happens": {func(events chan<- provisioning.Event, revoke func()) {
			events <- script(1)
			synctest.Wait()
			revoke()
			events <- script(2)
		}, "retry: 2000\n\n" + said(1)},
		"much at once": {func(events chan<- provisioning.Event, _ func()) {
			for i := range int64(5) {
				events <- script(i + 1)
			}
		}, "retry: 2000\n\n" + said(1) + said(2) + said(3) + said(4) + said(5)},
		"too slow": {func(events chan<- provisioning.Event, _ func()) {
			events <- provisioning.Event{Stage: provisioning.StageDropped, Detail: "too slow"}
		}, "retry: 2000\n\nevent: dropped\ndata: \"too slow\"\n\n"},
		"not stored": {func(events chan<- provisioning.Event, _ func()) {
			events <- provisioning.Event{MAC: provisioning.MAC{2}, Stage: provisioning.StageScript}
		}, "retry: 2000\n\ndata: {\"id\":0,\"at\":\"0001-01-01T00:00:00Z\",\"mac\":\"02:00:00:00:00:00\",\"stage\":\"script\"}\n\n"},
		"the recorder ends": {func(events chan<- provisioning.Event, _ func()) {
			close(events)
		}, "retry: 2000\n\n"},
	} {
		t.Run(name, func(t *testing.T) {
			quiet := *s.API
			synctest.Test(t, func(t *testing.T) {
				events, revoked := make(chan provisioning.Event, 2), new(atomic.Bool)
				quiet.Subscribe = func(provisioning.MAC) (<-chan provisioning.Event, func()) { return events, func() {} }
				quiet.Authenticate = func(*http.Request) (provisioning.Actor, error) {
					if revoked.Load() {
						return provisioning.Actor{}, provisioning.Errorf(provisioning.Unauthorized, "revoked")
					}
					return root, nil
				}
				ctx, cancel := context.WithCancel(t.Context())
				w, ended := httptest.NewRecorder(), make(chan struct{})
				go func() {
					defer close(ended)
					r := httptest.NewRequestWithContext(ctx, "GET", "/api/v1/events/stream", strings.NewReader(""))
					apphttp.Plane(&quiet).ServeHTTP(w, r)
				}()
				synctest.Wait()
				test.happens(events, func() { revoked.Store(true) })
				synctest.Wait()
				cancel()
				<-ended
				if got := w.Body.String(); got != test.want || !w.Flushed {
					t.Errorf("stream %q, want %q", got, test.want)
				}
			})
		})
	}
}
