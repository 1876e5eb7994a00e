package http

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
)

// refusals is what is said where net/http refuses a request itself, by status. It does so
// before any handler, and does not say what is wrong: most often a percent sign that stands
// for itself in a URL.
var refusals = map[int]string{
	http.StatusBadRequest:                  "bad request: it cannot be read as HTTP; in a URL, write %25 for a percent sign and %20 for a space",
	http.StatusRequestHeaderFieldsTooLarge: fmt.Sprintf("bad request: its URL and header are longer than %d bytes, which is all that is accepted", headerLimit),
}

// plainConn is a TCP connection, with all that net/http uses of one. What is written to it
// while no handler has a request of it is of net/http itself.
type plainConn struct {
	*net.TCPConn
	read    []byte      // of it before net/http had it
	handled atomic.Bool // a handler has a request of it, which is not answered whole yet
	begun   bool        // its first read has begun; net/http reads beside others after that alone
}

// Read implements [io.Reader].
func (c *plainConn) Read(p []byte) (int, error) {
	if !c.begun {
		c.begun = true
		growStack()
	}
	if len(c.read) > 0 {
		n := copy(p, c.read)
		if c.read = c.read[n:]; len(c.read) == 0 {
			c.read = nil // its memory is not held on
		}
		return n, nil
	}
	return c.TCPConn.Read(p)
}

// setHandled notes whether a handler has a request of a connection, where that is a plain one.
func setHandled(conn net.Conn, handled bool) {
	if c, ok := conn.(*plainConn); ok {
		c.handled.Store(handled)
	}
}

// Write implements [io.Writer].
func (c *plainConn) Write(p []byte) (int, error) {
	if c.handled.Load() {
		return c.TCPConn.Write(p)
	}
	line, _, _ := strings.Cut(string(p[:min(len(p), 64)]), "\r\n")
	for code, text := range refusals {
		// With more behind the status, net/http has a reason to give.
		if status := fmt.Sprintf("%d %s", code, http.StatusText(code)); line == "HTTP/1.1 "+status {
			return len(p), refuse(c.TCPConn, status, text)
		}
	}
	return c.TCPConn.Write(p)
}

// refuse answers with one line.
func refuse(w io.Writer, status, text string) error {
	_, err := fmt.Fprintf(w, "HTTP/1.1 %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s\n", status, len(text)+1, text)
	return err
}

// TLSListener is [tls.NewListener], whose clients without TLS are told so.
func TLSListener(ln net.Listener, config *tls.Config) net.Listener {
	return tls.NewListener(greetedListener{ln}, config)
}

type greetedListener struct{ net.Listener }

// Accept implements [net.Listener].
func (l greetedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &greetedConn{Conn: conn}, nil
}

// greetedConn looks at the first byte that a client sends: a record of TLS begins with its
// type, below 0x20 (RFC 8446 section 5.1), HTTP with a capital letter.
type greetedConn struct {
	net.Conn
	greeted bool
}

// Read implements [io.Reader].
func (c *greetedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.greeted || n == 0 {
		return n, err
	}
	c.greeted = true
	if p[0] < 'A' || 'Z' < p[0] {
		return n, err
	}
	_ = refuse(c.Conn, "400 Bad Request", "bad request: this port takes TLS alone: write https:// before the address, or ask the port for plain HTTP")
	return 0, io.EOF
}
