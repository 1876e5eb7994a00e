package fakeclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// Listen opens the sockets of machines on an interface. Port 68 is shared with the
// host's own DHCP client, if there is one; port 4011 is left alone if this host
// is a boot server.
func Listen(ctx context.Context, device string) (Sockets, error) {
	client, err := listen(ctx, device, clientPort, true)
	if err != nil {
		return Sockets{}, fmt.Errorf("open DHCP client port on %s: %w", device, err)
	}
	s := Sockets{Client: client}
	switch conn, err := listen(ctx, device, bootServerPort, false); {
	case err == nil:
		s.BootServer = conn
	case !errors.Is(err, unix.EADDRINUSE):
		client.Close()
		return Sockets{}, fmt.Errorf("open boot server port on %s: %w", device, err)
	}
	return s, nil
}

func listen(ctx context.Context, device string, port int, shared bool) (net.PacketConn, error) {
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		e := raw.Control(func(fd uintptr) {
			// Hundreds of machines may share the socket, and hear each other's offers.
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20)
			err = unix.SetsockoptString(int(fd), unix.SOL_SOCKET, unix.SO_BINDTODEVICE, device)
			if shared && err == nil {
				err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
			}
		})
		return errors.Join(e, err)
	}}
	return config.ListenPacket(ctx, "udp4", fmt.Sprintf("0.0.0.0:%d", port))
}
