package api

import (
	"io"
	"net/http"
	"time"
)

// stall is how long a client may take for a part of an answer, or to send a part of
// a body: a slow link is welcome, a dead one does not hold things for ever.
const stall = 2 * time.Minute

// patiently gives the client time to take the next part of an answer. The returned
// func ends that, for the connection may serve more. Where a connection knows no
// deadlines there are none.
func patiently(w http.ResponseWriter) (done func()) {
	control := http.NewResponseController(w)
	_ = control.SetWriteDeadline(time.Now().Add(stall))
	return func() { _ = control.SetWriteDeadline(time.Time{}) }
}

// steady reads a long body whose sender may not pause for longer than stall.
type steady struct {
	body    io.Reader
	control *http.ResponseController
}

func steadily(w http.ResponseWriter, body io.Reader) *steady {
	return &steady{body, http.NewResponseController(w)}
}

// Read implements [io.Reader].
func (s *steady) Read(b []byte) (int, error) {
	_ = s.control.SetReadDeadline(time.Now().Add(stall))
	n, err := s.body.Read(b)
	if err != nil {
		_ = s.control.SetReadDeadline(time.Time{})
	}
	return n, err
}
