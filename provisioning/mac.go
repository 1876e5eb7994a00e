package provisioning

import (
	"bytes"
	"database/sql/driver"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"unicode"
)

// MAC is a 48-bit IEEE 802 MAC address, the identity of a node.
type MAC [6]byte

// ParseMAC reads a MAC address in any notation that people paste and equipment prints, as
// far as it can mean one address only: twelve hexadecimal digits without separators
// (5254000000b1, 0x5254000000b1), or in two to six groups of the same length, between
// which stands one of ':', '-', '.', '_' or a space (52:54:00:00:00:b1, 5254.0000.00b1,
// 5254-0000-00b1, 525400:0000b1); six groups may lack their leading zeros (52:54:0:0:0:b1),
// all of them, as Solaris and macOS print them. One digit beside a group that has its leading
// zero is refused: somebody cut the address short. Where no other starts with a zero
// (52:54:ab:cd:ef:1), that cannot be told. Upper or lower case, with or without quotes around it. The all-zero
// address and group addresses (multicast, broadcast: lowest bit of the first octet set) are
// refused, for no network card has one. The error is an [Error] with code [Invalid].
func ParseMAC(s string) (MAC, error) {
	refuse := func(why string) (MAC, error) {
		return MAC{}, Errorf(Invalid, "bad MAC address %q: %s; accepted are 52:54:00:00:00:b1, 52-54-00-00-00-b1, 5254.0000.00b1 and 5254000000b1", Clip(s, 40), why)
	}
	digits, why := macDigits(unquoted(strings.TrimSpace(s)))
	if why != "" {
		return refuse(why)
	}
	var m MAC
	if _, err := hex.Decode(m[:], digits[:]); err != nil {
		return refuse(noMAC)
	}
	if m.IsZero() {
		return refuse("the all-zero address belongs to no network card")
	}
	if m[0]&1 != 0 {
		return refuse("a group address (multicast or broadcast) belongs to no network card")
	}
	return m, nil
}

// macSeparators are what may stand between groups of digits.
const macSeparators = ":-._ "

const noMAC = "not twelve hexadecimal digits"

// unquoted takes off the quotes that come with a value copied from a configuration.
func unquoted(s string) string {
	for _, q := range []string{`"`, `'`} {
		if in, ok := strings.CutPrefix(s, q); ok && strings.HasSuffix(in, q) {
			return in[:len(in)-1]
		}
	}
	return s
}

// macDigits returns the twelve characters where the digits of a MAC address stand, or why
// s is none.
func macDigits(s string) (digits [12]byte, why string) {
	for _, r := range s {
		if r > unicode.MaxASCII { // a dash of a word processor looks like one of ours
			return digits, fmt.Sprintf("it has the character %U in it, which is no digit and no separator", r)
		}
	}
	separator := ""
	if i := strings.IndexAny(s, macSeparators); i >= 0 {
		separator = s[i : i+1]
		if strings.ContainsAny(strings.ReplaceAll(s, separator, ""), macSeparators) {
			return digits, "mixed separators"
		}
	} else {
		if len(s) == 14 && (s[:2] == "0x" || s[:2] == "0X") {
			s = s[2:]
		}
		if len(s) != 12 {
			return digits, noMAC
		}
		copy(digits[:], s)
		return digits, ""
	}
	groups := strings.Split(s, separator)
	switch n := len(groups); {
	case n == 7 && groups[0] == "01":
		return digits, "it is a DHCP client identifier, the MAC address in it comes behind 01" + separator
	case n == 8:
		return digits, "it is an EUI-64 of eight octets, a MAC address has six"
	case n == 20:
		return digits, "it is an InfiniBand address of twenty octets, which does not netboot here"
	case n != 2 && n != 3 && n != 6: // 4 groups of 3 digits: nobody writes that
		return digits, noMAC
	}
	width := len(digits) / len(groups)
	padded := width == 2 && slices.ContainsFunc(groups, func(g string) bool { return len(g) == width && g[0] == '0' })
	for i, g := range groups {
		switch {
		case len(g) == width:
		case len(g) == 1 && padded:
			return digits, fmt.Sprintf("group %d has one digit, though others have their leading zeros: a digit is missing", i+1)
		case len(g) == 1 && width == 2: // without its leading zero
			g = "0" + g
		default:
			return digits, noMAC
		}
		copy(digits[i*width:], g)
	}
	return digits, ""
}

// MeantAsMAC tells whether s, which [ParseMAC] refuses, is a mistyped MAC address all the same:
// hexadecimal digits, between which stands no more than one kind of separator, and no space. They
// are least or more, and one of them a letter if there is no separator, or in five or more groups
// of one or two.
func MeantAsMAC(s string, least int) bool {
	s = unquoted(strings.TrimSpace(s))
	separator := ""
	if i := strings.IndexAny(s, macSeparators); i >= 0 {
		separator = s[i : i+1]
	}
	digits, letters, longest, groups := 0, 0, 0, 0
	for g := range strings.FieldsFuncSeq(s, func(r rune) bool { return string(r) == separator }) {
		groups, longest = groups+1, max(longest, len(g))
		for _, r := range g {
			if !unicode.Is(unicode.ASCII_Hex_Digit, r) {
				return false
			}
			digits++
			if unicode.IsLetter(r) {
				letters++
			}
		}
	}
	switch separator {
	case " ":
		return false
	case "":
		return digits >= least && letters > 0
	}
	return digits >= least || groups >= 5 && longest <= 2
}

// shortened tells whether s, a MAC address that [ParseMAC] accepts, lacks leading zeros.
func shortened(s string) bool {
	n := 0
	for _, r := range s {
		if unicode.Is(unicode.ASCII_Hex_Digit, r) {
			n++
		}
	}
	return n < 12
}

// Clip shortens s to at most n bytes for use in a message.
func Clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// Compare orders MAC addresses: -1, 0 or 1.
func (m MAC) Compare(other MAC) int { return bytes.Compare(m[:], other[:]) }

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
