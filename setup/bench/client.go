package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"farmboot/setup/lab"
)

// client is an HTTP client that costs next to nothing, for it shares the machine
// with the server that is measured: it keeps its connection, and has the kernel
// throw away what it receives.
type client struct {
	conn net.Conn
	in   *bufio.Reader
	raw  *net.TCPConn // nil: TLS, which must be read
	bin  []byte
}

// binSize is how much is thrown away at once.
const binSize = 256 << 10

// connect opens a connection from the nodes to a server.
func (s *site) connect(to *lab.Host, secure bool) (*client, error) {
	port := 80
	if secure {
		port = 443
	}
	conn, err := s.dial(to, port)
	if err != nil {
		return nil, err
	}
	c := &client{conn: conn, raw: conn, bin: s.bin}
	if secure {
		// TLS 1.2 with AES-GCM is what iPXE and UEFI firmware speak. The name is
		// not what is measured.
		c.conn = tls.Client(conn, &tls.Config{
			InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12,
			CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256},
		})
		c.raw, c.bin = nil, make([]byte, 32<<10)
	}
	c.in = bufio.NewReader(c.conn)
	return c, nil
}

func request(path string) []byte {
	return []byte("GET " + path + " HTTP/1.1\r\nHost: boot.example.org\r\nUser-Agent: iPXE/1.21.1\r\n\r\n")
}

// get sends a request and takes the answer; received counts its body as it comes.
func (c *client) get(req []byte, received *atomic.Int64) error {
	length, err := c.ask(req)
	if err != nil {
		return err
	}
	return c.drain(length, received)
}

// drain takes the body of an answer.
func (c *client) drain(length int64, received *atomic.Int64) error {
	early, err := c.in.Discard(int(min(length, int64(c.in.Buffered()))))
	received.Add(int64(early))
	for length -= int64(early); length > 0 && err == nil; {
		var n int
		n, err = c.discard(length)
		received.Add(int64(n))
		length -= int64(n)
	}
	return err
}

// fetch sends a request and returns the body.
func (c *client) fetch(req []byte) ([]byte, error) {
	length, err := c.ask(req)
	if err != nil {
		return nil, err
	}
	body := make([]byte, length)
	_, err = io.ReadFull(c.in, body)
	return body, err
}

// ask sends a request and reads the head of the answer, which must be a 200.
func (c *client) ask(req []byte) (length int64, err error) {
	if _, err := c.conn.Write(req); err != nil {
		return 0, err
	}
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if !bytes.HasPrefix(line, []byte("HTTP/1.1 200 ")) {
		return 0, fmt.Errorf("%s: %s", bytes.SplitN(req, []byte("\r"), 2)[0], bytes.TrimSpace(line))
	}
	length = -1
	for {
		line, err := c.in.ReadSlice('\n')
		switch {
		case err != nil:
			return 0, err
		case len(line) <= 2 && length < 0:
			return 0, errors.New("an answer without a length")
		case len(line) <= 2:
			return length, nil
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		if bytes.EqualFold(name, []byte("Content-Length")) {
			if length, err = strconv.ParseInt(string(bytes.TrimSpace(value)), 10, 64); err != nil {
				return 0, err
			}
		}
	}
}

// discard throws away some of at most limit bytes; MSG_TRUNC has the kernel do it
// without copying them to us (tcp(7)).
func (c *client) discard(limit int64) (n int, err error) {
	bin := c.bin[:min(limit, int64(len(c.bin)))]
	if c.raw == nil {
		return c.in.Read(bin)
	}
	control, err := c.raw.SyscallConn()
	if err != nil {
		return 0, err
	}
	readErr := control.Read(func(fd uintptr) bool {
		n, _, err = unix.Recvfrom(int(fd), bin, unix.MSG_TRUNC)
		return !errors.Is(err, unix.EAGAIN)
	})
	if err = errors.Join(readErr, err); err == nil && n == 0 {
		err = io.ErrUnexpectedEOF
	}
	return max(n, 0), err
}

func (c *client) close() { _ = c.conn.Close() }
