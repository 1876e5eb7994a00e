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
	if host := c.BaseHostname(); host != "" {
		names = append(names, host)
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

// BaseHostname is the name, or the address, that base-host has nodes and farmers reach us by; ""
// where it is not set.
func (c Config) BaseHostname() string {
	if c.BaseHost == nil {
		return ""
	}
	return c.BaseHost.Hostname()
}
