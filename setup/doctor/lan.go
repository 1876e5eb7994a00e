package doctor

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"farmboot/dhcp/persona"
	"farmboot/provisioning"
)

func checkDHCP(f Facts) []Finding {
	var all []Finding
	for _, l := range f.LANs {
		if l.Err != nil {
			all = append(all, warn(fmt.Sprintf("nobody could be asked on %s: %v", l.Interface.Name, l.Err), "so other DHCP and PXE servers there are not known", "run the doctor as root"))
			continue
		}
		var servers []netip.Addr
		for _, o := range l.Offers {
			if o.Assigns && !slices.Contains(servers, o.Server) {
				servers = append(servers, o.Server)
			}
		}
		switch len(servers) {
		case 0:
			all = append(all, stop(
				fmt.Sprintf("no DHCP server offers addresses on %s", l.Interface.Name),
				"nodes get their address from the LAN's own DHCP server; we add only what to boot",
				"start one (often the router has it), let it serve machines that it does not know, and check cables and VLANs"))
		case 1:
			all = append(all, ok("%s offers addresses on %s", servers[0], l.Interface.Name))
		default:
			all = append(all, warn(fmt.Sprintf("%d DHCP servers offer addresses on %s: %s", len(servers), l.Interface.Name, addrList(servers)), "each gives out addresses without knowing of the others'", "leave one of them on, unless they are set up to share the work"))
		}
	}
	return all
}

// checkOtherServers looks for others who tell nodes what to boot.
func checkOtherServers(f Facts) []Finding {
	var all []Finding
	for _, l := range f.LANs {
		said := make(map[netip.Addr]bool)
		for _, o := range l.Offers {
			if said[o.Server] || slices.Contains(f.Own, o.Server) {
				continue
			}
			switch {
			case o.Assigns && o.boots():
				all = append(all, stop(
					fmt.Sprintf("the DHCP server %s on %s says itself what to boot: option 60 is %s, the boot file %q", o.Server, l.Interface.Name, o.Class, o.File),
					"firmware takes that and does not look at our offer",
					"remove options 60, 66 and 67 (the network boot settings) from that DHCP server"))
			case o.boots():
				all = append(all, warn(
					fmt.Sprintf("another PXE server, %s, answers on %s too, with the boot file %q", o.Server, l.Interface.Name, o.File),
					"which of the two a node listens to is chance",
					"stop it, unless it is an appliance that boots the same nodes"))
			case o.Assigns && o.File != "":
				all = append(all, warn(
					fmt.Sprintf("the DHCP server %s on %s names a boot file, %q", o.Server, l.Interface.Name, o.File),
					"some firmware takes that, not ours",
					"remove options 66 and 67 (the network boot settings) from that DHCP server"))
			default:
				continue
			}
			said[o.Server] = true
		}
		if len(said) == 0 && l.Err == nil {
			all = append(all, ok("nobody else on %s tells nodes what to boot", l.Interface.Name))
		}
	}
	return all
}

// checkFirmware judges what became of the machines that were played on the LAN.
func checkFirmware(f Facts) []Finding {
	if !f.Running || !f.Config.DHCP.Enabled {
		return nil
	}
	var all []Finding
	for _, l := range f.LANs {
		for _, r := range l.Results {
			all = append(all, judge(f, l, r)...)
		}
	}
	return all
}

func judge(f Facts, l LAN, r persona.Result) []Finding {
	ours := r.Boot != nil && slices.Contains(f.Own, r.Boot.Server)
	machine := fmt.Sprintf("a machine with the firmware %q", r.Persona)
	at := l.Interface.Name
	switch {
	case !slices.ContainsFunc(l.Offers, func(o Offer) bool { return o.Assigns }):
		return nil // without an address nothing boots: checkDHCP says so
	case r.Err == nil && ours:
		return []Finding{ok("%s boots from us on %s: %s", machine, at, r.Boot.File)}
	case r.Boot != nil && !ours:
		return []Finding{stop(
			fmt.Sprintf("%s boots from %s on %s, not from us: %q", machine, r.Boot.Server, at, r.Boot.File),
			"it prefers that server's offer",
			"stop that server, or take the network boot settings out of it")}
	case f.Config.Provisioning.Unknown == provisioning.Ignore:
		return nil // ours is not registered, so the daemon is right not to answer
	}
	err := r.Err
	if err == nil {
		err = persona.ErrNoBootOffer // it would start from its disk
	}
	mend := "let UDP port 67 in through the firewall; look into farmboot's log, with debug = true"
	switch {
	case slices.ContainsFunc(l.Offers, func(o Offer) bool { return o.boots() && !slices.Contains(f.Own, o.Server) }):
		mend = "mend first what is said of pxe"
	case errors.Is(err, persona.ErrNoBootServer):
		mend = fmt.Sprintf("let UDP port %d in through the firewall", f.Config.DHCP.BootServerPort)
	}
	return []Finding{stop(fmt.Sprintf("%s does not boot on %s: %v", machine, at, err), thrownAway(r), mend)}
}

// thrownAway tells of replies that firmware ignored; "" if there were none.
func thrownAway(r persona.Result) string {
	var list []string
	for _, i := range r.Ignored {
		list = append(list, fmt.Sprintf("it threw away a reply of %s: %v", i.From.Addr(), i.Why))
	}
	return strings.Join(slices.Compact(list), "; ")
}
