package tftp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// socket is a transfer's own: its port is the transfer's id (RFC 1350 section 4). It is
// connected, so that the kernel drops what other hosts send, and tells when the client's
// port is closed. It never blocks.
type socket int

func openSocket(local netip.Addr, peer netip.AddrPort) (socket, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: local.As4()}); err != nil {
		return -1, errors.Join(fmt.Errorf("bind to %s: %w", local, err), unix.Close(fd))
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: peer.Addr().As4(), Port: int(peer.Port())}); err != nil {
		return -1, errors.Join(fmt.Errorf("connect to %s: %w", peer, err), unix.Close(fd))
	}
	return socket(fd), nil
}

func (s socket) close() { _ = unix.Close(int(s)) } // nothing is lost with it

// send sends one packet. The socket never makes it wait, so Go's scheduler need not know
// that it is in the kernel: telling it costs a twentieth of a transfer's CPU time (measured).
func (s socket) send(b []byte) error {
	_, _, errno := unix.RawSyscall(unix.SYS_WRITE, uintptr(s), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	if errno != 0 {
		return errno
	}
	return nil
}

// receive reads one packet, as send sends one.
func (s socket) receive(b []byte) (int, error) {
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(s), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

const (
	// maxDatagram is what a UDP packet over IPv4 holds, and what one send may hold of
	// segments, in bytes.
	maxDatagram = 65535 - 20 - 8
	// maxSegments is how many packets a kernel makes of one send (Linux,
	// UDP_MAX_SEGMENTS; later ones make 128).
	maxSegments = 64
)

// segmentControl is the ancillary data by which the kernel cuts what is sent into packets
// of size bytes: UDP generic segmentation offload (Linux 4.18, udp(7)).
func segmentControl(b []byte, size int) []byte {
	b = append(b[:0], make([]byte, unix.CmsgSpace(2))...)
	h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
	h.Level, h.Type = unix.SOL_UDP, unix.UDP_SEGMENT
	h.SetLen(unix.CmsgLen(2))
	binary.NativeEndian.PutUint16(b[unix.CmsgLen(0):], uint16(size))
	return b
}

// sendSegments sends b in packets of the size that control says; the last one may be
// shorter.
func (s socket) sendSegments(b, control []byte) error {
	_, err := unix.SendmsgN(int(s), b, control, nil, 0)
	return err
}

// unsegmented tells whether kernel or network card cannot cut packets: EIO comes from
// cards that compute no checksums (kernels before 2024), EINVAL from kernels before 4.18
// and where a packet is larger than the interface takes.
func unsegmented(err error) bool {
	return errors.Is(err, unix.EIO) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EMSGSIZE)
}

// lost tells whether a packet that could not be sent is like one that was lost on its
// way: the host's own packet filter dropped it (EPERM), a queue was full, or the cable
// was out for a moment. It is sent again when the client does not answer.
func lost(err error) bool {
	for _, e := range []syscall.Errno{
		unix.EPERM, unix.ENOBUFS, unix.ENOMEM, unix.EAGAIN,
		unix.ENETDOWN, unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EHOSTDOWN,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
