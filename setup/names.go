package setup

import (
	"fmt"
	"net"
	"net/netip"
	"os"

	"farmboot/setup/ca"
)

// ServerNames returns what this host is reached by now: the name of base-host, the
// host's own name, and the addresses of all its interfaces, loopback included. What cannot be found out is left out.
func (c Config) ServerNames() ca.Names {
	names := ca.Names{
		DNS: []string{"localhost"},
		IPs: []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()},
	}
	if c.BaseHost != nil {
		name := c.BaseHost.Hostname()
		if ip, err := netip.ParseAddr(name); err == nil {
			names.IPs = append(names.IPs, ip)
		} else {
			names.DNS = append(names.DNS, name)
		}
	}
	if name, err := os.Hostname(); err == nil {
		names.DNS = append(names.DNS, name)
	}
	addrs, _ := net.InterfaceAddrs()
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && (p.Addr().Is4() || !p.Addr().IsLinkLocalUnicast()) {
			names.IPs = append(names.IPs, p.Addr())
		}
	}
	return names
}

// Certificates prepares the HTTPS server's identity: from the operator's files if
// the configuration names some, else from our own authority under state.
func (c Config) Certificates(o ca.Options) (*ca.Server, error) {
	o.Dir = c.State + "/ca"
	o.CertFile, o.KeyFile = c.HTTP.TLSCert, c.HTTP.TLSKey
	o.Names = c.ServerNames
	s, err := ca.Open(o)
	if err != nil {
		return nil, fmt.Errorf("certificates: %w", err)
	}
	return s, nil
}
