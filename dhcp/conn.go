package dhcp

import (
	"net"
	"net/netip"

	"golang.org/x/net/ipv4"
)

// Conn is an open socket for one service on one interface. The interface of every
// packet is thereby known without asking.
type Conn struct {
	udp     *net.UDPConn
	in      Ingress
	control []byte // ancillary data of every reply: source address and interface
}

// NewConn wraps a socket that was opened elsewhere. in says where its packets
// come in; if index is not 0, replies leave by the interface of that index.
func NewConn(udp *net.UDPConn, in Ingress, index int) *Conn {
	control := (&ipv4.ControlMessage{Src: in.Server.AsSlice(), IfIndex: index}).Marshal()
	return &Conn{udp: udp, in: in, control: control}
}

// LocalAddr returns the address that the socket is bound to.
func (c *Conn) LocalAddr() netip.AddrPort { return c.udp.LocalAddr().(*net.UDPAddr).AddrPort() }

// Close closes the socket.
func (c *Conn) Close() error { return c.udp.Close() }

// read reads one packet into buf.
func (c *Conn) read(buf []byte) (n int, peer netip.AddrPort, err error) {
	n, peer, err = c.udp.ReadFromUDPAddrPort(buf)
	return n, netip.AddrPortFrom(peer.Addr().Unmap(), peer.Port()), err
}

// write sends one packet, out of this interface and from our address on it: with
// several addresses on the interface the kernel's own choice may be another one
// than siaddr and option 54 say, and firmware drops that.
func (c *Conn) write(b []byte, to netip.AddrPort) error {
	_, _, err := c.udp.WriteMsgUDPAddrPort(b, c.control, to)
	return err
}
