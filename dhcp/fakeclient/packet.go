package fakeclient

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
)

// Packet is a UDP datagram.
type Packet struct {
	From, To netip.AddrPort
	Data     []byte
}

// Ports (RFC 2131, PXE 2.1).
const (
	serverPort     = 67
	clientPort     = 68
	bootServerPort = 4011
)

// Message types (RFC 2132 section 9.6).
const (
	discover = 1
	offer    = 2
	request  = 3
	ack      = 5
	nak      = 6
)

// Option codes (RFC 2132, 3004, 4578).
const (
	optVendor      = 43
	optRequestedIP = 50
	optOverload    = 52
	optMessageType = 53
	optServerID    = 54
	optParameters  = 55
	optMaxSize     = 57
	optClass       = 60
	optClientID    = 61
	optBootFile    = 67
	optUserClass   = 77
	optArch        = 93
	optNIC         = 94
	optGUID        = 97
	optIPXE        = 175
	optDNS         = 6
)

// option is one option of a request: firmware has its order of them.
type option struct {
	code  byte
	value []byte
}

// header is what requests differ in, besides their options.
type header struct {
	xid       uint32
	seconds   uint16
	broadcast bool // flag: answer by broadcast
	ciaddr    netip.Addr
	mac       [6]byte
}

const cookie = 0x63825363

// encode makes a BOOTREQUEST.
func encode(h header, options []option) []byte {
	b := make([]byte, 240, 600)
	b[0], b[1], b[2] = 1, 1, 6
	binary.BigEndian.PutUint32(b[4:], h.xid)
	binary.BigEndian.PutUint16(b[8:], h.seconds)
	if h.broadcast {
		b[10] = 0x80
	}
	if h.ciaddr.Is4() {
		copy(b[12:], h.ciaddr.AsSlice())
	}
	copy(b[28:], h.mac[:])
	binary.BigEndian.PutUint32(b[236:], cookie)
	for _, o := range options {
		b = append(append(b, o.code, byte(len(o.value))), o.value...)
	}
	b = append(b, 255)
	for len(b) < 300 {
		b = append(b, 0)
	}
	return b
}

// reply is a BOOTREPLY as firmware looks at it: of each option the first
// occurrence counts, in the options field, then in the fields that option 52 adds.
type reply struct {
	from   netip.AddrPort
	raw    []byte
	fields [][]byte
}

var errMalformed = errors.New("not a DHCP reply")

// parseReply reads a packet.
func parseReply(p Packet) (reply, error) {
	b := p.Data
	if len(b) < 240 || b[0] != 2 || binary.BigEndian.Uint32(b[236:]) != cookie {
		return reply{}, errMalformed
	}
	r := reply{from: p.From, raw: b, fields: [][]byte{b[240:]}}
	if v := r.option(optOverload); len(v) == 1 {
		if v[0]&1 != 0 {
			r.fields = append(r.fields, b[108:236])
		}
		if v[0]&2 != 0 {
			r.fields = append(r.fields, b[44:108])
		}
	}
	return r, nil
}

// option returns an option's value, nil if it is not there.
func (r reply) option(code byte) []byte {
	for _, b := range r.fields {
		if v := find(b, code); v != nil {
			return v
		}
	}
	return nil
}

// find looks for an option in a field, or a sub-option in an option.
func find(b []byte, code byte) []byte {
	for len(b) > 0 && b[0] != 255 {
		if b[0] == 0 {
			b = b[1:]
			continue
		}
		if len(b) < 2 || len(b) < 2+int(b[1]) {
			return nil
		}
		n := 2 + int(b[1])
		if b[0] == code {
			return b[2:n:n]
		}
		b = b[n:]
	}
	return nil
}

// messageType is 0 if there is none: BOOTP.
func (r reply) messageType() byte {
	if v := r.option(optMessageType); len(v) == 1 {
		return v[0]
	}
	return 0
}

func (r reply) xid() uint32        { return binary.BigEndian.Uint32(r.raw[4:]) }
func (r reply) yiaddr() netip.Addr { return addr(r.raw[16:20]) }
func (r reply) siaddr() netip.Addr { return addr(r.raw[20:24]) }

// serverID is option 54, invalid if it is not there.
func (r reply) serverID() netip.Addr { return addr(r.option(optServerID)) }

// isFor tells whether the reply has this machine's address in chaddr.
func (r reply) isFor(mac [6]byte) bool { return [6]byte(r.raw[28:34]) == mac }

// isClass tells whether option 60 starts with a word.
func (r reply) isClass(word string) bool { return bytes.HasPrefix(r.option(optClass), []byte(word)) }

// file is the boot file name: option 67 if it is there, else the header's field,
// unless that holds options.
func (r reply) file() string {
	b := r.option(optBootFile)
	if v := r.option(optOverload); b == nil && (len(v) != 1 || v[0]&1 == 0) {
		b = r.raw[108:236]
	}
	b, _, _ = bytes.Cut(b, []byte{0})
	return string(b)
}

// nextServer is where the boot file is: siaddr, or option 54 if that is zero
// (edk2 PxeBcBoot.c, PxeBcDhcp4BootInfo; iPXE's pseudo-ID).
func (r reply) nextServer() netip.Addr {
	if a := r.siaddr(); a.IsValid() {
		return a
	}
	return r.serverID()
}

// addr is an IPv4 address of a packet; the zero Addr if it is absent or 0.0.0.0.
func addr(b []byte) netip.Addr {
	if len(b) != 4 || [4]byte(b) == [4]byte{} {
		return netip.Addr{}
	}
	return netip.AddrFrom4([4]byte(b))
}
