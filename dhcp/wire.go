package dhcp

import (
	"bytes"
	"encoding/binary"
	"slices"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
)

// The library's own codec allocates fifty times a packet and does not know
// option overload (52). These two functions fill and read its packet type
// without either fault; a fuzz test holds them to the library's results.

// Layout of a packet (RFC 2131 figure 1).
const (
	snameAt, snameLen = 44, 64
	fileAt            = 108
	cookieAt          = 236
	optionsAt         = 240
	bootpMinLen       = 300 // RFC 951: some relay agents drop less
)

const magicCookie = 0x63825363 // RFC 2131 section 3

const (
	optionPad      = 0
	optionOverload = 52
	optionRelay    = 82
	optionEnd      = 255
)

// Decode reads a packet into m, of which it reuses the Options map. All slices of
// m share memory with b. Options come in any order, with pads between them, in
// parts (RFC 3396: joined), and, if option 52 says so, in the file and sname
// fields (RFC 2131 section 4.1). A missing end option is forgiven.
func Decode(b []byte, m *dhcpv4.DHCPv4) error {
	if len(b) < optionsAt {
		return errShort
	}
	if binary.BigEndian.Uint32(b[cookieAt:]) != magicCookie {
		return errCookie
	}
	options := m.Options
	if options == nil {
		options = make(dhcpv4.Options, 16)
	}
	clear(options)
	*m = dhcpv4.DHCPv4{
		OpCode:        dhcpv4.OpcodeType(b[0]),
		HWType:        iana.HWType(b[1]),
		HopCount:      b[3],
		TransactionID: dhcpv4.TransactionID(b[4:8]),
		NumSeconds:    binary.BigEndian.Uint16(b[8:]),
		Flags:         binary.BigEndian.Uint16(b[10:]),
		ClientIPAddr:  b[12:16:16],
		YourIPAddr:    b[16:20:20],
		ServerIPAddr:  b[20:24:24],
		GatewayIPAddr: b[24:28:28],
		ClientHWAddr:  b[28 : 28+min(int(b[2]), 16)],
		Options:       options,
	}
	if err := decodeOptions(b[optionsAt:], options); err != nil {
		return err
	}
	const inFile, inSname = 1, 2 // RFC 2132 section 9.3
	var overload byte
	if v := options[optionOverload]; len(v) == 1 {
		overload = v[0]
	}
	sname, file := b[snameAt:snameAt+snameLen], b[fileAt:fileAt+fileFieldLen]
	if overload&inFile != 0 {
		if err := decodeOptions(file, options); err != nil {
			return err
		}
	} else {
		m.BootFileName = text(file)
	}
	if overload&inSname != 0 {
		return decodeOptions(sname, options)
	}
	m.ServerHostName = text(sname)
	return nil
}

// decodeOptions adds the options in b, up to the end option, to the map.
func decodeOptions(b []byte, options dhcpv4.Options) error {
	for len(b) > 0 && b[0] != optionEnd {
		if b[0] == optionPad {
			b = b[1:]
			continue
		}
		if len(b) < 2 || len(b) < 2+int(b[1]) {
			return errOption
		}
		code, n := b[0], 2+int(b[1])
		value := b[2:n:n] // full slice: joining parts must not write into the packet
		if old, ok := options[code]; ok {
			value = append(old, value...)
		}
		options[code] = value
		b = b[n:]
	}
	return nil
}

// text reads a NUL-terminated field.
func text(field []byte) string {
	if i := bytes.IndexByte(field, 0); i >= 0 {
		field = field[:i]
	}
	return string(field)
}

// encodedLen is the number of bytes that Append adds.
func encodedLen(m *dhcpv4.DHCPv4) int {
	n := optionsAt + 1
	for _, v := range m.Options {
		n += len(v) + 2*max(1, (len(v)+254)/255)
	}
	return max(n, bootpMinLen)
}

// Append appends the packet to dst. Options 53 and 54 come first, as every DHCP
// server sends them; the others in ascending order; 82 last (RFC 3046 section
// 2.1). Values over 255 bytes are sent in parts (RFC 3396).
func Append(dst []byte, m *dhcpv4.DHCPv4) []byte {
	at := len(dst)
	dst = append(dst, make([]byte, optionsAt)...)
	h := dst[at:]
	h[0], h[1], h[2], h[3] = byte(m.OpCode), byte(m.HWType), byte(min(len(m.ClientHWAddr), 16)), m.HopCount
	copy(h[4:8], m.TransactionID[:])
	binary.BigEndian.PutUint16(h[8:], m.NumSeconds)
	binary.BigEndian.PutUint16(h[10:], m.Flags)
	copy(h[12:16], m.ClientIPAddr.To4())
	copy(h[16:20], m.YourIPAddr.To4())
	copy(h[20:24], m.ServerIPAddr.To4())
	copy(h[24:28], m.GatewayIPAddr.To4())
	copy(h[28:44], m.ClientHWAddr)
	copy(h[snameAt:snameAt+snameLen-1], m.ServerHostName)
	copy(h[fileAt:fileAt+fileFieldLen-1], m.BootFileName)
	binary.BigEndian.PutUint32(h[cookieAt:], magicCookie)

	var codes [256]byte
	order := codes[:0]
	for code := range m.Options {
		if code != optionPad && code != optionEnd {
			order = append(order, code)
		}
	}
	slices.SortFunc(order, func(a, b byte) int { return optionRank(a) - optionRank(b) })
	for _, code := range order {
		dst = appendOption(dst, code, m.Options[code])
	}
	dst = append(dst, optionEnd)
	for len(dst)-at < bootpMinLen {
		dst = append(dst, optionPad)
	}
	return dst
}

// optionRank orders options for [Append].
func optionRank(code byte) int {
	switch code {
	case dhcpv4.OptionDHCPMessageType.Code():
		return -2
	case dhcpv4.OptionServerIdentifier.Code():
		return -1
	case optionRelay:
		return 256
	}
	return int(code)
}

func appendOption(dst []byte, code byte, value []byte) []byte {
	for {
		part := value[:min(len(value), 255)]
		dst = append(append(dst, code, byte(len(part))), part...)
		if value = value[len(part):]; len(value) == 0 {
			return dst
		}
	}
}
