package doctor

import (
	"errors"
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	"farmboot/dhcp/fakeclient"
	"farmboot/provisioning"
	"farmboot/setup"
)

// slowDHCP is how long firmware waits before it asks again (PXE 2.1 section 2.2.2).
const slowDHCP = 4 * time.Second

// checkDHCP judges the servers that give machines their address.
func checkDHCP(f Facts) []Finding {
	var all []Finding
	for _, l := range f.LANs {
		at := l.Interface.Name
		if l.Err != nil {
			all = append(all, warn(fmt.Sprintf("nobody could be asked on %s: %v", at, l.Err), "what its DHCP servers answer is not known", "run the doctor as root"))
			continue
		}
		offers := l.assigning()
		var servers []netip.Addr
		first := time.Hour
		for _, o := range offers {
			first = min(first, o.After)
			if !slices.Contains(servers, o.Server) {
				servers = append(servers, o.Server)
			}
		}
		switch len(servers) {
		case 0:
			all = append(all, stop(
				fmt.Sprintf("no DHCP server offers addresses on %s; it was listened to for a minute", at),
				"a node needs an address, and we give none",
				"plug the LAN's DHCP server (often the router) into this LAN, or switch it on; look at cable and VLAN of "+at))
		case 1:
			all = append(all, ok("the DHCP server %s offers addresses on %s", servers[0], at))
		default:
			all = append(all, warn(fmt.Sprintf("%d DHCP servers offer addresses on %s: %s", len(servers), at, list(servers)), "each gives out addresses without knowing of the others'", "leave one of them on, unless they are set up to share the work"))
		}
		if len(servers) > 0 && first > slowDHCP {
			all = append(all, warn(
				fmt.Sprintf("the first address on %s was offered after %d seconds", at, int(first.Seconds())),
				"firmware asks again after 4, 8 and 16 seconds, and some gives up before; each boot takes that much longer",
				"let the DHCP server answer at once (a check whether the address is in use, or a delay, is set there); switch on fast forwarding (portfast) at the switch"))
		}
		all = append(all, checkNoProxy(l)...)
		all = append(all, checkNetwork(f, l)...)
	}
	return all
}

// checkNoProxy looks for the option that makes iPXE ROMs ignore us.
func checkNoProxy(l LAN) []Finding {
	for _, o := range l.assigning() {
		if o.NoProxy {
			return []Finding{stop(
				fmt.Sprintf("the DHCP server %s on %s sends option 175 with sub-option 176 (no-pxedhcp)", o.Server, l.Interface.Name),
				"iPXE in a network card's ROM, as virtual machines have it, then ignores us",
				"take that option out of the DHCP server: in dnsmasq the line dhcp-option=175,b0:01:01; in ISC dhcpd the line option ipxe.no-pxedhcp 1;")}
		}
	}
	return nil
}

// checkNetwork holds the address that we name against the network that machines get
// their addresses in.
func checkNetwork(f Facts, l LAN) []Finding {
	var named []netip.Addr
	for _, o := range l.Offers {
		if slices.Contains(f.Own, o.Server) && o.Next.IsValid() && !slices.Contains(named, o.Next) {
			named = append(named, o.Next)
		}
	}
	if len(named) == 0 {
		named = []netip.Addr{l.Interface.Addr()}
	}
	for _, o := range l.assigning() {
		if !o.Network.IsValid() || slices.ContainsFunc(named, o.Network.Contains) {
			continue
		}
		what := fmt.Sprintf("nodes on %s get addresses in %s, and are told to boot from %s", l.Interface.Name, o.Network, list(named))
		for _, p := range l.Interface.Prefixes {
			if o.Network.Contains(p.Addr()) {
				return []Finding{stop(what, "they do not reach that address", fmt.Sprintf("set [network] address = %q", p.Addr()))}
			}
		}
		if slices.ContainsFunc(f.Own, o.Network.Contains) {
			return []Finding{stop(what, "they do not reach that address", "set [network] interface to the interface that has an address in "+o.Network.String())}
		}
		mend := fmt.Sprintf("give %s an address in that network: ip address add …/%d dev %[1]s, and in the host's own configuration", l.Interface.Name, o.Network.Bits())
		if o.NoRoute {
			return []Finding{stop(what, fmt.Sprintf("this host has no route to %s, so no answer of ours reaches them", o.Network), mend)}
		}
		if !o.Gateway {
			return []Finding{stop(what, "the DHCP server names no router, so they do not reach that address", mend)}
		}
		return []Finding{warn(what, "they reach it only if the router of that network leads there", mend)}
	}
	return nil
}

// checkOtherServers looks for others who tell nodes what to boot.
func checkOtherServers(f Facts) []Finding {
	var all []Finding
	for _, l := range f.LANs {
		servers := others(f, l)
		for _, s := range servers {
			all = append(all, checkOther(l, s))
		}
		if len(servers) == 0 && l.Err == nil {
			all = append(all, ok("nobody else on %s tells nodes what to boot", l.Interface.Name))
		}
	}
	return all
}

// checkOther says of one server what it makes machines do.
func checkOther(l LAN, server netip.Addr) Finding {
	var assigns, boots bool
	for _, o := range l.Offers {
		if o.Server == server {
			assigns, boots = assigns || o.Assigns, boots || o.boots()
		}
	}
	effect := effectOf(l, server)
	switch {
	case assigns && boots:
		return stop(
			fmt.Sprintf("the DHCP server %s on %s says itself what to boot, with option 60: %s", server, l.Interface.Name, effect),
			"firmware takes that and does not look at our offer",
			"remove options 60, 66 and 67 (the network boot settings) from that DHCP server")
	case assigns:
		return warn(
			fmt.Sprintf("the DHCP server %s on %s names a boot file: %s", server, l.Interface.Name, effect),
			"some firmware takes that, not ours",
			"remove options 66 and 67 (the network boot settings) from that DHCP server")
	}
	return warn(
		fmt.Sprintf("another PXE server, %s, answers on %s too: %s", server, l.Interface.Name, effect),
		"whether a node boots from it or from us depends on its firmware, or on chance",
		"stop it, unless it is an appliance that boots the same nodes")
}

// effectOf says what a server alone makes each machine do.
func effectOf(l LAN, server netip.Addr) string {
	var list []string
	for _, m := range l.Machines {
		for _, a := range m.Alone {
			if a.Server == server {
				list = append(list, m.Persona+" "+effect(a))
			}
		}
	}
	if list == nil {
		return "nothing that was played here"
	}
	return strings.Join(list, "; ")
}

func effect(a Alone) string {
	switch {
	case errors.Is(a.Err, fakeclient.ErrMenu):
		return "shows its menu"
	case a.File != "" && a.Err != nil:
		return fmt.Sprintf("loads %q, and cannot run it", a.File)
	case a.File != "":
		return fmt.Sprintf("loads %q", a.File)
	case a.Choice.Server.IsValid():
		return fmt.Sprintf("asks %s on port 4011", a.Choice.Server)
	}
	return "boots nothing"
}

// checkFirmware judges what became of the machines that were played on the LAN.
func checkFirmware(f Facts) []Finding {
	if !f.Running || !f.Config.DHCP.Enabled {
		return nil
	}
	var all []Finding
	for _, l := range f.LANs {
		if len(l.assigning()) == 0 {
			continue // without an address nothing boots: checkDHCP says so
		}
		for _, m := range l.Machines {
			all = append(all, judge(f, l, m)...)
		}
	}
	return all
}

// judge says what a machine does, whichever server is faster.
func judge(f Facts, l LAN, m Machine) []Finding {
	machine := fmt.Sprintf("a machine with the firmware %q", m.Persona)
	at := l.Interface.Name
	var others []netip.Addr
	fromUs := false
	for _, c := range m.Choices {
		switch {
		case !c.Server.IsValid():
		case slices.Contains(f.Own, c.Server):
			fromUs = true
		case !slices.Contains(others, c.Server):
			others = append(others, c.Server)
		}
	}
	level := stop
	if !slices.ContainsFunc(others, func(other netip.Addr) bool { return !appliance(f, l, other) }) {
		level = warn
	}
	switch {
	case len(others) > 0 && fromUs:
		return []Finding{level(
			fmt.Sprintf("%s boots on %s from whoever is faster: from us or from %s", machine, at, list(others)),
			"it takes either offer",
			"stop that server, or take the network boot settings out of it")}
	case len(others) > 0:
		return []Finding{level(
			fmt.Sprintf("%s boots from %s on %s, not from us", machine, list(others), at),
			"it prefers that server's offer",
			"stop that server, or take the network boot settings out of it")}
	case m.Err == nil && m.Boot != nil && slices.Contains(f.Own, m.Boot.Server):
		return []Finding{ok("%s boots from us on %s: %s", machine, at, m.Boot.File)}
	case f.Config.Provisioning.Unknown == provisioning.Ignore:
		return nil // ours is not registered, so the daemon is right not to answer
	case errors.Is(m.Err, fakeclient.ErrNoLease), errors.Is(m.Err, fakeclient.ErrGaveUp):
		return []Finding{undecided(l, m, machine)}
	}
	return []Finding{notBooted(f, l, m, machine)}
}

// appliance tells whether a server makes all machines load what we make them load: it is
// another appliance.
func appliance(f Facts, l LAN, server netip.Addr) bool {
	loads := func(m Machine, is func(netip.Addr) bool) (fakeclient.Choice, bool) {
		n := slices.IndexFunc(m.Alone, func(a Alone) bool { return is(a.Server) })
		if n < 0 {
			return fakeclient.Choice{}, false
		}
		return m.Alone[n].Choice, true
	}
	same := 0
	for _, m := range l.Machines {
		ours, ok1 := loads(m, func(a netip.Addr) bool { return slices.Contains(f.Own, a) })
		theirs, ok2 := loads(m, func(a netip.Addr) bool { return a == server })
		scheme, _, _ := strings.Cut(ours.File, "://") // a URL has the server's address in it
		if !ok1 || !ok2 || !theirs.Server.IsValid() || path.Base(ours.File) != path.Base(theirs.File) || !strings.HasPrefix(theirs.File, scheme) {
			return false
		}
		same++
	}
	return same > 0
}

// undecided says what is known of a machine that came to no decision, on a LAN whose DHCP
// server answers others.
func undecided(l LAN, m Machine, machine string) Finding {
	seconds := int(m.Took.Seconds())
	if errors.Is(m.Err, fakeclient.ErrNoLease) {
		return warn(
			fmt.Sprintf("%s was offered no address on %s within %d seconds, and others were", machine, l.Interface.Name, seconds),
			"the LAN's DHCP server is slow or busy, has no address left, or does not answer such machines; whether they boot is not known",
			"look at that server's log and its free addresses, and run the doctor again")
	}
	return warn(
		fmt.Sprintf("%s had not decided on %s after %d seconds what it boots", machine, l.Interface.Name, seconds),
		"the LAN's DHCP server answered late; whether such machines boot is not known",
		"run the doctor again")
}

// notBooted says why a machine that ought to boot from us does not.
func notBooted(f Facts, l LAN, m Machine, machine string) Finding {
	err := m.Err
	if err == nil {
		err = fakeclient.ErrNoBootOffer // it would start from its disk
	}
	what := fmt.Sprintf("%s does not boot on %s: %v", machine, l.Interface.Name, err)
	mend := restart + "; its sockets may belong to an interface that is gone"
	switch {
	case slices.ContainsFunc(l.assigning(), func(o Offer) bool { return o.boots() || o.NoProxy && m.Persona == fakeclient.IPXEROM().Name }):
		mend = "mend first what is said of dhcp and pxe"
	case !f.Config.TFTP.Enabled && !overHTTP(m.Persona):
		mend = "set [tftp] enabled = true: such firmware gets its boot program by TFTP alone"
	case blocked(f, l.Interface):
		mend = "mend first what is said of the firewall"
	case errors.Is(err, fakeclient.ErrUnsigned):
		mend = "mend what is said of secure-boot, and start farmboot anew"
	case errors.Is(err, fakeclient.ErrNoBootServer):
		mend = fmt.Sprintf("see that UDP port %d is ours, and open; %s", f.Config.DHCP.BootServerPort, restart)
	}
	return stop(what, ignored(m.Result), mend)
}

// overHTTP tells whether a machine that is played does without TFTP.
func overHTTP(persona string) bool {
	return persona == fakeclient.HTTPBoot().Name || persona == fakeclient.IPXEROM().Name
}

// blocked tells whether the firewall keeps requests from us.
func blocked(f Facts, i setup.Interface) bool {
	return slices.ContainsFunc(f.Ports, func(p Port) bool { return checkRule(f, i, p) != nil })
}

// ignored tells of replies that firmware threw away; "" if there were none.
func ignored(r fakeclient.Result) string {
	var list []string
	for _, i := range r.Ignored {
		list = append(list, fmt.Sprintf("it threw away a reply of %s: %v", i.From.Addr(), i.Why))
	}
	slices.Sort(list)
	return strings.Join(slices.Compact(list), "; ")
}
