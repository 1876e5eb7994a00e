package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"farmboot/setup"
)

// Rival is another server that tells nodes what to boot.
type Rival struct {
	Finding
	Server    netip.Addr
	Interface string
}

// Rivals plays machines on our LANs, as [Gather] does, and returns who else would make
// them boot something. Another appliance that boots them as we do is none. The error is
// about LANs on which no machine could be played; the others are told of all the same.
func Rivals(ctx context.Context, c setup.Config) (all []Rival, err error) {
	lans, err := c.Interfaces()
	if err != nil {
		return nil, err
	}
	f := Facts{Config: c, Own: ownAddresses(), LANs: listen(ctx, c, lans)}
	var errs []error
	for _, l := range f.LANs {
		if l.Err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", l.Interface.Name, l.Err))
		}
		all = append(all, rivals(f, l)...)
	}
	return all, errors.Join(errs...)
}

// rivals finds those on one LAN.
func rivals(f Facts, l LAN) (all []Rival) {
	for _, server := range others(f, l) {
		if !appliance(f, l, server) {
			all = append(all, Rival{Finding: checkOther(l, server), Server: server, Interface: l.Interface.Name})
		}
	}
	return all
}

// others are the servers on a LAN, but for us, that name something to boot.
func others(f Facts, l LAN) (servers []netip.Addr) {
	for _, o := range l.Offers {
		if (o.boots() || o.Assigns && o.File != "") && !slices.Contains(f.Own, o.Server) && !slices.Contains(servers, o.Server) {
			servers = append(servers, o.Server)
		}
	}
	return servers
}
