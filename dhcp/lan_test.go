package dhcp_test

import (
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"farmboot/dhcp"
	"farmboot/setup/lab"
	"farmboot/setup/needs"
)

// newLAN makes a LAN with an ordinary dnsmasq, our host and another one. Our
// host's address is not the first one of its interface, and it has no default
// route: neither may matter.
func newLAN(t *testing.T) (ours, other *lab.Host) {
	t.Helper()
	needs.Root(t)
	needs.Program(t, "dnsmasq", "dnsmasq-base")
	needs.Program(t, "ip", "iproute2")
	lan, err := lab.New(lab.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lan.Close(); err != nil {
			t.Error(err)
		}
	})
	ours, err = lan.Join(0)
	if err != nil {
		t.Fatal(err)
	}
	other, err = lan.Join(0)
	if err != nil {
		t.Fatal(err)
	}
	ip(t, ours, "addr del "+ours.Addr().String()+"/16 dev "+lab.Interface)
	ip(t, ours, "addr add 10.77.200.1/16 dev "+lab.Interface)
	ip(t, ours, "addr add "+ours.Addr().String()+"/16 dev "+lab.Interface)
	return ours, other
}

// ip runs the ip command on a host.
func ip(t *testing.T, h *lab.Host, args string) string {
	t.Helper()
	var out []byte
	err := h.Do(func() (err error) {
		out, err = exec.Command("ip", strings.Fields(args)...).CombinedOutput()
		return err
	})
	if err != nil {
		t.Fatalf("ip %s: %v\n%s", args, err, out)
	}
	return string(out)
}

// listen opens our sockets on a host.
func listen(t *testing.T, h *lab.Host, services map[dhcp.Service]int) []*dhcp.Conn {
	t.Helper()
	var conns []*dhcp.Conn
	err := h.Do(func() error {
		link := linkOf(h)
		for service, port := range services {
			conn, err := dhcp.Listen(t.Context(), service, link, port)
			if err != nil {
				return err
			}
			conns = append(conns, conn)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return conns
}

// linkOf is a host's link to the LAN, of which it knows one address.
func linkOf(h *lab.Host) *dhcp.Link {
	return dhcp.NewLink(lab.Interface, 0, local(h.Addr().String()+"/16"))
}

// local is an address of ours with its network.
func local(prefix string) dhcp.Local {
	p := netip.MustParsePrefix(prefix)
	return dhcp.Local{Prefix: p, BaseURL: "http://" + p.Addr().String()}
}
