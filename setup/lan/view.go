package lan

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"farmboot/setup"
)

// View is the network as it is at one moment. Nothing in it changes.
type View struct {
	// LANs are the interfaces that machines boot from, each up and with an address.
	LANs []setup.Interface
	// Missing says, a line each, what keeps others from being served that the
	// configuration wants.
	Missing []string

	cfg      setup.Config
	urls     map[netip.Addr]setup.URLs
	outdated chan struct{}
}

// newView is the view of a network; the configuration makes its URLs.
func newView(cfg setup.Config, lans []setup.Interface, missing []error) *View {
	v := &View{LANs: lans, cfg: cfg, urls: make(map[netip.Addr]setup.URLs), outdated: make(chan struct{})}
	for _, err := range missing {
		v.Missing = append(v.Missing, err.Error())
	}
	for _, l := range lans {
		for _, p := range l.Prefixes {
			v.urls[p.Addr()] = cfg.URLs(p.Addr())
		}
	}
	return v
}

// Outdated is closed when there is a newer view.
func (v *View) Outdated() <-chan struct{} { return v.outdated }

// URLs are the URLs for those who reach us at that address of ours. Where it is none
// of a LAN's they are the first LAN's; while there is no LAN, those of the address
// itself, or of this host for itself.
func (v *View) URLs(local netip.Addr) setup.URLs {
	if u, ok := v.urls[local]; ok {
		return u
	}
	switch {
	case len(v.LANs) > 0:
		return v.urls[v.LANs[0].Addr()]
	case local.IsValid():
		return v.cfg.URLs(local)
	}
	return v.cfg.URLs(netip.AddrFrom4([4]byte{127, 0, 0, 1}))
}

// Near tells whether an address is in the networks that machines boot from, or of this
// host.
func (v *View) Near(a netip.Addr) bool {
	return a.IsLoopback() || a.IsLinkLocalUnicast() || slices.ContainsFunc(v.LANs, func(l setup.Interface) bool {
		return slices.ContainsFunc(l.Prefixes, func(p netip.Prefix) bool { return p.Contains(a) })
	})
}

// Equal tells whether two views show the same.
func (v *View) Equal(w *View) bool { return v.sameNetwork(w) && maps.Equal(v.urls, w.urls) }

// sameNetwork tells whether two views differ in nothing but what the configuration makes of the
// network.
func (v *View) sameNetwork(w *View) bool {
	return slices.EqualFunc(v.LANs, w.LANs, func(a, b setup.Interface) bool {
		return a.Name == b.Name && a.Index == b.Index && slices.Equal(a.Prefixes, b.Prefixes)
	}) && slices.Equal(v.Missing, w.Missing)
}

// String lists interfaces and addresses: "eth0 10.77.0.2 192.0.2.2, eth1 198.51.100.1".
func (v *View) String() string {
	if len(v.LANs) == 0 {
		return "none"
	}
	list := make([]string, len(v.LANs))
	for i, l := range v.LANs {
		list[i] = l.Name
		for _, p := range l.Prefixes {
			list[i] += " " + p.Addr().String()
		}
	}
	return strings.Join(list, ", ")
}
