package http

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

// someConns are as many as are asked for, none of which leads anywhere.
func someConns(n int) []net.Conn {
	list := make([]net.Conn, n)
	for i := range list {
		list[i] = &net.TCPConn{}
	}
	return list
}

func TestConnections(t *testing.T) {
	c := makeConnections(6, 4, slog.New(slog.DiscardHandler))
	one, two, three := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.3")
	conns := someConns(12)
	enter := func(i int, from netip.Addr, victim int) {
		t.Helper()
		got := c.enter(conns[i], from)
		if victim < 0 && got != nil || victim >= 0 && got != conns[victim] {
			t.Errorf("connection %d: the wrong one has to go", i)
		}
	}
	for i := range 4 {
		enter(i, one, -1)
	}
	enter(4, one, 0) // its host has four
	c.asked(conns[1])
	enter(5, two, -1)
	enter(6, two, -1)
	enter(7, three, 2) // host one has three that wait
	c.asked(conns[3])
	c.asked(conns[4])
	enter(8, three, 5) // and none now, while the others have two
	c.waits(conns[1])
	c.asked(conns[6])
	c.asked(conns[7])
	c.asked(conns[8])
	enter(9, two, 1) // the only one that waits
	c.asked(conns[9])
	enter(10, two, 10) // nobody waits
	for _, conn := range conns {
		c.leave(conn)
	}
	if len(c.visits) != 0 || len(c.hosts) != 0 {
		t.Errorf("%d connections of %v are left", len(c.visits), c.hosts)
	}
}

// dialFrom connects from an address of loopback.
func dialFrom(t *testing.T, from, to string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	conn, err := d.DialContext(t.Context(), "tcp", to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// TestUnfinishedRequestsKeepNobodyOut: three hosts, and then two hundred, hold more
// connections with half a request than there may be, in their header or in their body;
// ten nodes are served meanwhile.
func TestUnfinishedRequestsKeepNobodyOut(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := makeConnections(400, 200, slog.New(slog.DiscardHandler))
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "#!ipxe\n")
	})
	srv := &http.Server{ConnState: c.track, ConnContext: withConn, Handler: c.watch(whole(h)), ReadHeaderTimeout: time.Minute}
	var served sync.WaitGroup
	served.Go(func() { _ = srv.Serve(ln) })
	t.Cleanup(func() { srv.Close(); served.Wait() })
	for name, hosts := range map[string]int{"three hosts": 3, "two hundred hosts": 200} {
		for n := range 600 {
			conn := dialFrom(t, fmt.Sprintf("127.0.1.%d", 1+n%hosts), ln.Addr().String())
			half := "GET /provision/5254000000b1 HTTP/1.1\r\nHo"
			if n%2 == 0 {
				half = "POST /admin/signin HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\ntoken="
			}
			_, _ = io.WriteString(conn, half) // it may have been closed
		}
		for node := range 10 {
			conn := dialFrom(t, fmt.Sprintf("127.0.2.%d", 1+node), ln.Addr().String())
			if _, err := io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			if text, err := io.ReadAll(conn); err != nil || !strings.HasSuffix(string(text), "#!ipxe\n") {
				t.Errorf("%s, node %d: %q, %v", name, node, text, err)
			}
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.visits) > c.most {
		t.Errorf("%d connections", len(c.visits))
	}
}

// TestDownloadsAreNotClosedForOthers, however many come and ask nothing.
func TestDownloadsAreNotClosedForOthers(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := makeConnections(8, 6, slog.New(slog.DiscardHandler))
	begun, finish := make(chan struct{}), make(chan struct{})
	h := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		begun <- struct{}{}
		<-finish
		_, _ = io.WriteString(w, "kernel")
	})
	srv := &http.Server{ConnState: c.track, ConnContext: withConn, Handler: c.watch(h)}
	var served sync.WaitGroup
	served.Go(func() { _ = srv.Serve(ln) })
	t.Cleanup(func() { srv.Close(); served.Wait() })
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	download := dialFrom(t, "127.0.1.1", ln.Addr().String())
	if _, err := io.WriteString(download, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-begun:
	case <-ctx.Done():
		t.Fatal("no handler was called")
	}
	for range 50 {
		dialFrom(t, "127.0.1.1", ln.Addr().String())
	}
	close(finish)
	if text, err := io.ReadAll(download); err != nil || !strings.HasSuffix(string(text), "kernel") {
		t.Errorf("%q, %v", text, err)
	}
}

// TestHangUpWaiting: a stop ends what waits, those first that were answered before, and
// nothing that is being answered, or whose body is on its way to a handler.
func TestHangUpWaiting(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c := makeConnections(10, 10, slog.New(slog.DiscardHandler))
	enter := func() (ours *plainConn, theirs net.Conn) {
		theirs = dialFrom(t, "127.0.0.1", ln.Addr().String())
		conn, err := ln.Accept()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		ours = &plainConn{TCPConn: conn.(*net.TCPConn)}
		c.track(ours, http.StateNew)
		return ours, theirs
	}
	_, silent := enter()
	answered, waits := enter()
	c.asked(answered)
	c.waits(answered)
	asks, served := enter()
	c.asked(asks)
	sends, uploads := enter()
	sends.handled.Store(true)
	ended := func(conn net.Conn) {
		t.Helper()
		if _, err := conn.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("it goes on, or ends otherwise: %v", err)
		}
	}
	goesOn := func(ours, theirs net.Conn) {
		t.Helper()
		if _, err := ours.Write([]byte("x")); err != nil {
			t.Error(err)
		}
		if _, err := theirs.Read(make([]byte, 1)); err != nil {
			t.Error(err)
		}
	}
	c.hangUpWaiting(false)
	ended(waits)
	for conn := range c.visits {
		if conn == net.Conn(answered) {
			continue
		}
		if _, err := conn.Write(nil); err != nil {
			t.Errorf("one is closed that was not answered: %v", err)
		}
	}
	c.hangUpWaiting(true)
	ended(silent)
	goesOn(asks.TCPConn, served)
	goesOn(sends.TCPConn, uploads)
}
