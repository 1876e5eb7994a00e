package dhcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"unsafe"

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
	c, err := NewConn(conn.(*net.UDPConn), service, link)
	if err != nil {
		return nil, err
	}
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

// crowd is how much has to wait in the receive buffer before it matters who is answered, in
// bytes: some 75 DISCOVERs, which are answered within some milliseconds.
const crowd = 128 << 10

// crowded tells whether that much waits. Where the kernel does not say, it does.
func (c *Conn) crowded() bool {
	var info [9]uint32 // SO_MEMINFO: the first is what is held for receiving (Linux 4.12)
	size := uint32(unsafe.Sizeof(info))
	var errno unix.Errno
	err := c.raw.Control(func(fd uintptr) {
		_, _, errno = unix.RawSyscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	})
	return err != nil || errno != 0 || info[0] >= crowd
}
