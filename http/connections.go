package http

import (
	"container/list"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"farmboot/http/answer"
)

// connections bounds how many connections a server holds: an idle one is some 20 KB, and a
// file descriptor. When there is no room, the oldest connection goes that waits for a
// request, of the host that has most of those: a few hosts that open many and ask nothing
// keep no node from booting.
type connections struct {
	most    int // in all
	perHost int // of one host; a farm behind a router is one, and so is a reverse proxy

	log *slog.Logger

	mu     sync.Mutex
	visits map[net.Conn]*visit
	hosts  map[netip.Addr]*host
	told   time.Time // when the log was last told that there was no room
	turn   uint64    // of the visit that began to wait last
}

// visit is a connection.
type visit struct {
	conn net.Conn
	host *host
	// waits is its place among those of its host that wait for a request, or for the
	// rest of one; nil: it has asked, and is being answered.
	waits    *list.Element
	since    uint64 // the turn at which it began to
	answered bool   // it has been answered before
}

// host is who has connections.
type host struct {
	addr    netip.Addr
	conns   int
	waiting list.List // of *visit, the oldest first
}

// maxConns is how many connections a server holds at most, where the process may open
// files enough: 1,000 downloads at once, and as many nodes that wait to be claimed.
const maxConns = 8192

// mostConns is how many a server holds at most in this process.
func mostConns() int {
	most := maxConns
	var files unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &files) == nil && files.Cur < 6*maxConns {
		most = int(files.Cur / 6) // there are three servers, and a download has its kernel open too
	}
	return most
}

func newConnections(log *slog.Logger) *connections {
	most := mostConns()
	return makeConnections(most, most/2, log)
}

func makeConnections(most, perHost int, log *slog.Logger) *connections {
	return &connections{most: most, perHost: perHost, log: log, visits: make(map[net.Conn]*visit), hosts: make(map[netip.Addr]*host)}
}

// track is an [http.Server]'s ConnState.
func (c *connections) track(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		if victim := c.enter(conn, peerOf(conn)); victim != nil {
			hangUp(victim)
		}
	case http.StateIdle:
		setHandled(conn, false)
		c.waits(conn)
	case http.StateClosed, http.StateHijacked:
		c.leave(conn)
	}
}

// hangUp closes a connection at once: TLS would first wait for a peer that reads nothing.
func hangUp(conn net.Conn) {
	if t, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = t.NetConn()
	}
	conn.Close()
}

// hangUpWaiting closes the plain connections that wait for a request, or for the rest of its
// header: those that have had an answer before, or all.
func (c *connections) hangUpWaiting(all bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn, v := range c.visits {
		if p, plain := conn.(*plainConn); plain && v.waits != nil && !p.handled.Load() && (all || v.answered) {
			hangUp(conn)
		}
	}
}

// hangUpAll closes all connections.
func (c *connections) hangUpAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn := range c.visits {
		hangUp(conn)
	}
}

// enter counts a connection, and returns the one that has to go for it: itself, where
// nobody waits.
func (c *connections) enter(conn net.Conn, peer netip.Addr) (victim net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.visits[conn] != nil {
		return nil // net/http has it from the front
	}
	h := c.hosts[peer]
	if h == nil {
		h = &host{addr: peer}
		c.hosts[peer] = h
	}
	v := &visit{conn: conn, host: h}
	c.queue(v)
	h.conns++
	c.visits[conn] = v
	switch {
	case h.conns > c.perHost:
	case len(c.visits) > c.most:
		h = c.idlest()
	default:
		return nil
	}
	if now := time.Now(); now.Sub(c.told) > time.Minute {
		c.told = now
		c.log.Warn("too many connections: some that wait are closed", "peer", h.addr, "of_it", h.conns, "waiting", h.waiting.Len(), "of_all", len(c.visits), "most", c.most)
	}
	v = h.waiting.Front().Value.(*visit)
	c.remove(v)
	return v.conn
}

// idlest returns the host that has most connections that wait; of several, the one whose
// oldest has waited longest. There is one: that of the newcomer.
func (c *connections) idlest() (most *host) {
	oldest := func(h *host) uint64 { return h.waiting.Front().Value.(*visit).since }
	for _, h := range c.hosts {
		switch n := h.waiting.Len(); {
		case n == 0:
		case most == nil, n > most.waiting.Len(), n == most.waiting.Len() && oldest(h) < oldest(most):
			most = h
		}
	}
	return most
}

// asked notes that a request has come in whole: its connection stays.
func (c *connections) asked(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v := c.visits[conn]; v != nil && v.waits != nil {
		v.host.waiting.Remove(v.waits)
		v.waits = nil
	}
}

// waits notes that a connection has been answered.
func (c *connections) waits(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v := c.visits[conn]; v != nil && v.waits == nil {
		v.answered = true
		c.queue(v)
	}
}

// queue puts a connection behind those of its host that wait.
func (c *connections) queue(v *visit) {
	c.turn++
	v.since, v.waits = c.turn, v.host.waiting.PushBack(v)
}

func (c *connections) leave(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if v := c.visits[conn]; v != nil { // or it had to go before
		c.remove(v)
	}
}

func (c *connections) remove(v *visit) {
	delete(c.visits, v.conn)
	if v.waits != nil {
		v.host.waiting.Remove(v.waits)
	}
	if v.host.conns--; v.host.conns == 0 {
		delete(c.hosts, v.host.addr)
	}
}

// watch serves h, and notes that it has a request, and when that has come in whole.
func (c *connections) watch(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn := connOf(r).Conn
		setHandled(conn, true)
		if r.ContentLength == 0 {
			c.asked(conn)
		} else {
			request := *r // net/http looks at its own
			request.Body = &watchedBody{ReadCloser: r.Body, ended: func() { c.asked(conn) }}
			r = &request
		}
		h.ServeHTTP(w, r)
	})
}

// watchedBody is a body that tells when it has come in whole.
type watchedBody struct {
	io.ReadCloser
	ended func()
}

// Read implements [io.Reader].
func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.ended()
	}
	return n, err
}

// peerOf is the host at the other end; zero for the Unix socket.
func peerOf(conn net.Conn) netip.Addr {
	a, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return answer.HostOf(a.AddrPort().Addr().Unmap())
}
