package dhcp

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
)

// Conn is an open socket for one service on one interface. The interface of every
// packet is thereby known without asking.
type Conn struct {
	udp     *net.UDPConn
	raw     syscall.RawConn // udp
	service Service
	link    *Link
	frames  *frames // for broadcasts; nil: they leave as ordinary packets
}

// NewConn wraps a socket that was opened elsewhere, for packets of a service that
// come in on that link. The error is that it is closed.
func NewConn(udp *net.UDPConn, service Service, link *Link) (*Conn, error) {
	raw, err := udp.SyscallConn()
	if err != nil {
		return nil, err
	}
	return &Conn{udp: udp, raw: raw, service: service, link: link}, nil
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
