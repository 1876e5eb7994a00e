package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"farmboot/dhcp/fakeclient"
	"farmboot/provisioning"
	"farmboot/setup"
	"farmboot/setup/doctor/firewall"
)

// Facts are what [Gather] found, for [Examine] to judge.
type Facts struct {
	Now    time.Time
	Config setup.Config

	Interfaces    []setup.Interface // those that nodes boot from
	InterfacesErr error
	Own           []netip.Addr // all addresses of this host

	Running     bool   // a farmboot of this configuration runs here
	Ports       []Port // those that we open
	LANs        []LAN  // one for each interface
	Firewall    firewall.Rules
	FirewallErr error   // why its rules are not known
	TFTP        []Reach // one for each interface; only if Running
	HTTP        []Reach
	HTTPS       []Reach

	Chains   []Chain // of Secure Boot, one for each interface; only if Running and enabled
	ChainErr error   // why there is none

	TemplateErr error            // the folder
	Template    map[string]error // each of its files that will not do

	KernelErr error            // the folder
	Kernels   map[string]error // what is wrong with each run mode's default kernel
	Named     map[string]error // what is wrong with kernels that nodes name
	UEFIOnly  []string         // run modes whose default kernel is here, whole, and does not start on BIOS
	InUse     InUse
	InUseErr  error // the database

	StateErr  error  // why state cannot be written to
	StateFree uint64 // bytes

	// What the owner of the state folder, as whom the daemon runs, cannot use in it:
	// root made it, or somebody copied it there.
	Unreadable []string // files, and folders that he cannot look into
	Unwritable []string // folders, and the database

	BaseHost    []netip.Addr // what its name resolves to
	BaseHostErr error
	BaseHostBad error // why nothing answers there, where that is another host

	CertificateErr error
	Weaknesses     []string // of the certificate, in clients' eyes

	CertificateNotFor string // that it is for other names than base-host's; "": it is for that

	Unsynchronized bool // the kernel says that nothing keeps its clock right
	Neighbours     int  // net.ipv4.neigh.default.gc_thresh3; 0: not known
}

// InUse is what registered nodes boot.
type InUse struct {
	RunModes map[provisioning.RunMode]int // how many nodes boot its default kernel
	Kernels  map[string]int               // how many nodes boot a kernel of that name

	Unconfigured []provisioning.Unconfigured // run modes that the configuration does not have
}

// Port is one that we open on this host.
type Port struct {
	Key     string // in appliance.toml: dhcp.port
	Network string // udp or tcp
	Number  uint16
	Err     error        // of opening it, while no farmboot runs
	Holders []Holder     // who has it open
	Bound   []netip.Addr // the addresses at which it is open
}

// String returns its protocol and number, as "UDP 67".
func (p Port) String() string { return fmt.Sprintf("%s %d", strings.ToUpper(p.Network), p.Number) }

// Holder is a program that has a port open.
type Holder struct {
	Name    string
	Process string // its id
}

// String returns its name and process, as "dnsmasq (process 123)".
func (h Holder) String() string { return fmt.Sprintf("%s (process %s)", h.Name, h.Process) }

// LAN is what was heard on an interface.
type LAN struct {
	Interface setup.Interface
	Err       error // nobody could be asked
	Offers    []Offer
	Machines  []Machine // that were played there
}

// Machine is what became of a machine that was played on a LAN.
type Machine struct {
	fakeclient.Result
	Choices []fakeclient.Choice // what it would do, by the order in which the offers arrive
	Alone   []Alone             // what each server alone would make it do
	Took    time.Duration       // how long it was played
}

// Alone is what one server, with the LAN's DHCP server, makes a machine do.
type Alone struct {
	Server netip.Addr
	fakeclient.Choice
}

// Offer is a DHCP offer.
type Offer struct {
	Server  netip.Addr
	Assigns bool          // an address; else it comes from a proxyDHCP server
	Network netip.Prefix  // of that address; not valid: it has no mask
	Gateway bool          // it names a router
	NoRoute bool          // this host knows no way to that network
	Class   string        // option 60
	File    string        // boot file, from option 67 or the header
	Next    netip.Addr    // siaddr; not valid: none
	NoProxy bool          // it tells iPXE to ignore proxyDHCP servers
	After   time.Duration // since the machine's first DISCOVER
}

// same tells whether another offer says the same, whenever it came.
func (o Offer) same(other Offer) bool {
	other.After = o.After
	return o == other
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

// assigning are the offers of DHCP servers.
func (l LAN) assigning() []Offer {
	return slices.DeleteFunc(slices.Clone(l.Offers), func(o Offer) bool { return !o.Assigns })
}
