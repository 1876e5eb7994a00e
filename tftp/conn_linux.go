package tftp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// receiveBuffer holds the requests of thousands of machines, in bytes; Linux's
// default holds some hundred (measured for DHCP).
const receiveBuffer = 1 << 20

// Listen opens the socket for requests to one of our addresses.
func Listen(ctx context.Context, local netip.Addr, port int) (*net.UDPConn, error) {
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) {
			// Less is worth having too: without CAP_NET_ADMIN net.core.rmem_max limits us.
			if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
				_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
			}
		})
	}}
	address := netip.AddrPortFrom(local, uint16(port)).String()
	conn, err := config.ListenPacket(ctx, "udp4", address)
	switch {
	case err == nil:
		return conn.(*net.UDPConn), nil
	case errors.Is(err, unix.EADDRINUSE):
		return nil, fmt.Errorf("port %d of %s is in use: is another TFTP server (dnsmasq, tftpd-hpa?) running on this host? \"ss -lunp sport = :%d\" names it: %w", port, local, port, err)
	case errors.Is(err, unix.EACCES):
		return nil, fmt.Errorf("no permission for port %d of %s: run as root or with CAP_NET_BIND_SERVICE: %w", port, local, err)
	}
	return nil, fmt.Errorf("listen for tftp: %w", err)
}
