package provisioning

import (
	"cmp"
	"crypto/rand"
	"net/netip"
	"strings"
	"time"
)

// Machine is what a netbooting client says of itself: in its DISCOVER, and, with more
// of it, when iPXE asks for its script.
type Machine struct {
	Arch     string `json:"arch,omitempty"`     // client system architecture in words (option 93), "UEFI x64"
	Firmware string `json:"firmware,omitempty"` // what sent it, "PXEClient", "HTTPClient", "iPXE 1.21.1"
	UUID     string `json:"uuid,omitempty"`     // client machine identifier (option 97)

	// What its SMBIOS tables say, as iPXE reads them.
	Serial       string `json:"serial,omitempty"`
	Manufacturer string `json:"manufacturer,omitempty"`
	Product      string `json:"product,omitempty"`
}

// Sight is that a machine netbooted here.
type Sight struct {
	MAC     MAC
	At      time.Time
	Heard   time.Time  // when it said something before that was not stored; zero: it did not
	Peer    netip.Addr // its address, if it has one
	Machine Machine    // what it said of itself
}

// Discovered is a MAC address that netbooted here, registered or not.
type Discovered struct {
	MAC       MAC       `json:"mac"`
	Vendor    string    `json:"vendor,omitempty"` // by the MAC's OUI; filled in for people, not stored
	Machine             // from the last that said so
	Address   string    `json:"address,omitempty"` // its last IP address
	FirstSeen time.Time `json:"first_seen"`
	LastSeen  time.Time `json:"last_seen"`
	Boots     int       `json:"boots"` // how many times it began to boot; see BootGap
	Code      string    `json:"code"`  // claim code, shown on the node's screen when it is held
}

// BootGap is how long a MAC address must have been quiet for its next DISCOVER to
// count as another boot. Firmware repeats a DISCOVER after 4, 8, 16 and 32 s
// (PXE 2.1 section 2.2).
const BootGap = 45 * time.Second

// codeAlphabet has no characters that are read for one another on a screen across
// a room: no 0 O Q D, 1 I L, 2 Z, 5 S, 8 B, U V.
const codeAlphabet = "34679ACEFGHJKMNPRTWXY"

// CodeLength is how many characters a claim code has. That makes 21^6 = 86 million codes:
// among 10,000 held nodes, a blind guess hits one in 8,600 times, and the store refuses a
// code that is taken.
const CodeLength = 6

// newCode makes a claim code. It is random, not made of the MAC address: whoever
// knows it has stood before the node.
func newCode() string {
	code := make([]byte, 0, CodeLength)
	for {
		var random [2 * CodeLength]byte
		_, _ = rand.Read(random[:]) // it does not fail
		for _, b := range random {
			if b %= 32; int(b) >= len(codeAlphabet) { // or some characters would come more often
				continue
			}
			if code = append(code, codeAlphabet[b]); len(code) == CodeLength {
				return string(code)
			}
		}
	}
}

// ParseCode reads a claim code as people type it: any case, with spaces or
// dashes. The error is an [Error] with code [Invalid].
func ParseCode(s string) (string, error) {
	code := strings.ToUpper(strings.NewReplacer(" ", "", "-", "").Replace(s))
	inCodes := func(r rune) bool { return strings.ContainsRune(codeAlphabet, r) }
	if wrong := strings.Join(strings.FieldsFunc(code, inCodes), ""); wrong != "" {
		return "", Errorf(Invalid, "bad claim code %q: %q is in no claim code: accepted are the characters %s", Clip(s, 40), Clip(wrong, 40), codeAlphabet)
	}
	if len(code) != CodeLength {
		return "", Errorf(Invalid, "bad claim code %q: accepted are the %d characters on the node's screen", Clip(s, 40), CodeLength)
	}
	return code, nil
}

// ParseClaim reads what says which node is claimed: its MAC address, or the code on its screen;
// the other is zero. The error, an [Error] with code [Invalid], is of what was meant, or names both.
func ParseClaim(s string) (mac MAC, code string, err error) {
	mac, noMAC := ParseMAC(s)
	if noMAC == nil {
		return mac, "", nil
	}
	code, noCode := ParseCode(s)
	switch {
	case noCode == nil, meantAsCode(s):
		return MAC{}, code, noCode
	case MeantAsMAC(s, CodeLength+1):
		return MAC{}, "", noMAC
	}
	return MAC{}, "", Errorf(Invalid, "%q is no claim code and no MAC address: accepted are the %d characters on the node's screen, all of %s, or its MAC address, as 52:54:00:00:00:b1", Clip(s, 40), CodeLength, codeAlphabet)
}

// meantAsCode tells whether s is letters and digits, with spaces or dashes, about as many as a claim
// code has.
func meantAsCode(s string) bool {
	code := strings.NewReplacer(" ", "", "-", "").Replace(s)
	other := func(r rune) bool { return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') }
	return code != "" && len(code) <= CodeLength+1 && !strings.ContainsFunc(code, other)
}

// MachineNode is a node with what is known of its machine; nil: it has not been seen.
type MachineNode struct {
	Node
	Machine *Discovered `json:"machine,omitempty"`
}

// noUUID is what iPXE says of a machine that has none.
const noUUID = "00000000-0000-0000-0000-000000000000"

// sight returns d after it was seen.
func (d Discovered) sight(s Sight) Discovered {
	m, at := s.Machine, s.At
	// Our iPXE says nothing of its machine in a DISCOVER: it has been loaded in the course of
	// the same boot.
	if d.Boots == 0 || m != (Machine{}) && at.Sub(d.LastSeen) > BootGap && at.Sub(s.Heard) > BootGap {
		d.Boots++
	}
	if d.FirstSeen.IsZero() {
		d.FirstSeen = at
	}
	if at.After(d.LastSeen) {
		d.LastSeen = at
	}
	if m.UUID == noUUID {
		m.UUID = ""
	}
	d.Machine = Machine{
		Arch: cmp.Or(m.Arch, d.Arch), Firmware: cmp.Or(m.Firmware, d.Firmware), UUID: cmp.Or(m.UUID, d.UUID),
		Serial: cmp.Or(m.Serial, d.Serial), Manufacturer: cmp.Or(m.Manufacturer, d.Manufacturer), Product: cmp.Or(m.Product, d.Product),
	}
	return d
}
