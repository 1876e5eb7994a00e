package setup

import (
	"net"
	"net/netip"
	"os"
)

// ServerNames returns what this host is reached by now, names and IP addresses:
// the name of base-host, the host's own name, and the addresses of all its
// interfaces, loopback included. What cannot be found out is left out.
func (c Config) ServerNames() []string {
	names := []string{"localhost", "127.0.0.1", "::1"}
	if c.BaseHost != nil {
		names = append(names, c.BaseHost.Hostname())
	}
	if name, err := os.Hostname(); err == nil {
		names = append(names, name)
	}
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && (p.Addr().Is4() || !p.Addr().IsLinkLocalUnicast()) {
			names = append(names, p.Addr().String())
		}
	}
	return names
}
