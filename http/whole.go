package http

import (
	"bytes"
	"cmp"
	"io"
	"net/http"
	"strconv"
	"time"

	"farmboot/ipxe/kernel"
)

// What is read on and discarded behind an answer, at most.
const (
	// discardBytes is in bytes: a kernel that is too large is longer than the largest.
	discardBytes = 2 * kernel.MaxSize
	// discardTime is for all of it …
	discardTime = 5 * time.Minute
	// … and discardPause for a part: a client that stopped sending has its answer.
	discardPause = 5 * time.Second
)

// heldBytes is how long an answer to a request with a body may be, in bytes, to be held
// until it is whole. Refusals are; a longer answer goes out as it is written.
const heldBytes = 64 << 10

// shortBody is how long a body may be, in bytes, for its connection to be worth keeping
// when the handler did not read it.
const shortBody = 256 << 10

// whole serves h so that an answer reaches its client whole, however much of the
// request's body h left unread. net/http closes the connection then, and Linux resets
// one that has unread bytes (RFC 2525, section 2.17), whereupon clients that are still
// sending never read the answer. Here the answer goes out first; then the rest of the
// body is read and discarded.
func whole(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength == 0 {
			h.ServeHTTP(w, r)
			return
		}
		control := http.NewResponseController(w)
		// Or net/http would wait for the body before the answer. What knows nothing of
		// it, as in tests, needs none.
		_ = control.EnableFullDuplex()
		body := &countedBody{ReadCloser: r.Body}
		request := *r // net/http looks at its own
		request.Body = body
		held := &heldAnswer{ResponseWriter: w}
		h.ServeHTTP(held, &request)
		if !body.ended && (r.ContentLength < 0 || r.ContentLength > shortBody) {
			w.Header().Set("Connection", "close") // RFC 9112 section 9.6: stop sending
		}
		held.finish()
		if body.ended {
			return
		}
		if control.Flush() == nil {
			discard(control, body)
		}
		if !body.ended {
			panic(http.ErrAbortHandler) // what follows is no request: the connection ends here
		}
	})
}

// discard reads on until the body ends, within limits.
func discard(control *http.ResponseController, body io.Reader) {
	part := make([]byte, 32<<10)
	end := time.Now().Add(discardTime)
	for total := 0; total < discardBytes && time.Now().Before(end); {
		_ = control.SetReadDeadline(time.Now().Add(discardPause))
		n, err := body.Read(part)
		if err != nil {
			return
		}
		total += n
	}
}

// countedBody is a body that knows whether it was read to its end.
type countedBody struct {
	io.ReadCloser
	ended bool
}

// Read implements [io.Reader].
func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.ended = b.ended || err == io.EOF
	return n, err
}

// heldAnswer holds an answer until it is whole, so that it has a length: without one,
// it would end only when the rest of the request's body has been discarded.
type heldAnswer struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
	begun  bool // it has gone out, as far as it was written
}

// WriteHeader implements [http.ResponseWriter].
func (a *heldAnswer) WriteHeader(status int) {
	switch {
	case a.begun, status < 200:
		a.ResponseWriter.WriteHeader(status)
	case a.status == 0:
		a.status = status
	}
}

// Write implements [io.Writer].
func (a *heldAnswer) Write(p []byte) (int, error) {
	if !a.begun && a.body.Len()+len(p) <= heldBytes {
		return a.body.Write(p)
	}
	if err := a.begin(); err != nil {
		return 0, err
	}
	return a.ResponseWriter.Write(p)
}

// FlushError sends what is held; see [http.ResponseController.Flush].
func (a *heldAnswer) FlushError() error {
	if err := a.begin(); err != nil {
		return err
	}
	return http.NewResponseController(a.ResponseWriter).Flush()
}

// Unwrap lets [http.ResponseController] reach the connection.
func (a *heldAnswer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// begin sends what is held.
func (a *heldAnswer) begin() error {
	if a.begun {
		return nil
	}
	a.begun = true
	if a.status != 0 {
		a.ResponseWriter.WriteHeader(a.status)
	}
	_, err := a.body.WriteTo(a.ResponseWriter)
	return err
}

// finish sends an answer that is whole now. The client may have gone.
func (a *heldAnswer) finish() {
	if a.begun {
		return
	}
	h := a.ResponseWriter.Header()
	if a.body.Len() > 0 && h.Get("Content-Length") == "" {
		h.Set("Content-Length", strconv.Itoa(a.body.Len()))
	}
	a.status = cmp.Or(a.status, http.StatusOK)
	_ = a.begin()
}
