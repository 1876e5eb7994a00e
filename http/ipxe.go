package http

import (
	"context"
	"net"
	"net/http"
	"strings"
	"sync"
)

// ipxeSendBuffer is how much, in bytes, may be on its way to an iPXE. Linux
// doubles it for its own bookkeeping.
//
// iPXE offers a window of 2 MB, acknowledges what arrives in it out of order, and
// forgets that again when its heap is full (RFC 2018, section 8, allows it): from
// then on, each loss costs a retransmission timer, and those double. Measured with
// OVMF, a 14 MB kernel and a LAN that loses every twentieth frame: 15 s to more
// than 5 minutes with Linux' own send buffer, 2 s with this one. On a LAN whose
// round trip is 0.2 ms it still fills 10 Gbit/s.
const ipxeSendBuffer = 128 << 10

// connKey is the context key of a request's [*connection].
type connKey struct{}

// connection is a client's.
type connection struct {
	net.Conn
	limit sync.Once // its send buffer
}

func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, &connection{Conn: c})
}

// connOf returns the connection of a request; an empty one where no server has taken it.
func connOf(r *http.Request) *connection {
	if c, ok := r.Context().Value(connKey{}).(*connection); ok {
		return c
	}
	return new(connection)
}

// tcp returns the TCP connection, under TLS too; nil: there is none.
func (c *connection) tcp() net.Conn {
	if t, ok := c.Conn.(interface{ NetConn() net.Conn }); ok { // *tls.Conn
		return t.NetConn()
	}
	return c.Conn
}

// limitIPXE serves h, and sends to iPXE no more at once than it can hold. Browsers
// and mirrors far away keep Linux' own, larger send buffer.
func limitIPXE(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.UserAgent(), "iPXE/") {
			c := connOf(r)
			c.limit.Do(c.limitSendBuffer)
		}
		h.ServeHTTP(w, r)
	})
}

// limitSendBuffer: if the limit cannot be set, the boot goes on without it.
func (c *connection) limitSendBuffer() {
	if t, ok := c.tcp().(interface{ SetWriteBuffer(int) error }); ok {
		_ = t.SetWriteBuffer(ipxeSendBuffer)
	}
}
