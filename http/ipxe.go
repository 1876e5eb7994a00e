package http

import (
	"context"
	"net"
	"net/http"
	"strings"
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

// connKey is the context key of a request's connection.
type connKey struct{}

func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// sparing serves h, and sends to iPXE no more at once than it can hold. Browsers
// and mirrors far away keep Linux' own, larger send buffer.
func sparing(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.UserAgent(), "iPXE/") {
			limitSendBuffer(r.Context().Value(connKey{}))
		}
		h.ServeHTTP(w, r)
	})
}

// limitSendBuffer finds the TCP connection in conn, under TLS too. If the limit
// cannot be set, the boot goes on without it.
func limitSendBuffer(conn any) {
	if c, ok := conn.(interface{ NetConn() net.Conn }); ok { // *tls.Conn
		conn = c.NetConn()
	}
	if c, ok := conn.(interface{ SetWriteBuffer(int) error }); ok {
		_ = c.SetWriteBuffer(ipxeSendBuffer)
	}
}
