package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"farmboot/provisioning"
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
		others := slices.DeleteFunc(slices.Clone(p.Holders), func(h string) bool { return strings.HasPrefix(h, "farmboot ") })
		switch {
		case p.Err == nil:
		case errors.Is(p.Err, fs.ErrPermission):
			all = append(all, warn(name+" could not be tried: "+p.Err.Error(), "", "run the doctor as root"))
		case len(others) > 0:
			all = append(all, stop(fmt.Sprintf("%s is taken by %s", name, strings.Join(others, ", ")), "farmboot cannot start without it", "stop that program, or set another "+p.Key+" (firmware knows only the usual ports 67, 69 and 4011)"))
		default:
			all = append(all, stop(name+" cannot be opened: "+p.Err.Error(), "farmboot cannot start without it", "stop the program that has it (ss -lnp, as root, names it), or set another "+p.Key))
		}
	}
	if all == nil && len(f.Ports) > 0 {
		all = []Finding{ok("the ports %s %s", portList(f.Ports), map[bool]string{true: "are ours", false: "can be opened"}[f.Running])}
	}
	return all
}

func portList(ports []Port) string {
	list := make([]string, len(ports))
	for i, p := range ports {
		list[i] = fmt.Sprintf("%s %d", strings.ToUpper(p.Network), p.Number)
	}
	return strings.Join(list, ", ")
}

var inputDrop = regexp.MustCompile(`(?s)hook input [^}]*policy drop;[^}]*\}`)

// checkFirewall cannot know what rules come to; it tells of ports that a chain
// which drops by default does not name.
func checkFirewall(f Facts) []Finding {
	chain := inputDrop.FindString(f.Rules)
	if chain == "" {
		return nil
	}
	var unnamed []string
	for _, p := range f.Ports {
		n := strconv.Itoa(int(p.Number))
		service := map[uint16]string{67: "bootps", 69: "tftp", 80: "http", 443: "https"}[p.Number]
		if service == "" {
			service = n
		}
		if !regexp.MustCompile(`\b(` + n + `|` + service + `)\b`).MatchString(f.Rules) {
			unnamed = append(unnamed, fmt.Sprintf("%s %s", strings.ToUpper(p.Network), n))
		}
	}
	if len(unnamed) == 0 {
		return []Finding{ok("the firewall drops what comes in by default, and has rules about all our ports")}
	}
	return []Finding{warn(
		"the firewall drops what comes in by default, and has no rule about "+strings.Join(unnamed, ", "),
		"nodes' requests may not reach us",
		"let these ports in on the LAN's interface, for example: nft add rule inet filter input "+strings.ToLower(strings.Replace(unnamed[0], " ", " dport ", 1))+" accept")}
}

func checkTFTP(f Facts) []Finding { return reached(f.TFTP, "TFTP", "network boot programs") }

func checkHTTP(f Facts) []Finding { return reached(f.HTTP, "HTTP", "boot scripts and kernels") }

func reached(services []Reach, name, what string) []Finding {
	var all []Finding
	for _, r := range services {
		if r.Err != nil {
			all = append(all, stop(fmt.Sprintf("%s at %s does not answer: %v", name, r.Addr, r.Err), "nodes get their "+what+" there", "look into farmboot's log, and at the firewall's rules for that address"))
			continue
		}
		all = append(all, ok("%s answers at %s", name, r.Addr))
	}
	return all
}

func checkTemplate(f Facts) []Finding {
	dir := f.Config.IPXE.Template
	if f.TemplateErr != nil {
		return []Finding{stop(fmt.Sprintf("the iPXE template folder %s cannot be read: %v", dir, f.TemplateErr), "every boot file is made from the iPXE binaries in it", "run setup/template.sh "+dir)}
	}
	var all []Finding
	for _, name := range slices.Sorted(maps.Keys(f.Template)) {
		// Nodes boot over the network by these; the others make images, or are for
		// other processors.
		level := warn
		if name == "undionly.kpxe" || name == "ipxe.efi" {
			level = stop
		}
		all = append(all, level(f.Template[name].Error(), "what is made from "+name+" cannot be had", "run setup/template.sh "+dir))
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
	const mend = "farmboot kernel add FILE, then farmboot kernel use %s KERNEL; or the board's page Kernels"
	var all []Finding
	p := f.Config.Provisioning
	var others []string
	for _, mode := range f.Kernelless {
		if mode == string(p.RunMode) && p.Unknown == provisioning.Boot {
			all = append(all, stop("run mode "+mode+" has no kernel yet", "unregistered nodes boot that run mode", fmt.Sprintf(mend, mode)))
		} else {
			others = append(others, mode)
		}
	}
	if len(others) > 0 {
		all = append(all, warn("no kernel yet for run mode "+strings.Join(others, ", "), "nodes of that run mode find nothing to boot", "where you use them: "+fmt.Sprintf(mend, others[0])))
	}
	if all == nil {
		all = []Finding{ok("every run mode has a kernel in %s", k.NetPath)}
	}
	return all
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
	return []Finding{warn(fmt.Sprintf("the name of base-host, %s, stands for %s, which is not an address of this host", name, addrList(f.BaseHost)), "unless a proxy there passes requests on to us, nodes do not find us", "correct the DNS entry, or base-host")}
}

func addrList(addrs []netip.Addr) string {
	list := make([]string, len(addrs))
	for i, a := range addrs {
		list[i] = a.String()
	}
	return strings.Join(list, ", ")
}

func checkCertificate(f Facts) []Finding {
	// Without an https base-host nodes use plain HTTP, and only people meet this.
	level := warn
	if b := f.Config.BaseHost; b != nil && b.Scheme == "https" {
		level = stop
	}
	if f.CertificateErr != nil {
		return []Finding{stop(f.CertificateErr.Error(), "farmboot does not start without its certificate", "correct [http] tls-cert and tls-key, or leave both empty for a certificate of our own")}
	}
	var all []Finding
	for _, w := range f.Weaknesses {
		all = append(all, level("the certificate: "+w, "nodes and browsers refuse it", "get another one"))
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
