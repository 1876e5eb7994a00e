package dhcp

import (
	"encoding/binary"
	"net/netip"
)

const (
	ipHeader  = 20
	udpHeader = 8
)

// appendDatagram appends payload as a UDP packet over IPv4 (RFC 768, RFC 791).
func appendDatagram(b []byte, from, to netip.AddrPort, payload []byte) []byte {
	src, dst := from.Addr().As4(), to.Addr().As4()
	at := len(b)
	b = append(b, make([]byte, ipHeader+udpHeader)...)
	b = append(b, payload...)
	ip, udp := b[at:], b[at+ipHeader:]
	ip[0] = 0x45 // version 4, a header of five words
	binary.BigEndian.PutUint16(ip[2:], uint16(len(ip)))
	ip[6] = 0x40 // do not fragment
	ip[8] = 64   // hops
	ip[9] = 17   // UDP
	copy(ip[12:], src[:])
	copy(ip[16:], dst[:])
	binary.BigEndian.PutUint16(ip[10:], checksum(0, ip[:ipHeader]))
	binary.BigEndian.PutUint16(udp, from.Port())
	binary.BigEndian.PutUint16(udp[2:], to.Port())
	binary.BigEndian.PutUint16(udp[4:], uint16(len(udp)))
	// The checksum also covers both addresses, the protocol and the length.
	sum := checksum(uint32(ip[9])+uint32(len(udp))+add(0, ip[12:20]), udp)
	if sum == 0 {
		sum = 0xffff // 0 would say that there is none
	}
	binary.BigEndian.PutUint16(udp[6:], sum)
	return b
}

// checksum is the Internet checksum (RFC 1071) of b, and of what sum holds already.
func checksum(sum uint32, b []byte) uint16 {
	sum = add(sum, b)
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// add adds the 16-bit words of b, which is shorter than 64 KB.
func add(sum uint32, b []byte) uint32 {
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	return sum
}
