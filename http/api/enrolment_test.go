package api_test

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"farmboot/provisioning"
)

// enrolment is which nodes are to be made to trust our key.
type enrolment struct {
	mu    sync.Mutex
	nodes map[provisioning.MAC]bool
}

func (e *enrolment) Enrolling(m provisioning.MAC) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.nodes[m]
}

func (e *enrolment) Enrol(m provisioning.MAC) error { e.set(m, true); return nil }
func (e *enrolment) Enrolled(m provisioning.MAC)    { e.set(m, false) }

func (e *enrolment) set(m provisioning.MAC, to bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.nodes == nil {
		e.nodes = map[provisioning.MAC]bool{}
	}
	e.nodes[m] = to
}

// TestEnrolment has a node enrolled for Secure Boot, and takes that back.
func TestEnrolment(t *testing.T) {
	s := newSite(t)
	const at = "/api/v1/nodes/" + node1 + "/enrolment"
	is := func(want string) {
		t.Helper()
		if got := strings.TrimSpace(string(s.do("GET", at, "").want(t, http.StatusOK).body)); got != want {
			t.Errorf("GET: %s, want %s", got, want)
		}
	}
	is(`{"enrolling":false}`)
	for range 2 {
		s.do("PUT", at, "").want(t, http.StatusOK)
		is(`{"enrolling":true}`)
	}
	chunked := func(r *http.Request) {
		if r.Body == nil || r.Body == http.NoBody {
			r.Body = io.NopCloser(strings.NewReader(""))
		}
		r.ContentLength = -1
	}
	s.do("PUT", at, "", chunked).want(t, http.StatusOK)
	s.do("PUT", at, `{"enrolling":true}`, chunked).want(t, http.StatusOK)
	s.do("PUT", at, `{"enrolling":false}`, chunked).want(t, http.StatusBadRequest)
	for range 2 {
		s.do("DELETE", at, "").want(t, http.StatusNoContent)
		is(`{"enrolling":false}`)
	}
	history := string(s.do("GET", "/api/v1/nodes/"+node1+"/history", "").want(t, http.StatusOK).body)
	if strings.Count(history, `"node enrol"`) != 4 || strings.Count(history, `"node enrol cancel"`) != 1 {
		t.Errorf("history: %s", history)
	}
	s.do("PUT", "/api/v1/nodes/"+wild+"/enrolment", "").want(t, http.StatusNotFound)
	s.do("PUT", "/api/v1/nodes/nonsense/enrolment", "").want(t, http.StatusBadRequest)
	s.Enrolment = nil
	for _, method := range []string{"GET", "PUT", "DELETE"} {
		if answer := string(s.do(method, at, "").want(t, http.StatusConflict).body); !strings.Contains(answer, "Secure Boot is off here") {
			t.Errorf("%s, Secure Boot off: %s", method, answer)
		}
	}
}
