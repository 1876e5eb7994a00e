package doctor

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"farmboot/dhcp/fakeclient"
	"farmboot/setup"
)

// ear is the client port of a machine that is played on this host. It sends as every
// program does, but hears frames as they come in, and those of this host's own server
// as they go out: the host's firewall and its DHCP client are not the machine's.
type ear struct {
	net.PacketConn // sends
	frames         *packet.Conn
	id             fakeclient.Identity
	note           func(Offer)

	offers []fakeclient.Packet // of the one goroutine that reads
}

// newEar returns the ear of a machine on an interface, which tells note of each offer.
func newEar(conn net.PacketConn, i setup.Interface, id fakeclient.Identity, note func(Offer)) (*ear, error) {
	filter, err := bpf.Assemble(dhcpReplies)
	if err != nil {
		return nil, err
	}
	device := &net.Interface{Index: i.Index, Name: i.Name, MTU: i.MTU}
	frames, err := packet.Listen(device, packet.Raw, unix.ETH_P_ALL, &packet.Config{Filter: filter})
	if err != nil {
		return nil, fmt.Errorf("listen to the frames of %s: %w", i.Name, err)
	}
	return &ear{PacketConn: conn, frames: frames, id: id, note: note}, nil
}

// dhcpReplies takes Ethernet frames with the first fragment of a UDP datagram for port 68.
var dhcpReplies = []bpf.Instruction{
	bpf.LoadAbsolute{Off: 12, Size: 2}, // EtherType
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.ETH_P_IP, SkipFalse: 8},
	bpf.LoadAbsolute{Off: ethernetLen + 9, Size: 1}, // protocol
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.IPPROTO_UDP, SkipFalse: 6},
	bpf.LoadAbsolute{Off: ethernetLen + 6, Size: 2}, // fragment offset
	bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: 0x1fff, SkipTrue: 4},
	bpf.LoadMemShift{Off: ethernetLen},              // length of the IP header
	bpf.LoadIndirect{Off: ethernetLen + 2, Size: 2}, // destination port
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: 68, SkipFalse: 1},
	bpf.RetConstant{Val: 1 << 16},
	bpf.RetConstant{Val: 0},
}

const (
	ethernetLen = 14
	udpLen      = 8
)

// ReadFrom returns the next datagram for port 68.
func (e *ear) ReadFrom(b []byte) (int, net.Addr, error) {
	frame := make([]byte, ethernetLen+1<<16)
	for {
		n, _, err := e.frames.ReadFrom(frame)
		if err != nil {
			return 0, nil, err
		}
		data, from, err := parseFrame(frame[:n])
		if err != nil {
			continue
		}
		if o, ok := parseOffer(data, e.id); ok {
			e.note(o)
			e.offers = append(e.offers, fakeclient.Packet{From: from, Data: append([]byte(nil), data...)})
		}
		return copy(b, data), net.UDPAddrFromAddrPort(from), nil
	}
}

var errNoDatagram = errors.New("frame holds no whole UDP datagram")

// parseFrame takes the datagram out of a frame.
func parseFrame(frame []byte) (data []byte, from netip.AddrPort, err error) {
	if len(frame) < ethernetLen {
		return nil, from, errNoDatagram
	}
	ip, err := ipv4.ParseHeader(frame[ethernetLen:])
	if err != nil {
		return nil, from, err
	}
	udp := frame[min(ethernetLen+ip.Len, len(frame)):]
	if len(udp) < udpLen {
		return nil, from, errNoDatagram
	}
	length := int(udp[4])<<8 | int(udp[5])
	if length < udpLen || length > len(udp) {
		return nil, from, errNoDatagram
	}
	addr, _ := netip.AddrFromSlice(ip.Src.To4())
	return udp[udpLen:length], netip.AddrPortFrom(addr, uint16(udp[0])<<8|uint16(udp[1])), nil
}

// SetReadDeadline is about frames.
func (e *ear) SetReadDeadline(t time.Time) error { return e.frames.SetReadDeadline(t) }

// Close closes both sockets.
func (e *ear) Close() error { return errors.Join(e.PacketConn.Close(), e.frames.Close()) }
