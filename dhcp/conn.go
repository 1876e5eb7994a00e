package dhcp

import (
	"errors"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Conn is an open socket for one service on one interface. The interface of every
// packet is thereby known without asking.
type Conn struct {
	udp     *net.UDPConn
	service Service
	link    *Link
	frames  *frames // for broadcasts; nil: they leave as ordinary packets
}

// NewConn wraps a socket that was opened elsewhere, for packets of a service that
// come in on that link.
func NewConn(udp *net.UDPConn, service Service, link *Link) *Conn {
	return &Conn{udp: udp, service: service, link: link}
}

// LocalAddr returns the address that the socket is bound to.
func (c *Conn) LocalAddr() netip.AddrPort { return c.udp.LocalAddr().(*net.UDPAddr).AddrPort() }

// Close closes the socket.
func (c *Conn) Close() error {
	err := c.udp.Close()
	if c.frames != nil {
		err = errors.Join(err, c.frames.close())
	}
	return err
}

// controlLen is the space for the ancillary data of a packet: one IP_PKTINFO.
var controlLen = unix.CmsgSpace(unix.SizeofInet4Pktinfo)

// read reads one packet into buf, and where it was sent to, if the socket tells
// (IP_PKTINFO); control is space for that, of controlLen bytes.
func (c *Conn) read(buf, control []byte) (n int, peer netip.AddrPort, to netip.Addr, err error) {
	n, nc, _, peer, err := c.udp.ReadMsgUDPAddrPort(buf, control)
	if nc >= controlLen-4 { // the header, the index, our address, the address in the packet
		h, data, _, e := unix.ParseOneSocketControlMessage(control[:nc])
		if e == nil && h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo {
			to = netip.AddrFrom4([4]byte(data[8:12]))
		}
	}
	return n, netip.AddrPortFrom(peer.Addr().Unmap(), peer.Port()), to, err
}

// write sends one packet, out of this interface and from that address of ours: with
// several addresses on the interface the kernel's own choice may be another one
// than siaddr and option 54 say, and firmware drops that. buf is memory for a frame.
func (c *Conn) write(buf, b []byte, from *local, to netip.AddrPort) error {
	if c.frames != nil && to.Addr() == everybody {
		if c.frames.broadcast(buf, b, netip.AddrPortFrom(from.Prefix.Addr(), c.LocalAddr().Port()), to) == nil {
			return nil
		}
	}
	_, _, err := c.udp.WriteMsgUDPAddrPort(b, from.control, to)
	return err
}
