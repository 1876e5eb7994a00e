package lab

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseLeases(t *testing.T) {
	got, err := parseLeases("1795500000 52:54:00:00:00:b1 10.77.1.7 * 01:52:54:00:00:00:b1\n1795500001 52:54:00:00:00:b2 10.77.1.8 node *\n")
	if err != nil {
		t.Fatal(err)
	}
	want := []Lease{
		{MAC: "52:54:00:00:00:b1", Addr: netip.MustParseAddr("10.77.1.7")},
		{MAC: "52:54:00:00:00:b2", Addr: netip.MustParseAddr("10.77.1.8")},
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for _, bad := range []string{"duid 00:01\n", "1 node 10.77.1.7 * *\n", "1 52:54:00:00:00:b1 ten * *\n"} {
		if got, err := parseLeases(bad); err == nil {
			t.Errorf("parseLeases(%q) = %v, want an error", bad, got)
		}
	}
}

func TestDisturbance(t *testing.T) {
	for line, want := range map[string]bool{
		"dnsmasq-dhcp: 123 DHCPACK(lan0) 10.77.1.7 52:54:00:00:00:b1":                           false,
		"dnsmasq-dhcp: 123 requested options: 1:netmask, 3:router":                              false,
		"dnsmasq-dhcp: 123 DHCPNAK(lan0) 10.77.1.7 52:54:00:00:00:b1 wrong server-ID":           true,
		"dnsmasq-dhcp: 123 DHCPDECLINE(lan0) 10.77.1.7 52:54:00:00:00:b1":                       true,
		"dnsmasq-dhcp: 123 DHCPDISCOVER(lan0) 52:54:00:00:00:b1 no address available":           true,
		"dnsmasq-dhcp: 123 not using configured address 10.77.1.7 because it is in use by host": true,
	} {
		if got := disturbance.MatchString("before\n" + line + "\nafter"); got != want {
			t.Errorf("%q: %v, want %v", line, got, want)
		}
	}
}
