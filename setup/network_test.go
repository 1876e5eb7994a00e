package setup

import (
	"errors"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func iface(name string, up bool, prefixes ...string) Interface {
	i := Interface{Name: name, Up: up, Loopback: name == "lo"}
	for _, p := range prefixes {
		i.Prefixes = append(i.Prefixes, netip.MustParsePrefix(p))
	}
	return i
}

func names(list []Interface) string {
	var s []string
	for _, i := range list {
		s = append(s, i.Name)
	}
	return strings.Join(s, " ")
}

func TestChooseInterfaces(t *testing.T) {
	host := []Interface{
		iface("lo", true, "127.0.0.1/8"),
		iface("eth0", true, "192.0.2.2/24"),
		iface("eth1", true, "198.51.100.1/24", "198.51.100.9/24"),
		iface("down0", false, "203.0.113.1/24"),
		iface("bare0", true),
	}
	const survey = "lo (127.0.0.1), eth0 (192.0.2.2), eth1 (198.51.100.1), down0 (is down), bare0 (has no IPv4 address)"
	tests := []struct {
		name   string
		host   []Interface
		names  []string // configured
		routed string
		want   string // interfaces
		err    string
	}{
		{"configured, in their order", host, []string{"eth1", "eth0"}, "eth0", "eth1 eth0", ""},
		{"loopback by name", host, []string{"lo"}, "", "lo", ""},
		{"default route", host, nil, "eth1", "eth1", ""},
		{"no route, one fit", host[:2], nil, "", "eth0", ""},
		{"no route, two fit", host, nil, "", "", "network.interface is empty and no interface has a default route: name the LAN's interface; this host has " + survey},
		{"no route, only loopback", host[:1], nil, "", "", "network.interface is empty and no interface has a default route: name the LAN's interface; this host has lo (127.0.0.1)"},
		{"absent", host, []string{"eth0", "eth7"}, "", "eth0", `network.interface: there is no interface "eth7"; this host has ` + survey},
		{"down", host, []string{"down0"}, "", "", `network.interface: interface "down0" is down; this host has ` + survey},
		{"no address", host, []string{"bare0"}, "", "", `network.interface: interface "bare0" has no IPv4 address; this host has ` + survey},
		{"no address yet on the default route", host, nil, "bare0", "", `network.interface: interface "bare0" has no IPv4 address; this host has ` + survey + "; network.interface is empty, and this is the one with the default route"},
		{"nothing at all", nil, nil, "", "", "network.interface is empty and no interface has a default route: name the LAN's interface; this host has none"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, missing := Network{Interfaces: tt.names}.choose(tt.host, tt.routed, "")
			if names(got) != tt.want {
				t.Errorf("chose %q, want %q", names(got), tt.want)
			}
			if message := errorText(errors.Join(missing...)); message != tt.err {
				t.Errorf("missing\n%q, want\n%q", message, tt.err)
			}
		})
	}
}

// TestChooseLater: what is there is served while the rest is awaited, and a LAN stays
// the LAN when its default route goes.
func TestChooseLater(t *testing.T) {
	eth0, eth1, bare := iface("eth0", true, "192.0.2.2/24"), iface("eth1", true, "198.51.100.1/24"), iface("eth1", true)
	tests := []struct {
		name           string
		names          []string
		host           []Interface
		routed, former string
		want           string
		missing        int
	}{
		{"one of two has no address yet", []string{"eth0", "eth1"}, []Interface{eth0, bare}, "", "", "eth0", 1},
		{"neither is there", []string{"eth0", "eth1"}, nil, "", "", "", 2},
		{"default route moves", nil, []Interface{eth0, eth1}, "eth1", "eth0", "eth1", 0},
		{"default route goes", nil, []Interface{eth0, eth1}, "", "eth0", "eth0", 0},
		{"interface goes with its route, one remains", nil, []Interface{eth0}, "", "eth1", "eth0", 0},
		{"interface goes with its route, none remains", nil, nil, "", "eth1", "", 1},
	}
	for _, tt := range tests {
		got, missing := Network{Interfaces: tt.names}.choose(tt.host, tt.routed, tt.former)
		if names(got) != tt.want || len(missing) != tt.missing {
			t.Errorf("%s: chose %q, missing %v; want %q and %d", tt.name, names(got), missing, tt.want, tt.missing)
		}
	}
}

func TestConfiguredAddressComesFirst(t *testing.T) {
	host := []Interface{iface("eth0", true, "192.0.2.2/24", "10.77.0.2/16", "10.77.0.3/16")}
	for address, want := range map[string]string{
		"0.0.0.0/0": "192.0.2.2", "10.0.0.0/8": "10.77.0.2", "10.77.0.3/32": "10.77.0.3", "172.16.0.0/12": "192.0.2.2",
	} {
		n := Network{Interfaces: []string{"eth0"}, Address: netip.MustParsePrefix(address)}
		got, missing := n.choose(host, "", "")
		if len(got) != 1 || got[0].Addr().String() != want {
			t.Errorf("%s: chose %v, want %s", address, got, want)
		}
		if wrong := address == "172.16.0.0/12"; wrong != (len(missing) == 1) {
			t.Errorf("%s: missing %v", address, missing)
		}
	}
	if host[0].Addr().String() != "192.0.2.2" {
		t.Error("choose changed what it was given")
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestInterfacesOfThisHost(t *testing.T) {
	c := Default()
	c.Network.Interfaces = []string{"lo"}
	got, err := c.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0].Addr() != netip.MustParseAddr("127.0.0.1") || got[0].Index == 0 || got[0].MTU == 0 {
		t.Errorf("lo is %+v", got)
	}
}

func TestPrefixesPutLinkLocalLast(t *testing.T) {
	var addrs []net.Addr
	for _, s := range []string{"fe80::1/64", "169.254.7.7/16", "192.0.2.2/24", "198.51.100.1/32"} {
		ip, n, err := net.ParseCIDR(s)
		if err != nil {
			t.Fatal(err)
		}
		addrs = append(addrs, &net.IPNet{IP: ip, Mask: n.Mask})
	}
	want := []netip.Prefix{netip.MustParsePrefix("192.0.2.2/24"), netip.MustParsePrefix("198.51.100.1/32"), netip.MustParsePrefix("169.254.7.7/16")}
	if d := cmp.Diff(want, prefixes(addrs), cmpopts.EquateComparable(netip.Prefix{})); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestParseRoutes(t *testing.T) {
	const head = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
	tests := []struct{ name, table, want string }{
		{"empty", head, ""},
		{"one", head + "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\neth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n", "eth0"},
		{"lowest metric", head + "wlan0\t00000000\t010200C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\neth0\t00000000\t010200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0\n", "eth0"},
		{"unreachable", head + "*\t00000000\t00000000\t0201\t0\t0\t0\t00000000\t0\t0\t0\n", ""},
		{"half of everything", head + "tun0\t00000000\t010200C0\t0003\t0\t0\t0\t00000080\t0\t0\t0\n", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseRoutes(strings.NewReader(tt.table))
			if got != tt.want || err != nil {
				t.Errorf("found %q, error %v; want %q", got, err, tt.want)
			}
		})
	}
}

func TestURLs(t *testing.T) {
	lan := iface("eth0", true, "192.0.2.2/24")
	tests := []struct {
		base          string
		port, tlsPort uint16
		want          URLs
	}{
		{"", 80, 443, URLs{Base: "http://192.0.2.2", Literal: "http://192.0.2.2", Admin: "https://192.0.2.2"}},
		{"", 8080, 8443, URLs{Base: "http://192.0.2.2:8080", Literal: "http://192.0.2.2:8080", Admin: "https://192.0.2.2:8443"}},
		{"http://boot.lan:8080", 8080, 8443, URLs{Base: "http://boot.lan:8080", Literal: "http://192.0.2.2:8080", Admin: "https://boot.lan:8443"}},
		{"https://boot.example.org", 8080, 8443, URLs{Base: "https://boot.example.org", Literal: "http://192.0.2.2:8080", Admin: "https://boot.example.org"}},
		{"http://[2001:db8::1]", 80, 443, URLs{Base: "http://[2001:db8::1]", Literal: "http://192.0.2.2", Admin: "https://[2001:db8::1]"}},
	}
	for _, tt := range tests {
		c := Default()
		c.HTTP.Port, c.HTTP.TLSPort = tt.port, tt.tlsPort
		if tt.base != "" {
			u, err := url.Parse(tt.base)
			if err != nil {
				t.Fatal(err)
			}
			c.BaseHost = u
		}
		if d := cmp.Diff(tt.want, c.URLs(lan.Addr())); d != "" {
			t.Errorf("base-host %q, ports %d, %d (-want +got):\n%s", tt.base, tt.port, tt.tlsPort, d)
		}
	}
}
