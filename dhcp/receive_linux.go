package dhcp

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// receiver receives the packets of one socket, one at a time, in its own memory.
//
// The system call never waits, so Go's scheduler need not know that it is in the kernel.
// Told of it, the runtime looks every 20 µs whether it has to take the processor back: a
// twentieth of the CPU time of a farm that is switched on (measured).
type receiver struct {
	raw     syscall.RawConn
	packet  []byte
	control []byte // ancillary data: one IP_PKTINFO
	from    unix.RawSockaddrInet4
	part    unix.Iovec
	msg     unix.Msghdr
	n       int
	errno   unix.Errno
}

// receiver returns a receiver for the socket.
func (c *Conn) receiver() *receiver {
	r := &receiver{raw: c.raw, packet: make([]byte, 1500), control: make([]byte, unix.CmsgSpace(unix.SizeofInet4Pktinfo))}
	r.part.Base = &r.packet[0]
	r.part.SetLen(len(r.packet))
	r.msg.Iov = &r.part
	r.msg.SetIovlen(1)
	r.msg.Name = (*byte)(unsafe.Pointer(&r.from))
	r.msg.Control = &r.control[0]
	return r
}

// receive returns the next packet, which is valid until the next call, where it came from,
// and where it was sent to, if the socket tells (IP_PKTINFO).
func (r *receiver) receive() (packet []byte, peer netip.AddrPort, to netip.Addr, err error) {
	if err := r.raw.Read(r.look); err != nil {
		return nil, peer, to, err
	}
	if r.errno != 0 {
		return nil, peer, to, r.errno
	}
	var port [2]byte
	binary.NativeEndian.PutUint16(port[:], r.from.Port) // which is in network order
	peer = netip.AddrPortFrom(netip.AddrFrom4(r.from.Addr), binary.BigEndian.Uint16(port[:]))
	if control := r.control[:r.msg.Controllen]; len(control) >= unix.CmsgLen(unix.SizeofInet4Pktinfo) {
		h, data, _, err := unix.ParseOneSocketControlMessage(control)
		if err == nil && h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo {
			to = netip.AddrFrom4([4]byte(data[8:12])) // behind the index and our own address
		}
	}
	return r.packet[:r.n], peer, to, nil
}

// look tells whether there was a packet, or an error.
func (r *receiver) look(fd uintptr) bool {
	for {
		r.msg.Namelen = unix.SizeofSockaddrInet4 // the kernel writes how much it has filled
		r.msg.SetControllen(len(r.control))
		n, _, errno := unix.RawSyscall(unix.SYS_RECVMSG, fd, uintptr(unsafe.Pointer(&r.msg)), 0)
		if r.n, r.errno = int(n), errno; errno != unix.EINTR {
			return errno != unix.EAGAIN
		}
	}
}
