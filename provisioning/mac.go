package provisioning

import (
	"database/sql/driver"
	"encoding/hex"
	"fmt"
	"strings"
)

// MAC is a 48-bit IEEE 802 MAC address, the identity of a node.
type MAC [6]byte

// ParseMAC reads a MAC address in any notation that people paste: six pairs of
// hexadecimal digits separated by ':' or '-' (52:54:00:00:00:b1), three groups
// of four separated by '.' (5254.0000.00b1), or twelve digits with no separator
// at all; upper or lower case. The all-zero address and group addresses
// (multicast, broadcast: lowest bit of the first octet set) are refused, for no
// network card has one. The error is an [Error] with code [Invalid].
func ParseMAC(s string) (MAC, error) {
	refuse := func(why string) (MAC, error) {
		return MAC{}, Errorf(Invalid, "bad MAC address %q: %s; accepted are 52:54:00:00:00:b1, 52-54-00-00-00-b1, 5254.0000.00b1 and 5254000000b1", Clip(s, 40), why)
	}
	t := strings.TrimSpace(s)
	var digits string
	switch {
	case len(t) == 12:
		digits = t
	case len(t) == 17 && (t[2] == ':' || t[2] == '-'):
		for i := 2; i < 17; i += 3 {
			if t[i] != t[2] {
				return refuse("mixed separators")
			}
		}
		digits = t[0:2] + t[3:5] + t[6:8] + t[9:11] + t[12:14] + t[15:17]
	case len(t) == 14 && t[4] == '.' && t[9] == '.':
		digits = t[0:4] + t[5:9] + t[10:14]
	default:
		return refuse("not twelve hexadecimal digits")
	}
	var m MAC
	if _, err := hex.Decode(m[:], []byte(digits)); err != nil {
		return refuse("not twelve hexadecimal digits")
	}
	if m.IsZero() {
		return refuse("the all-zero address belongs to no network card")
	}
	if m[0]&1 != 0 {
		return refuse("a group address (multicast or broadcast) belongs to no network card")
	}
	return m, nil
}

// Clip shortens s to at most n bytes for use in a message.
func Clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// IsZero tells whether m is the zero value, which stands for "no address".
func (m MAC) IsZero() bool { return m == MAC{} }

// String returns the usual notation, 52:54:00:00:00:b1.
func (m MAC) String() string {
	const digits = "0123456789abcdef"
	s := make([]byte, 0, 17) // by hand: every request and every imported row writes some
	for i, b := range m {
		if i > 0 {
			s = append(s, ':')
		}
		s = append(s, digits[b>>4], digits[b&15])
	}
	return string(s)
}

// MarshalText is String, so that JSON shows the usual notation.
func (m MAC) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText is ParseMAC.
func (m *MAC) UnmarshalText(b []byte) error {
	v, err := ParseMAC(string(b))
	if err != nil {
		return err
	}
	*m = v
	return nil
}

// Value stores the six octets (database/sql).
func (m MAC) Value() (driver.Value, error) { return m[:], nil }

// Scan reads the six octets (database/sql).
func (m *MAC) Scan(src any) error {
	b, ok := src.([]byte)
	if !ok || len(b) != len(m) {
		return fmt.Errorf("scan MAC address from %T %v", src, src)
	}
	copy(m[:], b)
	return nil
}
