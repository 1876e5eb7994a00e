package setup

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Interface is a network interface of this host.
type Interface struct {
	Name     string
	Index    int
	MTU      int // bytes
	Up       bool
	Loopback bool
	Prefixes []netip.Prefix // its IPv4 addresses with their networks, link-local ones last
}

// Addr returns the IPv4 address that nodes reach us by on this interface; the
// zero Addr if it has none.
func (i Interface) Addr() netip.Addr {
	if len(i.Prefixes) == 0 {
		return netip.Addr{}
	}
	return i.Prefixes[0].Addr()
}

// Interfaces returns the LAN interfaces: those that c names or, if it names none,
// the one with the default route, or else the only one that could be meant. Each
// is up and has an IPv4 address. The error says what is wrong with which
// interface and which ones there are; trying again later may help, for addresses
// come late on a host that is starting.
func (c Config) Interfaces() ([]Interface, error) {
	fit, missing, err := c.Survey("")
	if err == nil && len(missing) > 0 {
		err = missing[0]
	}
	if err != nil {
		return nil, err
	}
	return fit, nil
}

// Survey is Interfaces for one who can wait: it returns the LAN interfaces that are
// fit to be served now, and for each of the others what it lacks. former is the
// interface that was served before; without a default route it is still the LAN's.
func (c Config) Survey(former string) (fit []Interface, missing []error, err error) {
	host, err := hostInterfaces()
	if err != nil {
		return nil, nil, err
	}
	routed := ""
	if len(c.Network.Interfaces) == 0 {
		if routed, err = defaultRoute(); err != nil {
			return nil, nil, err
		}
	}
	fit, missing = c.Network.choose(host, routed, former)
	return fit, missing, nil
}

// choose is [Config.Survey] of a host with those interfaces, of which routed has the
// default route; "": none has.
func (n Network) choose(host []Interface, routed, former string) (fit []Interface, missing []error) {
	if len(n.Interfaces) > 0 {
		fit, missing = named(host, n.Interfaces)
	} else {
		fit, missing = guess(host, cmp.Or(routed, former))
		if missing != nil && routed == "" && former != "" {
			fit, missing = guess(host, "")
		}
	}
	if !n.Address.IsValid() || len(fit) == 0 {
		return fit, missing
	}
	known := false
	for i, f := range fit {
		fit[i].Prefixes = slices.Clone(f.Prefixes)
		slices.SortStableFunc(fit[i].Prefixes, func(a, b netip.Prefix) int {
			return cmp.Compare(n.rank(a), n.rank(b))
		})
		known = known || n.rank(fit[i].Prefixes[0]) == 0
	}
	if !known {
		missing = append(missing, fmt.Errorf("network.address: no address of ours is in %s; this host has %s", n.Address, survey(host)))
	}
	return fit, missing
}

// rank sorts our addresses: those that network.address means come first.
func (n Network) rank(p netip.Prefix) int {
	if n.Address.Contains(p.Addr()) {
		return 0
	}
	return 1
}

// hostInterfaces returns all network interfaces of this host.
func hostInterfaces() ([]Interface, error) {
	list, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list network interfaces: %w", err)
	}
	host := make([]Interface, 0, len(list))
	for _, i := range list {
		addrs, err := i.Addrs()
		if err != nil {
			continue // it has just gone
		}
		host = append(host, Interface{
			Name:     i.Name,
			Index:    i.Index,
			MTU:      i.MTU,
			Up:       i.Flags&net.FlagUp != 0,
			Loopback: i.Flags&net.FlagLoopback != 0,
			Prefixes: prefixes(addrs),
		})
	}
	return host, nil
}

// prefixes returns the IPv4 addresses, in the kernel's order but for link-local
// ones (RFC 3927), which come last: nodes rarely have one of those themselves.
func prefixes(addrs []net.Addr) []netip.Prefix {
	var usual, linkLocal []netip.Prefix
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.String())
		switch {
		case err != nil || !p.Addr().Is4():
		case p.Addr().IsLinkLocalUnicast():
			linkLocal = append(linkLocal, p)
		default:
			usual = append(usual, p)
		}
	}
	return append(usual, linkLocal...)
}

// named returns the interfaces with those names, in that order, as far as they are
// fit, and what the others lack.
func named(host []Interface, names []string) (fit []Interface, missing []error) {
	for _, name := range names {
		n := slices.IndexFunc(host, func(i Interface) bool { return i.Name == name })
		if n < 0 {
			missing = append(missing, fmt.Errorf("network.interface: there is no interface %q; this host has %s", name, survey(host)))
		} else if why := host[n].unfit(); why != "" {
			missing = append(missing, fmt.Errorf("network.interface: interface %q %s; this host has %s", name, why, survey(host)))
		} else {
			fit = append(fit, host[n])
		}
	}
	return fit, missing
}

// guess returns the interface called routed, which has the default route, or, if
// no interface has one, the only interface that is fit to be the LAN's.
func guess(host []Interface, routed string) (fit []Interface, missing []error) {
	if routed != "" {
		fit, missing = named(host, []string{routed})
		for i, err := range missing {
			missing[i] = fmt.Errorf("%w; network.interface is empty, and this is the one with the default route", err)
		}
		return fit, missing
	}
	fit = slices.DeleteFunc(slices.Clone(host), func(i Interface) bool { return i.Loopback || i.unfit() != "" })
	if len(fit) != 1 {
		return nil, []error{fmt.Errorf("network.interface is empty and no interface has a default route: name the LAN's interface; this host has %s", survey(host))}
	}
	return fit, nil
}

// unfit says why nodes cannot be served on an interface; "" if they can.
func (i Interface) unfit() string {
	switch {
	case !i.Up:
		return "is down"
	case len(i.Prefixes) == 0:
		return "has no IPv4 address"
	}
	return ""
}

// survey lists interfaces with their addresses, for messages.
func survey(host []Interface) string {
	if len(host) == 0 {
		return "none"
	}
	list := make([]string, len(host))
	for n, i := range host {
		list[n] = fmt.Sprintf("%s (%s)", i.Name, cmp.Or(i.unfit(), i.Addr().String()))
	}
	return strings.Join(list, ", ")
}

// defaultRoute returns the name of the interface with the IPv4 default route; ""
// if there is none.
func defaultRoute() (string, error) {
	f, err := os.Open("/proc/net/route")
	if err != nil {
		return "", fmt.Errorf("find the default route: %w", err)
	}
	defer f.Close()
	name, err := parseRoutes(f)
	if err != nil {
		return "", fmt.Errorf("find the default route: %w", err)
	}
	return name, nil
}

// parseRoutes reads the format of /proc/net/route (proc_net(5)) and returns the
// interface of the default route with the lowest metric.
func parseRoutes(r io.Reader) (string, error) {
	// Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT
	const iface, destination, flags, metric, mask = 0, 1, 3, 6, 7
	const rtfUp, rtfReject = 0x1, 0x200
	best, least := "", uint64(0)
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) <= mask || f[destination] != "00000000" || f[mask] != "00000000" {
			continue
		}
		bits, err := strconv.ParseUint(f[flags], 16, 32)
		if err != nil || bits&rtfUp == 0 || bits&rtfReject != 0 {
			continue
		}
		m, err := strconv.ParseUint(f[metric], 10, 32)
		if err != nil {
			return "", fmt.Errorf("route of %s: metric %q", f[iface], f[metric])
		}
		if best == "" || m < least {
			best, least = f[iface], m
		}
	}
	return best, lines.Err()
}

// URLs are the URLs by which one network reaches us: scheme, host and, where it
// is not the scheme's own, port; no slash at the end.
type URLs struct {
	Base    string // what scripts and images say: base-host, else Literal
	Literal string // plain HTTP by address, for firmware and nodes without DNS
	Admin   string // HTTPS, by the name of base-host if that has one
}

// URLs returns the URLs for nodes that reach us at addr.
func (c Config) URLs(addr netip.Addr) URLs {
	u := URLs{
		Literal: origin("http", addr.String(), c.HTTP.Port),
		Admin:   origin("https", addr.String(), c.HTTP.TLSPort),
	}
	u.Base = u.Literal
	if b := c.BaseHost; b != nil {
		u.Base = b.String()
		u.Admin = origin("https", b.Hostname(), c.HTTP.TLSPort)
		if b.Scheme == "https" {
			u.Admin = u.Base
		}
	}
	return u
}

// origin writes a URL of scheme, host and port, the latter if it is not the
// scheme's own.
func origin(scheme, host string, port uint16) string {
	u := url.URL{Scheme: scheme, Host: host}
	if strings.Contains(host, ":") {
		u.Host = "[" + host + "]"
	}
	if scheme == "http" && port != 80 || scheme == "https" && port != 443 {
		u.Host = net.JoinHostPort(host, strconv.Itoa(int(port)))
	}
	return u.String()
}
