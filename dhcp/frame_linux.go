package dhcp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// frames sends broadcasts on an Ethernet interface past the kernel's table of neighbours.
// An ordinary socket needs an entry in that even for a broadcast, and where the table is
// full of machines (net.ipv4.neigh.default.gc_thresh3, 1,024 by default) no offer leaves
// (measured).
type frames struct {
	file *os.File
	raw  syscall.RawConn
	to   unix.RawSockaddrLinklayer
}

// openFrames returns nil, without an error, where the interface is no Ethernet, or
// CAP_NET_RAW is missing: then broadcasts have to leave as ordinary packets.
func openFrames(name string, index int) (*frames, error) {
	device, err := net.InterfaceByName(name)
	if err != nil {
		return nil, fmt.Errorf("find interface %s: %w", name, err)
	}
	if len(device.HardwareAddr) != 6 || index != 0 && device.Index != index {
		return nil, nil
	}
	// The kernel writes the frame's header. Protocol 0: nothing is received.
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES), errors.Is(err, unix.EAFNOSUPPORT):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("open packet socket: %w", err)
	}
	f := &frames{file: os.NewFile(uintptr(fd), "packet socket on "+name)}
	if f.raw, err = f.file.SyscallConn(); err != nil {
		return nil, errors.Join(err, f.file.Close())
	}
	const etherTypeIPv4 = 0x0800
	f.to = unix.RawSockaddrLinklayer{
		Family: unix.AF_PACKET, Protocol: networkOrder(etherTypeIPv4), Ifindex: int32(device.Index),
		Halen: 6, Addr: [8]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
	}
	return f, nil
}

// networkOrder is n as a field of a C structure that wants big-endian byte order.
func networkOrder(n uint16) uint16 {
	return binary.NativeEndian.Uint16([]byte{byte(n >> 8), byte(n)})
}

// broadcast sends payload to everybody on the link. buf is memory for the packet.
func (f *frames) broadcast(buf, payload []byte, from, to netip.AddrPort) error {
	packet := appendDatagram(buf[:0], from, to, payload)
	// The socket never makes it wait, so Go's scheduler need not know that it is in the
	// kernel: it would hand its processor to another thread meanwhile (measured).
	var errno unix.Errno
	if err := f.raw.Control(func(fd uintptr) {
		_, _, errno = unix.RawSyscall6(unix.SYS_SENDTO, fd, uintptr(unsafe.Pointer(&packet[0])), uintptr(len(packet)), 0,
			uintptr(unsafe.Pointer(&f.to)), unix.SizeofSockaddrLinklayer)
	}); err != nil {
		return err
	}
	if errno != 0 {
		return errno
	}
	return nil
}

func (f *frames) close() error { return f.file.Close() }
