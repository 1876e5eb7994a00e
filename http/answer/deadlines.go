package answer

import (
	"context"
	"io"
	"net/http"
	"time"
)

// stall is how long a client may take for a part of an answer, or to send a part of
// a body: a slow link is welcome, a dead one does not hold things for ever.
const stall = 2 * time.Minute

// ExtendWrite gives the client time to take the next part of an answer. What is buffered
// is sent after its handler has returned, so the deadline stays; the next request has
// its own. Where a connection knows no deadlines there are none.
func ExtendWrite(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(stall))
}

// ExtendRead returns body, the long body of a request, to be read as long as its sender
// does not pause for longer than stall. Other bodies have a minute in all.
func ExtendRead(w http.ResponseWriter, body io.Reader) io.Reader {
	return &extendingReader{body, http.NewResponseController(w)}
}

type extendingReader struct {
	body    io.Reader
	control *http.ResponseController
}

// Read implements [io.Reader].
func (s *extendingReader) Read(b []byte) (int, error) {
	_ = s.control.SetReadDeadline(time.Now().Add(stall))
	n, err := s.body.Read(b)
	if err != nil {
		_ = s.control.SetReadDeadline(time.Time{})
	}
	return n, err
}

// stopKey is the context key of what [Stopping] returns.
type stopKey struct{}

// WithStop returns a context for the requests of a server that stops when stop is
// closed.
func WithStop(ctx context.Context, stop <-chan struct{}) context.Context {
	return context.WithValue(ctx, stopKey{}, stop)
}

// Stopping is closed when the server of r is about to stop: an answer that waits for
// something to happen ends then, or it would hold the stop up. It is nil, and never
// closed, without [WithStop].
func Stopping(r *http.Request) <-chan struct{} {
	stop, _ := r.Context().Value(stopKey{}).(<-chan struct{})
	return stop
}
