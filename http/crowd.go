package http

import (
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"farmboot/http/answer"
)

// crowd bounds how many connections a server holds, so that one host cannot take every
// file descriptor, and all memory, from the others: an idle connection is some 25 KB.
type crowd struct {
	most    int // in all
	perPeer int // of one host; a farm behind a router is one, and so is a reverse proxy

	log *slog.Logger

	mu    sync.Mutex
	total int
	peers map[netip.Addr]int
	told  time.Time // when the log was last told that there was no room
}

// maxConns is how many connections a server holds at most, where the process may open
// files enough: 1,000 downloads at once, and as many nodes that wait to be claimed.
const maxConns = 8192

func newCrowd(log *slog.Logger) *crowd {
	most := maxConns
	var files unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &files) == nil && files.Cur < 6*maxConns {
		most = int(files.Cur / 6) // there are three servers, and a download has its kernel open too
	}
	return &crowd{most: most, perPeer: most / 2, log: log, peers: make(map[netip.Addr]int)}
}

// track is an [http.Server]'s ConnState. A connection that is one too many is closed: its
// client tries again.
func (c *crowd) track(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		if !c.enter(peerOf(conn)) {
			conn.Close()
		}
	case http.StateClosed, http.StateHijacked:
		c.leave(peerOf(conn))
	}
}

// enter counts a connection, and tells whether there is room for it.
func (c *crowd) enter(peer netip.Addr) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total++
	c.peers[peer]++
	if c.total <= c.most && c.peers[peer] <= c.perPeer {
		return true
	}
	if now := time.Now(); now.Sub(c.told) > time.Minute {
		c.told = now
		c.log.Warn("too many connections: some are closed", "peer", peer, "of_it", c.peers[peer], "of_all", c.total, "most", c.most)
	}
	return false
}

func (c *crowd) leave(peer netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total--
	if c.peers[peer]--; c.peers[peer] == 0 {
		delete(c.peers, peer)
	}
}

// peerOf is the host at the other end; zero for the Unix socket.
func peerOf(conn net.Conn) netip.Addr {
	a, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return answer.HostOf(a.AddrPort().Addr().Unmap())
}
