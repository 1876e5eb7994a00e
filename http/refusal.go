package http

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
)

// net/http answers what it cannot read itself, before any handler, and does not say what
// is wrong: most often a percent sign that stands for itself in a URL.
const netHTTPRefuses = "HTTP/1.1 %[1]s\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n%[1]s"

// refusals is what is said instead, by the status that net/http gives.
var refusals = map[string]string{
	"400 Bad Request":                     "bad request: it cannot be read as HTTP; in a URL, write %25 for a percent sign and %20 for a space",
	"431 Request Header Fields Too Large": fmt.Sprintf("bad request: its URL and header are longer than %d bytes, which is all that is accepted", headerLimit),
}

// plainListener makes connections that say why net/http itself refuses a request. TLS has
// to be over it, for net/http wants to see that.
type plainListener struct{ net.Listener }

// Accept implements [net.Listener].
func (l plainListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if tcp, ok := conn.(*net.TCPConn); ok {
		return plainConn{tcp}, nil
	}
	return conn, err
}

// plainConn is a TCP connection, with all that net/http uses of one.
type plainConn struct{ *net.TCPConn }

// Write implements [io.Writer].
func (c plainConn) Write(p []byte) (int, error) {
	if !bytes.HasPrefix(p, []byte("HTTP/1.1 4")) || !bytes.Contains(p, []byte("Connection: close\r\n\r\n4")) {
		return c.TCPConn.Write(p)
	}
	for status, text := range refusals {
		if string(p) == fmt.Sprintf(netHTTPRefuses, status) {
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
