package http

import (
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"
)

func TestCrowd(t *testing.T) {
	c := &crowd{most: 5, perPeer: 3, log: slog.New(slog.DiscardHandler), peers: map[netip.Addr]int{}}
	one, two := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	for i, want := range []bool{true, true, true, false} {
		if got := c.enter(one); got != want {
			t.Errorf("connection %d of one address: %v", i+1, got)
		}
	}
	c.leave(one) // the one that found no room
	for i, want := range []bool{true, true, false} {
		if got := c.enter(two); got != want {
			t.Errorf("connection %d of another: %v", i+1, got)
		}
	}
	for range 3 {
		c.leave(one)
		c.leave(two)
	}
	if c.total != 0 || len(c.peers) != 0 {
		t.Errorf("%d connections of %v are left", c.total, c.peers)
	}
}

// TestServeClosesWhatIsTooMuch, and serves again when there is room.
func TestServeClosesWhatIsTooMuch(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &crowd{most: 8, perPeer: 2, log: slog.New(slog.DiscardHandler), peers: map[netip.Addr]int{}}
	srv := &http.Server{ConnState: c.track, Handler: http.NotFoundHandler()}
	go func() { _ = srv.Serve(ln) }()
	t.Cleanup(func() { srv.Close() })
	ask := func(conn net.Conn) error {
		if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte("HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
			return err
		}
		_, err := conn.Read(make([]byte, 1000))
		return err
	}
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return conn
	}
	first, second := dial(), dial()
	for _, conn := range []net.Conn{first, second} {
		if err := ask(conn); err != nil {
			t.Errorf("there is room: %v", err)
		}
	}
	if err := ask(dial()); err == nil {
		t.Error("a third connection is served")
	}
	first.Close()
	for deadline := time.Now().Add(time.Minute); ask(dial()) != nil; {
		if time.Now().After(deadline) {
			t.Fatal("nobody is served although one has gone")
		}
	}
}
