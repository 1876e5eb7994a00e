package doctor

import (
	"net/netip"
	"strings"
	"time"

	"farmboot/dhcp/persona"
	"farmboot/setup"
)

// Facts are what [Gather] found, for [Examine] to judge.
type Facts struct {
	Now    time.Time
	Config setup.Config

	Interfaces    []setup.Interface // those that nodes boot from
	InterfacesErr error
	Own           []netip.Addr // all addresses of this host

	Running bool    // a farmboot answers on our HTTP port
	Ports   []Port  // those that we open
	LANs    []LAN   // one for each interface
	Rules   string  // the host's firewall rules, as "nft list ruleset" prints them; "": none, or not known
	TFTP    []Reach // one for each interface; only if Running
	HTTP    []Reach

	TemplateErr error            // the folder
	Template    map[string]error // each of its files that will not do

	KernelErr  error    // the folder
	Kernelless []string // run modes without a default kernel

	StateErr  error  // why state cannot be written to
	StateFree uint64 // bytes

	// What the owner of the state folder, as whom the daemon runs, cannot use in it:
	// root made it, or somebody copied it there.
	Unreadable []string // files, and folders that he cannot look into
	Unwritable []string // folders, and the database

	BaseHost    []netip.Addr // what its name resolves to
	BaseHostErr error

	CertificateErr error
	Weaknesses     []string // of the certificate, in clients' eyes

	Unsynchronized bool // the kernel says that nothing keeps its clock right
	Neighbours     int  // net.ipv4.neigh.default.gc_thresh3; 0: not known
}

// Port is one that we open on this host.
type Port struct {
	Key     string // in appliance.toml: dhcp.port
	Network string // udp or tcp
	Number  uint16
	Err     error    // of opening it, while no farmboot runs
	Holders []string // programs that have it open: "dnsmasq (process 123)"
}

// LAN is what was heard on an interface.
type LAN struct {
	Interface setup.Interface
	Err       error // nobody could be asked
	Offers    []Offer
	Results   []persona.Result // of firmware played there
}

// Offer is a DHCP offer.
type Offer struct {
	Server  netip.Addr
	Assigns bool   // an address; else it comes from a proxyDHCP server
	Class   string // option 60
	File    string // boot file, from option 67 or the header
}

// Reach is whether a service of ours answers at an address of ours.
type Reach struct {
	Addr netip.AddrPort
	Err  error
}

// boots tells whether the offer says what to boot, to those who ask for that.
func (o Offer) boots() bool {
	return strings.HasPrefix(o.Class, "PXEClient") || strings.HasPrefix(o.Class, "HTTPClient")
}
