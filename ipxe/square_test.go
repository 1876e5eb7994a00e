package ipxe

import (
	"strings"
	"testing"
)

func TestClaimAddress(t *testing.T) {
	for _, test := range []struct{ literal, want string }{
		{"http://10.77.0.2", "HTTP://10.77.0.2/K7MC3X"},
		{"http://10.77.0.200", "HTTP://10.77.0.200/K7MC3X"},
		{"http://192.168.1.10", "HTTP://3232235786/K7MC3X"},
		{"http://255.255.255.255", "HTTP://4294967295/K7MC3X"},
		{"http://10.0.0.1:80", "HTTP://10.0.0.1:80/K7MC3X"},
		{"http://192.168.1.10:8080", ""},
		{"http://[fd00::1]", "HTTP://[FD00::1]/K7MC3X"},
		{"http://[fd00::1234:5]", ""},
		{"http://a.lan", "HTTP://A.LAN/K7MC3X"},
		{"http://boot.example.org", ""},
		{"", ""},
	} {
		if got := claimAddress(test.literal, "K7MC3X"); got != test.want {
			t.Errorf("%s: %q, want %q", test.literal, got, test.want)
		}
	}
}

// TestSquareFitsTheScreen: 80 columns, the last of which would wrap, and 25 rows, of which
// the last two are iPXE's.
func TestSquareFitsTheScreen(t *testing.T) {
	site := Site{Literal: "http://255.255.255.255"}
	text := site.beside(testMAC, "K7MC3X")
	for _, line := range text {
		if len(line) > squareText {
			t.Errorf("%q is longer than %d", line, squareText)
		}
	}
	rows := square(site.Literal, "K7MC3X", text)
	if len(rows) != 23 || len(text) > len(rows) {
		t.Fatalf("%d rows, %d lines of text", len(rows), len(text))
	}
	for _, r := range rows {
		if cells := strings.NewReplacer("${w}", "", "${b}", "").Replace(r.Cells); len(cells) != squareColumns-1 || strings.Trim(cells, "=.") != "" {
			t.Errorf("%q has %d columns", r.Cells, len(cells))
		}
	}
}
