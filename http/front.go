package http

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/http/httpguts"
)

// The short way
//
// Each node asks for its script at each boot, over a connection of its own: a small GET
// without a body, whose answer waits for nothing. net/http's server is made for all that a
// request can be: for each it starts a goroutine that reads on, in case the client goes away,
// and stops it by a deadline, and it passes each answer through three buffers. That costs about
// as much as to decide what the node boots (measured: the short way takes 0.8 of the CPU time
// where a request has a connection of its own, and 0.85 where many share one).
//
// So connections of plain HTTP begin here. As long as one asks for scripts alone (see
// [scriptRequest]), its requests are read by net/http's parser, answered by the same handlers
// as all others, and sent in one piece. The first request that is anything else goes to
// net/http, with its connection and whatever was read of it, and the connection stays there.

// front takes connections ahead of net/http's server, and is the listener of what it leaves
// to that.
type front struct {
	net.Listener
	handler http.Handler
	stop    context.Context // ends when the server is about to stop
	base    context.Context // of the requests: it does not end with a client, for nothing waits
	conns   *connections
	log     *slog.Logger

	rest    chan accepted // for net/http
	closed  chan struct{}
	close   func() error
	serving sync.WaitGroup
}

// accepted is what a listener's Accept returns.
type accepted struct {
	conn net.Conn
	err  error
}

// newFront returns a front of ln, which accepts connections from now on, until it is closed.
func newFront(stop, base context.Context, ln net.Listener, h http.Handler, conns *connections, log *slog.Logger) *front {
	f := &front{
		Listener: ln, handler: h, stop: stop, base: base, conns: conns, log: log,
		rest: make(chan accepted), closed: make(chan struct{}),
	}
	f.close = sync.OnceValue(func() error {
		close(f.closed)
		return ln.Close()
	})
	f.serving.Go(f.acceptAll)
	return f
}

// Accept implements [net.Listener].
func (f *front) Accept() (net.Conn, error) {
	select {
	case a := <-f.rest:
		return a.conn, a.err
	case <-f.closed:
		return nil, net.ErrClosed
	}
}

// Close implements [net.Listener].
func (f *front) Close() error { return f.close() }

// wait waits until no connection is left here, or hangs up those that are when ctx ends. As
// with net/http, a handler that does not look at its request's context may go on then.
func (f *front) wait(ctx context.Context) {
	none := make(chan struct{})
	go func() {
		f.serving.Wait()
		close(none)
	}()
	select {
	case <-none:
	case <-ctx.Done():
		f.conns.hangUpAll()
	}
}

func (f *front) acceptAll() {
	for {
		conn, err := f.Listener.Accept()
		tcp, ok := conn.(*net.TCPConn)
		if !ok { // TLS, the Unix socket, or an error: net/http knows which of those pass
			if !f.leave(accepted{conn, err}) {
				return
			}
			continue
		}
		plain := &plainConn{TCPConn: tcp}
		f.conns.track(plain, http.StateNew)
		f.serving.Go(func() { f.serve(plain) })
	}
}

// leave leaves something to net/http, as long as the listener is open.
func (f *front) leave(a accepted) (open bool) {
	select {
	case f.rest <- a:
		return true
	case <-f.closed:
		if a.err == nil {
			f.hangUp(a.conn)
		}
		return false
	}
}

func (f *front) hangUp(conn net.Conn) {
	conn.Close()
	f.conns.leave(conn)
}

// serve answers what a connection asks, until it asks for something else than scripts.
func (f *front) serve(conn *plainConn) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		if p != http.ErrAbortHandler {
			f.log.Error("http request", "peer", conn.RemoteAddr().String(), "err", fmt.Sprintf("panic: %v\n%s", p, debug.Stack()))
		}
		f.hangUp(conn)
	}()
	growStackForScripts()
	d := desks.Get().(*desk)
	defer d.putBack()
	d.in.Reset(conn.TCPConn)

	ctx := context.WithValue(f.base, http.LocalAddrContextKey, conn.LocalAddr())
	peer := conn.RemoteAddr().String()
	for wait := headerTime; ; wait = idleTime {
		_ = conn.SetReadDeadline(time.Now().Add(wait))
		if _, err := d.in.Peek(1); err != nil {
			break
		}
		read, _ := d.in.Peek(d.in.Buffered())
		r := scriptRequest(read, d.in)
		if r == nil {
			conn.read = bytes.Clone(read)
			f.leave(accepted{conn: conn})
			return
		}
		f.conns.asked(conn)
		r.RemoteAddr = peer
		d.begin()
		f.handler.ServeHTTP(d, r.WithContext(ctx))
		last := r.Close || f.stop.Err() != nil
		_ = conn.SetWriteDeadline(time.Now().Add(answerLimit))
		if _, err := conn.TCPConn.Write(d.message(last)); err != nil || last {
			break
		}
		f.conns.waits(conn)
	}
	f.hangUp(conn)
}

// scriptRequest reads a request for a script whose answer waits for nothing. read is what
// has come of it, and is left in the buffer of in. It returns nil for all that is anything
// else or could be: another header field than such requests have, or a byte that is not of
// printable ASCII, with which others than we may see other lines.
func scriptRequest(read []byte, in *bufio.Reader) *http.Request {
	head, _, whole := bytes.Cut(read, []byte("\r\n\r\n"))
	if !whole || !bytes.HasPrefix(head, []byte("GET /provision/")) {
		return nil
	}
	line, rest, _ := bytes.Cut(head, []byte("\r\n"))
	if !printable(line) || bytes.Count(line, []byte(" ")) != 2 || !bytes.HasSuffix(line, []byte(" HTTP/1.1")) {
		return nil
	}
	hosts := 0
	for len(rest) > 0 {
		var field []byte
		field, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		name, value, ok := strings.Cut(string(field), ":")
		if !ok || !printable(field) {
			return nil
		}
		value = strings.Trim(value, " ")
		switch {
		case strings.EqualFold(name, "Host") && value != "" && httpguts.ValidHostHeader(value):
			hosts++
		case strings.EqualFold(name, "User-Agent"), strings.EqualFold(name, "Accept"):
		case strings.EqualFold(name, "Connection") && (strings.EqualFold(value, "keep-alive") || strings.EqualFold(value, "close")):
		default:
			return nil
		}
	}
	if hosts != 1 {
		return nil
	}
	r, err := http.ReadRequest(in)
	if err != nil || !r.ProtoAtLeast(1, 1) || r.Body != http.NoBody || mayWait(r) {
		return nil
	}
	return r
}

// printable tells whether b is printable ASCII and spaces alone.
func printable(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// desk is where an answer is put together. It is the [http.ResponseWriter] of one request
// after the other.
type desk struct {
	in     *bufio.Reader
	header http.Header
	status int
	body   bytes.Buffer
	out    bytes.Buffer
}

var desks = sync.Pool{New: func() any { return &desk{in: bufio.NewReader(nil), header: make(http.Header)} }}

func (d *desk) putBack() {
	d.in.Reset(nil)
	desks.Put(d)
}

// begin begins an answer.
func (d *desk) begin() {
	clear(d.header)
	d.status = 0
	d.body.Reset()
}

// Header implements [http.ResponseWriter].
func (d *desk) Header() http.Header { return d.header }

// WriteHeader implements [http.ResponseWriter].
func (d *desk) WriteHeader(status int) {
	if d.status == 0 {
		d.status = status
	}
}

// Write implements [io.Writer].
func (d *desk) Write(p []byte) (int, error) {
	d.WriteHeader(http.StatusOK)
	return d.body.Write(p)
}

// message returns the answer as it is sent (RFC 9112), until the next one begins; last: the
// connection ends with it.
func (d *desk) message(last bool) []byte {
	d.WriteHeader(http.StatusOK)
	d.header.Set("Content-Length", strconv.Itoa(d.body.Len()))
	if last {
		d.header.Set("Connection", "close")
	}
	d.out.Reset()
	fmt.Fprintf(&d.out, "HTTP/1.1 %d %s\r\n", d.status, http.StatusText(d.status))
	d.out.WriteString("Date: ")
	d.out.Write(time.Now().UTC().AppendFormat(d.out.AvailableBuffer(), http.TimeFormat))
	d.out.WriteString("\r\n")
	_ = d.header.Write(&d.out) // to memory
	d.out.WriteString("\r\n")
	d.out.Write(d.body.Bytes())
	return d.out.Bytes()
}
