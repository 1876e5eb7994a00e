package provisioning_test

import (
	"strings"
	"testing"

	"farmboot/provisioning"
)

func TestParseMAC(t *testing.T) {
	want := provisioning.MAC{0x52, 0x54, 0, 0, 0, 0xb1}
	for _, good := range []string{
		"52:54:00:00:00:b1", "52:54:00:00:00:B1", "52-54-00-00-00-b1", "5254.0000.00b1", "5254000000b1", "5254000000B1", " 52:54:00:00:00:b1\n",
		"52:54:0:0:0:b1", "52-54-0-0-0-B1", "5254-0000-00b1", "5254:0000:00b1", "525400-0000b1", "525400:0000b1", "52 54 00 00 00 B1", "52.54.00.00.00.b1", "0x5254000000b1", "52_54_00_00_00_b1", `"52:54:0:0:0:b1"`, "'5254.0000.00b1'",
	} {
		if got, err := provisioning.ParseMAC(good); err != nil || got != want {
			t.Errorf("ParseMAC(%q) = %v, %v", good, got, err)
		}
	}
	for _, bad := range []string{
		"", "52:54:00:00:00", "52:54:00:00:00:b1:00", "52:54:00-00-00-b1", "52:54:00:00:00:g1", "5254.000000b1", "525:400:000:0b1", "5254.0.b1", "52::54:0:0:b1", "52:54:000:0:0:b1", ":::::", "0x52:54:00:00:00:b1",
		"00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01", "5254000000b", "52:54 00:00 00:b1", "52:54:00:00:01:0", "52-54-0-00-0-B1",
	} {
		if got, err := provisioning.ParseMAC(bad); provisioning.ErrorCode(err) != provisioning.Invalid {
			t.Errorf("ParseMAC(%q) = %v, %v, want a refusal", bad, got, err)
		}
	}
}

// TestParseMACSaysWhatItIs: what looks like a MAC address is refused for what it is.
func TestParseMACSaysWhatItIs(t *testing.T) {
	for bad, says := range map[string]string{
		"52\u201054\u201000\u201000\u201000\u2010b1":                  "the character U+2010",
		"\u202a52:54:00:00:00:b1":                                     "the character U+202A",
		"\uff15\uff12:54:00:00:00:b1":                                 "the character U+FF15",
		"01-52-54-00-00-00-b1":                                        "comes behind 01-",
		"52:54:00:ff:fe:00:00:b1":                                     "EUI-64",
		"52:54:00:00:01:0":                                            "group 6 has one digit",
		"2:54:00:00:00:b1":                                            "group 1 has one digit",
		"20:00:55:04:01:fe:80:00:00:00:00:00:00:00:02:c9:02:00:23:13": "InfiniBand",
	} {
		if got, err := provisioning.ParseMAC(bad); provisioning.ErrorCode(err) != provisioning.Invalid || !strings.Contains(err.Error(), says) {
			t.Errorf("ParseMAC(%q) = %v, %v, want a refusal that says %s", bad, got, err, says)
		}
	}
}

// TestParseClaim: one field, or argument, takes a MAC address or a claim code, and what is neither
// is refused as what it was meant to be.
func TestParseClaim(t *testing.T) {
	for _, test := range []struct{ in, mac, code, says string }{
		{in: "52:54:00:00:00:b1", mac: "52:54:00:00:00:b1"},
		{in: "5254000000B1", mac: "52:54:00:00:00:b1"},
		{in: "k7m-3px", code: "K7M3PX"},
		{in: "K7 M3 PX", code: "K7M3PX"},
		{in: "37-49-46", code: "374946"}, // digits alone
		{in: "52:54:00:00:08:1", says: `bad MAC address "52:54:00:00:08:1": group 6 has one digit`},
		{in: "52-54-00-00-08", says: `bad MAC address`},
		{in: "52:54:00:00:0g:b1", says: `"52:54:00:00:0g:b1" is no claim code and no MAC address`},
		{in: "boom!", says: `"boom!" is no claim code and no MAC address: accepted are the 6 characters on the node's screen, all of 34679ACEFGHJKMNPRTWXY, or its MAC address, as 52:54:`},
		{in: "52540000001", says: "is no claim code and no MAC address"},
		{in: "5254000000b", says: `bad MAC address "5254000000b": not twelve`},
		{in: "5254.0000.00b", says: `bad MAC address`},
		{in: "52:54:00:ff:fe:00:00:b1", says: "EUI-64"},
		{in: "K7M", says: `bad claim code "K7M": accepted are the 6 characters`},
		{in: "K7M3PXX", says: `bad claim code "K7M3PXX"`},
		{in: "K7M3P0", says: `"0" is in no claim code`},
		{in: "", says: "is no claim code and no MAC address"},
	} {
		mac, code, err := provisioning.ParseClaim(test.in)
		said := ""
		if err != nil {
			said = err.Error()
		}
		gotMAC := ""
		if !mac.IsZero() {
			gotMAC = mac.String()
		}
		if gotMAC != test.mac || code != test.code || (err != nil) != (test.says != "") || !strings.Contains(said, test.says) {
			t.Errorf("ParseClaim(%q) = %v, %q, %v", test.in, mac, code, err)
		}
	}
}

func TestParseMACPrefix(t *testing.T) {
	for _, test := range []struct{ in, lo, hi string }{
		{"", "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff"},
		{"5", "50:00:00:00:00:00", "5f:ff:ff:ff:ff:ff"},
		{"52:54", "52:54:00:00:00:00", "52:54:ff:ff:ff:ff"},
		{"5254.0", "52:54:00:00:00:00", "52:54:0f:ff:ff:ff"},
		{"52-54-00-00-00-B1", "52:54:00:00:00:b1", "52:54:00:00:00:b1"},
		{"52:54:0:0:0:b1", "52:54:00:00:00:b1", "52:54:00:00:00:b1"},
		{"0x5254000000b1", "52:54:00:00:00:b1", "52:54:00:00:00:b1"},
		{"52 54 00 00 00 b1", "52:54:00:00:00:b1", "52:54:00:00:00:b1"},
		{"52:54:0:0:0:2", "52:54:00:00:00:02", "52:54:00:00:00:02"},
		{"52:54:00:00:00:2", "52:54:00:00:00:20", "52:54:00:00:00:2f"},
		{"52:5:0", "52:05:00:00:00:00", "52:05:0f:ff:ff:ff"},
	} {
		r, err := provisioning.ParseMACPrefix(test.in)
		if err != nil || r.Lo.String() != test.lo || r.Hi.String() != test.hi {
			t.Errorf("ParseMACPrefix(%q) = %v…%v, %v, want %s…%s", test.in, r.Lo, r.Hi, err, test.lo, test.hi)
		}
	}
	for _, bad := range []string{"x", "52:54:00:00:00:b1:0", "5 2"} {
		if r, err := provisioning.ParseMACPrefix(bad); provisioning.ErrorCode(err) != provisioning.Invalid {
			t.Errorf("ParseMACPrefix(%q) = %v, %v, want a refusal", bad, r, err)
		}
	}
}

// FuzzParseMAC reads anything: what is accepted is one card's address, and is read
// back from its own notation.
func FuzzParseMAC(f *testing.F) {
	for _, seed := range []string{"52:54:00:00:00:b1", "52-54-00-00-00-B1", "5254.0000.00b1", "5254000000b1", "ff:ff:ff:ff:ff:ff", "ß2:54:00:00:00:b1", "52:54:0:0:0:b1", "0x5254000000b1", "525400-0000b1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m, err := provisioning.ParseMAC(s)
		if err != nil {
			if provisioning.ErrorCode(err) != provisioning.Invalid {
				t.Fatalf("ParseMAC(%q): %v is no refusal", s, err)
			}
			return
		}
		if m.IsZero() || m[0]&1 != 0 {
			t.Fatalf("ParseMAC(%q) accepted %v", s, m)
		}
		if again, err := provisioning.ParseMAC(m.String()); err != nil || again != m {
			t.Fatalf("ParseMAC(%q) = %v, which reads as %v, %v", s, m, again, err)
		}
		whole, err := provisioning.ParseMACPrefix(m.String())
		if err != nil || whole.Lo != m || whole.Hi != m {
			t.Fatalf("ParseMACPrefix(%q) = %v, %v", m, whole, err)
		}
	})
}
