package http

import (
	"net"
	"net/http"
	"net/netip"
	"sync"

	"golang.org/x/sys/unix"
)

// crowd bounds how many connections a server holds, so that one host cannot take every
// file descriptor, and all memory, from the others: an idle connection is some 25 KB.
type crowd struct {
	most    int // in all
	perPeer int // of one address; a farm behind a router has one, and so has a reverse proxy

	mu    sync.Mutex
	total int
	peers map[netip.Addr]int
}

// maxConns is how many connections a server holds at most, where the process may open
// files enough: 1,000 downloads at once, and as many nodes that wait to be claimed.
const maxConns = 8192

func newCrowd() *crowd {
	most := maxConns
	var files unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &files) == nil && files.Cur < 3*maxConns {
		most = int(files.Cur / 3) // there are three servers, and kernels to be opened
	}
	return &crowd{most: most, perPeer: most / 4, peers: make(map[netip.Addr]int)}
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
	return c.total <= c.most && c.peers[peer] <= c.perPeer
}

func (c *crowd) leave(peer netip.Addr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.total--
	if c.peers[peer]--; c.peers[peer] == 0 {
		delete(c.peers, peer)
	}
}

// peerOf is the address at the other end; zero for the Unix socket.
func peerOf(conn net.Conn) netip.Addr {
	a, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return a.AddrPort().Addr().Unmap()
}
