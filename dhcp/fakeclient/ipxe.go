package fakeclient

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// ipxe is iPXE's own DHCP client (src/net/udp/dhcp.c): in the ROMs of virtual
// machines and some NICs, and as the program that we send.
type ipxe struct {
	arch      uint16
	on        target
	userClass string // "iPXE", or what a baked script has set
	version   [3]byte
	features  []byte // tags of option 175: what is compiled in
	askNTP    bool   // builds since 2023 ask for NTP servers too
}

// ipxeNoPXEDHCP is the sub-option of option 175 by which a DHCP server tells iPXE to
// ignore proxyDHCP servers (iPXE dhcp.h, DHCP_EB_NO_PXEDHCP).
const ipxeNoPXEDHCP = 176

// Feature tags (iPXE features.h).
const (
	featurePXE   = 0x10
	featureHTTP  = 0x13
	featureHTTPS = 0x14
	featureTFTP  = 0x15
)

// waits: a second, then two, then four… (DHCP_DISC_START_TIMEOUT_SEC, doubled by
// the retry timer up to DHCP_DISC_END_TIMEOUT_SEC).
func (ipxe) waits() []time.Duration {
	return []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 10 * time.Second}
}

func (ipxe) broadcasts() bool { return false } // it has raw Ethernet, and takes unicasts

// options: dhcp_request_options_data and dhcp_create_request.
func (f ipxe) options(m *Machine, messageType byte) []option {
	nic := []byte{1, 3, 10}
	if f.on == targetBIOS {
		nic = []byte{1, 2, 1}
	}
	encap := []byte{177, 5, 1, 0x80, 0x86, 0x10, 0x0e, 235, 3, f.version[0], f.version[1], f.version[2]}
	for _, tag := range f.features {
		value := byte(1)
		if tag == featurePXE {
			value = 2 // the version of its PXE API extensions
		}
		encap = append(encap, tag, 1, value)
	}
	parameters := []byte{1, 3, 6, 7, 12, 15, 17, 26}
	if f.askNTP {
		parameters = append(parameters, 42)
	}
	parameters = append(parameters, 43, 60, 66, 67, 119, 128, 129, 130, 131, 132, 133, 134, 135, 175, 203)
	o := []option{
		{optMessageType, []byte{messageType}},
		{optMaxSize, []byte{0x05, 0xc0}}, // 1472
		{optArch, []byte{byte(f.arch >> 8), byte(f.arch)}},
		{optNIC, nic},
		{optClass, fmt.Appendf(nil, "PXEClient:Arch:%05d:UNDI:%03d%03d", f.arch, nic[1], nic[2])},
		{optUserClass, []byte(f.userClass)}, // without RFC 3004's length
		{optParameters, parameters},
		{optIPXE, encap},
		{optClientID, append([]byte{1}, m.id.MAC[:]...)},
		{optGUID, m.guid()},
	}
	if m.state == asking {
		return append(o, option{optServerID, m.plan.ask[0].AsSlice()}) // dhcp_proxy_tx
	}
	return append(o, m.lease()...)
}

// admit: dhcp_discovery_rx. Of a proxy's offer it checks neither port nor type,
// and it makes do without option 54.
func (ipxe) admit(_ *Machine, r reply) error {
	switch {
	case isProxy(r) && !r.isClass("PXEClient"):
		return ErrNotPXEClient
	case !isProxy(r) && r.from.Port() != serverPort:
		return ErrWrongPort
	case !isProxy(r) && r.messageType() != offer && r.messageType() != 0:
		return ErrWrongType
	}
	return nil
}

func (ipxe) collects() int { return 2 } // a second and two

// noProxy tells whether an offer tells iPXE to ignore proxyDHCP servers: sub-option 176
// (no-pxedhcp) of option 175, and not 0.
func noProxy(r reply) bool {
	v := find(r.option(optIPXE), ipxeNoPXEDHCP)
	return len(bytes.Trim(v, "\x00")) > 0
}

// enough: as soon as there are a lease and a proxy's offer, a lease that forbids
// proxies, or a lease and two seconds gone (DHCP_DISC_PROXY_TIMEOUT_SEC).
func (ipxe) enough(offers []reply, waited int) bool {
	lease, ok := first(offers, func(r reply) bool { return !isProxy(r) })
	_, proxy := first(offers, func(r reply) bool { return r.isClass("PXEClient") })
	return ok && (proxy || noProxy(lease) || waited >= 2) // waits of one and two seconds
}

// choose: the last offer of each kind stands (equal priority replaces).
func (ipxe) choose(offers []reply) (plan, error) {
	var lease, proxy reply
	haveProxy := false
	for _, o := range offers {
		if !isProxy(o) {
			lease = o
		}
		if o.isClass("PXEClient") {
			proxy, haveProxy = o, true
		}
	}
	haveProxy = haveProxy && !noProxy(lease) // dhcp_request_rx
	switch {
	case haveProxy && proxy.siaddr().IsValid() && proxy.file() != "": // dhcp_has_pxeopts
		return plan{lease: lease, boot: &Boot{proxy.file(), proxy.siaddr()}}, nil
	case haveProxy: // dhcp_state_proxy
		return plan{lease: lease, ask: []netip.Addr{pseudoID(proxy)}, port: clientPort}, nil
	case lease.file() != "":
		return plan{lease: lease, boot: &Boot{lease.file(), lease.nextServer()}}, nil
	}
	return plan{lease: lease, fail: fmt.Errorf("%w (the screen says: Nothing to boot: No such file or directory)", ErrNoBootOffer)}, nil
}

// pseudoID is what iPXE knows a server by: option 54, siaddr, or its address.
func pseudoID(r reply) netip.Addr {
	for _, a := range []netip.Addr{r.serverID(), r.siaddr()} {
		if a.IsValid() {
			return a
		}
	}
	return r.from.Addr()
}

// bootAck: dhcp_proxy_rx.
func (ipxe) bootAck(m *Machine, r reply) (Boot, error) {
	switch {
	case r.from.Port() != bootServerPort:
		return Boot{}, ErrWrongPort
	case r.messageType() != offer && r.messageType() != ack:
		return Boot{}, ErrWrongType
	case pseudoID(r) != m.plan.ask[0]:
		return Boot{}, ErrWrongServer
	case !r.siaddr().IsValid() || r.file() == "":
		return Boot{}, ErrNoFile
	}
	return Boot{r.file(), r.siaddr()}, nil
}

// runs: a URL by one of its protocols, or a program for its platform, which must
// not be iPXE if it is our own: that would go round for ever.
func (f ipxe) runs(file string) error {
	scheme, _, isURL := strings.Cut(file, "://")
	tag := map[string]byte{"http": featureHTTP, "https": featureHTTPS, "tftp": featureTFTP}[scheme]
	switch {
	case isURL && !slices.Contains(f.features, tag):
		return fmt.Errorf("%w: %s", ErrCannotFetch, file)
	case f.userClass != "iPXE" && targetOf(file) != "":
		return fmt.Errorf("%w: %s", ErrLoop, file)
	}
	return runnableOn(file, f.on)
}
