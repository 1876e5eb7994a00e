package dhcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// receiveBuffer holds the DISCOVERs of some 2,500 machines that power on at once,
// in bytes. Linux's default of 212,992 holds 125 (measured: of 256, half were lost).
const receiveBuffer = 4 << 20

// Listen opens the socket of a service on an interface, UDP port port. It is bound
// to that interface, and to all addresses, because DISCOVERs are broadcast. No other
// program can share the port: whichever one the kernel chose would take the other's
// packets.
func Listen(ctx context.Context, service Service, link *Link, port int) (*Conn, error) {
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		if e := raw.Control(func(fd uintptr) { err = setOptions(int(fd), link.name) }); e != nil {
			return e
		}
		return err
	}}
	conn, err := config.ListenPacket(ctx, "udp4", netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(port)).String())
	if err != nil {
		return nil, listenError(err, link.name, port)
	}
	c := NewConn(conn.(*net.UDPConn), service, link)
	if c.frames, err = openFrames(link.name, link.index); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// setOptions prepares a socket before it is bound.
func setOptions(fd int, device string) error {
	if err := unix.SetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, device); err != nil {
		return fmt.Errorf("bind to interface %s: %w", device, err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BROADCAST, 1); err != nil {
		return fmt.Errorf("allow broadcast: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1); err != nil {
		return fmt.Errorf("ask for the address that packets are sent to: %w", err)
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) == nil {
		return nil
	}
	// Without CAP_NET_ADMIN net.core.rmem_max limits us; less is still worth having.
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer); err != nil {
		return fmt.Errorf("enlarge receive buffer: %w", err)
	}
	return nil
}

// listenError says what a person can do about a socket that did not open.
func listenError(err error, device string, port int) error {
	p := strconv.Itoa(port)
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return fmt.Errorf("port %s on %s is in use: is another DHCP or PXE server (dnsmasq?) running on this host? \"ss -lunp sport = :%s\" names it: %w", p, device, p, err)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return fmt.Errorf("no permission for port %s on %s: run as root or with CAP_NET_BIND_SERVICE and CAP_NET_RAW: %w", p, device, err)
	}
	return fmt.Errorf("listen on port %s of %s: %w", p, device, err)
}
