package tftp_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"farmboot/tftp"
)

func FuzzCleanName(f *testing.F) {
	for _, s := range []string{"ipxe.efi", "/ipxe.efi", `\boot\ipxe.efi`, "ipxe.efi\xff", "undionly.kpxe\x00", "../../etc/passwd", "", "boot/", "//", "\xff\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		got := tftp.CleanName(name)
		if strings.HasPrefix(got, "/") || strings.ContainsAny(got, "\\\x00\n\r") || len(got) > 255 || !utf8.ValidString(got) {
			t.Errorf("%q gives %q", name, got)
		}
		// A plain name means itself.
		if plain := "p" + strings.Trim(got, "/"); got != "" && len(plain) <= 255 && tftp.CleanName(plain) != plain {
			t.Errorf("%q gives %q", plain, tftp.CleanName(plain))
		}
	})
}

// FuzzNegotiate: whatever is asked, the terms are ones that we can keep, and what
// is acknowledged was asked for, once, in that order.
func FuzzNegotiate(f *testing.F) {
	f.Add("blksize 1468 tsize 0 timeout 5 windowsize 4")
	f.Add("tsize 0 tsize 0 blksize 99999999999999999999")
	f.Fuzz(func(t *testing.T, s string) {
		words := strings.Fields(s)
		var asked []tftp.Option
		for len(words) >= 2 {
			asked = append(asked, tftp.Option{Name: words[0], Value: words[1]})
			words = words[2:]
		}
		terms, agreed := tftp.Negotiate(asked, 1000, 1428)
		if terms.BlockSize < 8 || terms.BlockSize > 1428 || terms.Window < 1 || terms.Window > 16 || terms.Timeout <= 0 {
			t.Errorf("%+v", terms)
		}
		rest, seen := asked, map[string]bool{}
		for _, a := range agreed {
			for len(rest) > 0 && rest[0].Name != a.Name {
				rest = rest[1:]
			}
			if len(rest) == 0 || seen[a.Name] {
				t.Fatalf("asked %v, agreed %v", asked, agreed)
			}
			seen[a.Name] = true
		}
	})
}
