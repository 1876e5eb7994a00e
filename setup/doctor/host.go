package doctor

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"farmboot/ipxe/kernel"
	"farmboot/provisioning"
	"farmboot/provisioning/cause"
	"farmboot/provisioning/filenames"
	"farmboot/provisioning/installed"
	"farmboot/setup"
	"farmboot/setup/doctor/firewall"
)

func checkInterfaces(f Facts) []Finding {
	if f.InterfacesErr != nil {
		return []Finding{stop(f.InterfacesErr.Error(), "we listen on the LAN's interface and tell nodes its address", "set [network] interface to the interface that the nodes are connected to")}
	}
	var all []Finding
	for _, i := range f.Interfaces {
		all = append(all, ok("%s has the address %s", i.Name, i.Prefixes[0]))
		if need := f.Config.TFTP.MaxBlockSize + tftpHeaders; f.Config.TFTP.Enabled && need > i.MTU {
			all = append(all, warn(
				fmt.Sprintf("%s carries packets of %d bytes, and TFTP blocks of %d make packets of %d", i.Name, i.MTU, f.Config.TFTP.MaxBlockSize, need),
				"they travel in fragments, which many network boot ROMs drop",
				fmt.Sprintf("set [tftp] max-block-size = %d", i.MTU-tftpHeaders)))
		}
	}
	return all
}

// tftpHeaders are the bytes around a block of data: IPv4 20, UDP 8, TFTP 4
// (RFC 2348).
const tftpHeaders = 32

func checkDaemon(f Facts) []Finding {
	if f.Running {
		return []Finding{ok("farmboot is running")}
	}
	return []Finding{stop("farmboot is not running on this host", "nobody answers the nodes", "start it: systemctl start farmboot, or farmboot serve")}
}

func checkPorts(f Facts) []Finding {
	var all []Finding
	for _, p := range f.Ports {
		name := fmt.Sprintf("%s port %d", strings.ToUpper(p.Network), p.Number)
		others := slices.DeleteFunc(slices.Clone(p.Holders), ours)
		switch {
		case f.Running && len(p.Bound) == 0:
			all = append(all, stop(name+" is closed: farmboot does not listen on it", p.unheard(f.Config), restart))
		case f.Running && !slices.ContainsFunc(p.Bound, func(a netip.Addr) bool { return a.IsUnspecified() || slices.Contains(f.Own, a) }):
			all = append(all, stop(fmt.Sprintf("farmboot listens for %s at %s, which is no address of this host any more", name, list(p.Bound)), p.unheard(f.Config), restart))
		case p.Err == nil:
		case errors.Is(p.Err, fs.ErrPermission):
			all = append(all, warn(name+" could not be tried: "+p.Err.Error(), "", "run the doctor as root"))
		case len(others) > 0:
			all = append(all, stop(fmt.Sprintf("%s is taken by %s", name, list(others)), "farmboot cannot start without it", "stop that program, or set another "+p.Key+" (firmware knows only the usual ports 67, 69 and 4011)"))
		default:
			all = append(all, stop(name+" cannot be opened: "+p.Err.Error(), "farmboot cannot start without it", "stop the program that has it (ss -lnp, as root, names it), or set another "+p.Key))
		}
	}
	if all == nil && len(f.Ports) > 0 {
		all = []Finding{ok("the ports %s %s", list(f.Ports), map[bool]string{true: "are ours", false: "can be opened"}[f.Running])}
	}
	return all
}

const restart = "look into farmboot's log, and start it anew: systemctl restart farmboot"

// checkFirewall follows the packets of nodes through this host's rules.
func checkFirewall(f Facts) []Finding {
	if f.FirewallErr != nil {
		return []Finding{warn("the firewall's rules are not known: "+f.FirewallErr.Error(), "they may keep nodes' requests from us", "run the doctor as root")}
	}
	var all []Finding
	for _, i := range f.Interfaces {
		for _, p := range f.Ports {
			all = append(all, checkRule(f, i, p)...)
		}
		if f.Config.TFTP.Enabled {
			transfer := fromNode(i, "udp", transferPort)
			transfer.Established = true
			if f.Firewall.In(transfer) == firewall.Dropped {
				all = append(all, stop(
					fmt.Sprintf("this host's firewall drops the packets of TFTP transfers that come in on %s", i.Name),
					"a transfer goes between ports of its own, not 69 (RFC 1350 section 4)",
					"let packets of established connections in: nft insert rule inet filter input ct state established,related accept"))
			}
		}
		if f.Config.DHCP.Enabled && f.Firewall.Out(offerTo(i)) == firewall.Dropped {
			all = append(all, stop(
				fmt.Sprintf("this host's firewall drops DHCP offers that go out by %s", i.Name),
				"nodes do not hear what to boot",
				"let UDP from port 67 to port 68 out"))
		}
	}
	if all == nil && len(f.Ports) > 0 {
		all = []Finding{ok("this host's firewall lets nodes' requests in")}
	}
	return all
}

// checkRule says what the firewall does with requests for a port.
func checkRule(f Facts, i setup.Interface, p Port) []Finding {
	packet := fromNode(i, p.Network, p.Number)
	if p.Key == dhcpPortKey {
		packet.Source = netip.PrefixFrom(netip.IPv4Unspecified(), 32)
		packet.Destination = netip.PrefixFrom(netip.AddrFrom4([4]byte{255, 255, 255, 255}), 32)
		packet.SourcePort, packet.Broadcast = 68, true
	}
	name := fmt.Sprintf("%s port %d", strings.ToUpper(p.Network), p.Number)
	mend := fmt.Sprintf("let it in, for example: nft insert rule inet filter input iifname %s %s dport %d accept", i.Name, p.Network, p.Number)
	switch f.Firewall.In(packet) {
	case firewall.Dropped:
		return []Finding{stop(fmt.Sprintf("this host's firewall drops what comes in on %s for %s", i.Name, name), p.unheard(f.Config), mend)}
	case firewall.Unknown:
		whose := "nodes'"
		if p.forPeople(f.Config) {
			whose = "people's"
		}
		return []Finding{warn(fmt.Sprintf("this host's firewall lets in some of what comes on %s for %s", i.Name, name), "its rules go by more than the port, and some "+whose+" requests may not reach us", mend)}
	}
	return nil
}

// transferPort stands for those that the kernel gives to TFTP transfers.
const transferPort = 49152

// fromNode is a packet that a node with an address sends to us.
func fromNode(i setup.Interface, protocol string, port uint16) firewall.Packet {
	return firewall.Packet{Interface: i.Name, Protocol: protocol, Source: i.Prefixes[0].Masked(), Destination: netip.PrefixFrom(i.Addr(), 32), Port: port}
}

// offerTo is an OFFER that we send.
func offerTo(i setup.Interface) firewall.Packet {
	return firewall.Packet{
		Interface: i.Name, Protocol: "udp", Source: netip.PrefixFrom(i.Addr(), 32), SourcePort: 67,
		Destination: netip.PrefixFrom(netip.AddrFrom4([4]byte{255, 255, 255, 255}), 32), Port: 68, Broadcast: true,
	}
}

func checkTFTP(f Facts) []Finding {
	return reached(f, f.TFTP, "udp", "TFTP", "nodes get their network boot programs there")
}

func checkHTTP(f Facts) []Finding {
	why := peopleAlone
	if overTLS(f.Config) {
		why = "nodes get their boot scripts over https there, and people the board"
	}
	return append(
		reached(f, f.HTTP, "tcp", "HTTP", "nodes get their boot scripts and kernels there"),
		reached(f, f.HTTPS, "tcp", "HTTPS", why)...)
}

// reached judges services that were asked from this host itself; why says what comes of it that
// one does not answer.
func reached(f Facts, services []Reach, network, name, why string) []Finding {
	var all []Finding
	for _, r := range services {
		here := firewall.Packet{
			Interface: "lo", Protocol: network, Port: r.Addr.Port(),
			Source: netip.PrefixFrom(r.Addr.Addr(), 32), Destination: netip.PrefixFrom(r.Addr.Addr(), 32),
		}
		_, answered := errors.AsType[saysError](r.Err)
		switch {
		case r.Err == nil:
			all = append(all, ok("%s answers at %s", name, r.Addr))
		case !answered && f.FirewallErr == nil && f.Firewall.In(here) != firewall.Accepted:
			all = append(all, warn(fmt.Sprintf("%s at %s could not be tried: this host's firewall drops what it sends to itself", name, r.Addr), "", ""))
		default:
			all = append(all, stop(fmt.Sprintf("%s at %s does not answer: %v", name, r.Addr, r.Err), why, restart))
		}
	}
	return all
}

func checkTemplate(f Facts) []Finding {
	dir := f.Config.IPXE.Template
	if f.TemplateErr != nil {
		return []Finding{stop(fmt.Sprintf("the iPXE template folder %s cannot be read: %v", dir, f.TemplateErr), "every boot file is made from the iPXE binaries in it", "run "+installed.TemplateScript+" "+dir)}
	}
	var all []Finding
	for _, name := range slices.Sorted(maps.Keys(f.Template)) {
		// Nodes boot over the network by these; the others make images, or are for
		// other processors.
		level := warn
		if name == filenames.Undionly || name == filenames.EFI {
			level = stop
		}
		all = append(all, level(f.Template[name].Error(), "what is made from "+name+" cannot be had", "run "+installed.TemplateScript+" "+dir))
	}
	if all == nil {
		all = []Finding{ok("the iPXE binaries in %s are good", dir)}
	}
	return all
}

func checkKernels(f Facts) []Finding {
	k := f.Config.Kernel
	if f.KernelErr != nil {
		return []Finding{stop(fmt.Sprintf("the kernel folder %s cannot be read: %v", k.NetPath, f.KernelErr), "nodes load their kernel from it", "run the doctor as root; give the folder to the user that farmboot runs as")}
	}
	mendOf := func(mode string, err error) string {
		if missing(err) {
			return cause.Hint(provisioning.CauseOf(err))
		}
		return fmt.Sprintf("farmboot kernel use %s KERNEL gives it another one (farmboot kernel add FILE first), or the board's page Kernels", mode)
	}
	var all []Finding
	p := f.Config.Provisioning
	var unused []string
	for _, mode := range slices.Sorted(maps.Keys(f.Kernels)) {
		nodes := f.InUse.RunModes[provisioning.RunMode(mode)]
		err := f.Kernels[mode]
		what := fmt.Sprintf("run mode %s: %v", mode, err)
		if missing(err) {
			what = fmt.Sprintf("run mode %s %s", mode, cause.Lack(err))
		}
		switch {
		case errors.Is(err, kernel.ErrUnknown):
			all = append(all, warn(what, "nodes boot it only if it is a kernel of another format that iPXE knows", mendOf(mode, err)))
		case mode == string(p.RunMode) && p.Unknown == provisioning.Boot:
			all = append(all, stop(what, "unregistered nodes boot that run mode", mendOf(mode, err)))
		case nodes > 0:
			all = append(all, stop(what, fmt.Sprintf("registered nodes boot that run mode: %d", nodes), mendOf(mode, err)))
		case !cause.NoneYet(err):
			all = append(all, warn(what, "nodes of that run mode would not boot", mendOf(mode, err)))
		default:
			unused = append(unused, mode)
		}
	}
	for _, u := range f.InUse.Unconfigured {
		why, mend := cause.Unconfigured(u)
		all = append(all, stop(fmt.Sprintf("run mode %s %s", u.RunMode, why), "they are told that their run mode is unknown", mend))
	}
	for _, name := range slices.Sorted(maps.Keys(f.Named)) {
		err, level := f.Named[name], stop
		what, file := err.Error(), cmp.Or(provisioning.CauseOf(err).File, name)
		switch {
		case missing(err):
			what = fmt.Sprintf("kernel %s %s", name, cause.Lack(err))
		case errors.Is(err, kernel.ErrUnknown):
			level = warn
		}
		all = append(all, level(what, fmt.Sprintf("registered nodes are to boot it: %d", f.InUse.Kernels[name]),
			"farmboot kernel add FILE --name "+file+", or register them with another kernel"))
	}
	if len(unused) > 0 {
		all = append(all, warn("no kernel yet for run mode "+strings.Join(unused, ", "), "nodes of that run mode find nothing to boot", "where you use them: "+mendOf(unused[0], f.Kernels[unused[0]])))
	}
	if all == nil {
		all = []Finding{ok("every run mode has a kernel in %s", k.NetPath)}
	}
	if n := len(f.UEFIOnly); n > 0 && n+len(f.Kernels) == len(f.Config.RunModes) { // no run mode boots BIOS machines
		all = append(all, warn("no kernel starts on BIOS machines: that of run mode "+strings.Join(f.UEFIOnly, ", ")+" is an EFI application alone", "BIOS machines fetch it, and stop there; UEFI machines boot it",
			"where there are BIOS machines: store a bzImage, which most kernels of Linux for x64 are besides (farmboot kernel add FILE)"))
	}
	return all
}

// missing tells whether an error is that there is no file of a kernel, or none that boots.
func missing(err error) bool {
	id := provisioning.CauseOf(err).ID
	return id == provisioning.CauseKernelMissing || id == provisioning.CauseKernelBroken
}

func checkDatabase(f Facts) []Finding {
	if errors.Is(f.InUseErr, fs.ErrPermission) {
		return []Finding{warn("the database could not be read: "+f.InUseErr.Error(), "", "run the doctor as root")}
	}
	if f.InUseErr != nil {
		return []Finding{stop("the database cannot be read: "+f.InUseErr.Error(), "registered nodes get the default of unregistered ones, and nothing can be changed", "mend what it says, or stop farmboot and put a backup in its place: farmboot restore FILE")}
	}
	return []Finding{ok("the database can be read")}
}

// The space in bytes below which we speak: a kernel is some tens of MB, a year of
// events too.
const (
	littleSpace = 1 << 30
	noSpace     = 50 << 20
)

func checkState(f Facts) []Finding { return append(checkFolder(f), checkOwner(f)...) }

// checkOwner looks at what root left in the folder of the daemon's user.
func checkOwner(f Facts) []Finding {
	mend := fmt.Sprintf("chown -R --reference=%s %[1]s/", f.Config.State)
	var all []Finding
	if len(f.Unreadable) > 0 {
		all = append(all, stop("the owner of the state folder cannot read "+strings.Join(f.Unreadable, ", "), "farmboot, which runs as that user, does not start without its certificates, and cannot hand out a kernel that it cannot read", mend))
	}
	if len(f.Unwritable) > 0 {
		all = append(all, warn("the owner of the state folder cannot write "+strings.Join(f.Unwritable, ", "), "farmboot, which runs as that user, cannot change or store there", mend))
	}
	return all
}

func checkFolder(f Facts) []Finding {
	state := f.Config.State
	switch {
	case f.StateErr != nil:
		return []Finding{stop(fmt.Sprintf("the state folder %s cannot be written to: %v", state, f.StateErr), "farmboot keeps nodes, events and certificates there", "run as the user whose folder it is, or give it to the one who runs farmboot")}
	case f.StateFree < noSpace:
		return []Finding{stop(fmt.Sprintf("only %d MB are free in the state folder %s", f.StateFree>>20, state), "the database cannot grow, and kernels cannot be uploaded", "make room")}
	case f.StateFree < littleSpace:
		return []Finding{warn(fmt.Sprintf("only %d MB are free in the state folder %s", f.StateFree>>20, state), "", "make room before it is full")}
	}
	return []Finding{ok("the state folder %s can be written to, %d GB are free", state, f.StateFree>>30)}
}

func checkBaseHost(f Facts) []Finding {
	b := f.Config.BaseHost
	if b == nil {
		return nil
	}
	name := b.Hostname()
	if f.BaseHostErr != nil {
		return []Finding{stop(fmt.Sprintf("the name of base-host, %s, does not resolve: %v", name, f.BaseHostErr), "boot scripts send nodes to that name", "enter it in the DNS that the nodes' DHCP server names, or leave base-host empty: then nodes use our address")}
	}
	for _, a := range f.BaseHost {
		if slices.Contains(f.Own, a) {
			return []Finding{ok("base-host %s is this host", b)}
		}
	}
	what := fmt.Sprintf("the name of base-host, %s, stands for %s, which is not an address of this host", name, list(f.BaseHost))
	if f.BaseHostBad != nil {
		return []Finding{stop(what, fmt.Sprintf("boot scripts send nodes there, and nothing answers: %v", f.BaseHostBad), "correct the DNS entry, or base-host; or leave base-host empty: then nodes use our address")}
	}
	return []Finding{warn(what, "unless a proxy there passes requests on to us, nodes do not find us", "correct the DNS entry, or base-host")}
}

// list writes things one behind the other.
func list[T fmt.Stringer](things []T) string {
	texts := make([]string, len(things))
	for i, t := range things {
		texts[i] = t.String()
	}
	return strings.Join(texts, ", ")
}

func checkCertificate(f Facts) []Finding {
	// Without an https base-host nodes use plain HTTP, and only people meet this.
	level := warn
	if overTLS(f.Config) {
		level = stop
	}
	if errors.Is(f.CertificateErr, fs.ErrPermission) {
		return []Finding{warn("the certificate could not be read: "+f.CertificateErr.Error(), "", "run the doctor as root; the user that farmboot runs as needs to read it")}
	}
	if f.CertificateErr != nil {
		return []Finding{stop(f.CertificateErr.Error(), "farmboot does not start without its certificate", "correct [http] tls-cert and tls-key, or leave both empty for a certificate of our own")}
	}
	var all []Finding
	for _, w := range f.Weaknesses {
		all = append(all, level("the certificate: "+w, "nodes and browsers refuse it", "get another one"))
	}
	switch here := slices.ContainsFunc(f.BaseHost, func(a netip.Addr) bool { return slices.Contains(f.Own, a) }); {
	case f.CertificateNotFor == "":
	case here:
		all = append(all, level("the certificate: "+f.CertificateNotFor, "nodes and browsers that come by that name refuse it", "get one for that name"))
	default:
		all = append(all, warn("the certificate: "+f.CertificateNotFor, "unless a proxy there has another one, nodes and browsers that come by that name refuse it", "get one for that name"))
	}
	if all == nil && f.Config.HTTP.TLSCert != "" {
		all = []Finding{ok("the certificate %s is good", f.Config.HTTP.TLSCert)}
	}
	return all
}

// written is a day before which no clock can be right: this program did not exist.
var written = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

func checkClock(f Facts) []Finding {
	switch {
	case f.Now.Before(written):
		return []Finding{stop("this host's clock says "+f.Now.Format(time.DateTime)+", which is long past", "certificates made now are wrong, and nodes refuse them", "set the clock, and keep it right with an NTP client")}
	case f.Unsynchronized:
		return []Finding{warn("nothing keeps this host's clock right", "once it is hours off, nodes refuse https", "run an NTP client: systemd-timesyncd or chrony")}
	}
	return []Finding{ok("the clock is kept right")}
}

// checkNeighbours: the kernel's table of neighbours overflows when more machines
// are on a LAN than gc_thresh3 (default 1,024); nodes then time out (measured).
func checkNeighbours(f Facts) []Finding {
	var all []Finding
	for _, i := range f.Interfaces {
		machines := 1<<(32-i.Prefixes[0].Bits()) - 2
		if f.Neighbours > 0 && machines > f.Neighbours {
			all = append(all, warn(
				fmt.Sprintf("the LAN of %s has room for %d machines, and the kernel's table of neighbours for %d", i.Name, machines, f.Neighbours),
				"when more of them boot at once, the rest time out",
				fmt.Sprintf("sysctl -w net.ipv4.neigh.default.gc_thresh3=%d net.ipv4.neigh.default.gc_thresh2=%d", 2*machines, machines)))
		}
	}
	return all
}
