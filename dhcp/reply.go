package dhcp

import (
	"cmp"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"farmboot/provisioning"
	"farmboot/provisioning/filenames"
)

// Service is which of our two ports a packet came in on.
type Service string

// The services; their names are metric labels.
const (
	ProxyDHCP  Service = "proxydhcp"  // port 67: DISCOVER → OFFER
	BootServer Service = "bootserver" // port 4011: REQUEST, INFORM → ACK
)

// Ingress is where a packet came in.
type Ingress struct {
	Service   Service
	Interface string     // its name
	Server    netip.Addr // our IPv4 address on it: siaddr, option 54, and the source of replies
	BaseURL   string     // what nodes of this LAN reach our HTTP server by, without a slash at the end
}

// Responder decides what a client gets. It is a value: nothing in it changes.
type Responder struct {
	HTTPPort uint16 // of the plain boot plane, for UEFI HTTP Boot; 0 means 80
	TFTP     bool   // TFTP is served
	Shim     string // the file that x64 UEFI machines get first, for Secure Boot; "": none
	// Signed says that the boot programs are signed builds, which carry no script
	// of ours and so cannot be told from any other iPXE: iPXE then always gets
	// the script, over plain HTTP (our certificate authority is not theirs).
	Signed bool
}

// Reply builds the answer to a client's request, as its assignment says: an OFFER to
// a DISCOVER on port 67, an ACK to a REQUEST or INFORM on port 4011. It is an error of
// this package otherwise, and silence on the wire. REQUESTs on port 67 are for the
// DHCP server, whatever options they carry.
//
// The reply assigns nothing (yiaddr is 0). It carries options 53, 54, 60 and 97,
// siaddr, and the boot file in the header's file field, where every firmware
// finds it. BIOS gets option 43 with PXE discovery control 8, "boot the file of
// this offer" (PXE 2.1 table 2-3). UEFI gets no option 43: then it asks on port
// 4011 ("BINL"), while with it firmware before 2017 throws the offer away. Where that
// did not boot the machine, as.Strategy says what does: see [Server].
//
// The reply shares memory with req.
func (r Responder) Reply(c Client, req *dhcpv4.DHCPv4, in Ingress, as provisioning.Assignment) (*dhcpv4.DHCPv4, error) {
	answer, ok := answerTo(req.MessageType(), in.Service)
	if !ok {
		return nil, ErrNotForUs
	}
	if as.Policy == provisioning.Ignore {
		return nil, ErrIgnored
	}
	file, err := r.bootFile(c, in, as)
	if err != nil {
		return nil, err
	}
	server := in.Server.AsSlice()
	m := &dhcpv4.DHCPv4{
		OpCode:        dhcpv4.OpcodeBootReply,
		HWType:        req.HWType,
		TransactionID: req.TransactionID,
		Flags:         req.Flags,
		ClientIPAddr:  net.IPv4zero,
		YourIPAddr:    net.IPv4zero,
		ServerIPAddr:  server,
		GatewayIPAddr: req.GatewayIPAddr,
		ClientHWAddr:  req.ClientHWAddr,
		Options: dhcpv4.Options{
			dhcpv4.OptionDHCPMessageType.Code():  {byte(answer)},
			dhcpv4.OptionServerIdentifier.Code(): server,
			dhcpv4.OptionClassIdentifier.Code():  []byte(c.Class),
		},
	}
	if answer == dhcpv4.MessageTypeAck {
		m.ClientIPAddr = req.ClientIPAddr // RFC 2131 table 3
	}
	if len(c.GUID) > 0 {
		m.Options[dhcpv4.OptionClientMachineIdentifier.Code()] = c.GUID
	}
	if fileInOffer(c, as.Strategy.Form) {
		m.Options[dhcpv4.OptionVendorSpecificInformation.Code()] = pxeVendorOptions(req)
	}
	setBootFile(m, file)
	if encodedLen(m) > maxReplyLen(req) {
		return nil, ErrNoRoom
	}
	// RFC 3046 section 2.2: return it as it came. The agent takes it off again, so the
	// client need not hold it.
	if relay := req.Options.Get(dhcpv4.OptionRelayAgentInformation); relay != nil {
		m.Options[dhcpv4.OptionRelayAgentInformation.Code()] = relay
		if encodedLen(m) > maxPacket {
			return nil, ErrNoRoom
		}
	}
	return m, nil
}

// fileInOffer tells whether a client is told to boot the file of the offer, and ask no
// further.
func fileInOffer(c Client, form provisioning.Form) bool {
	if c.Program.BIOS {
		return form != provisioning.FromBootServer
	}
	return form == provisioning.FileInOffer
}

// answerTo says with which message type a service answers a message type.
func answerTo(t dhcpv4.MessageType, s Service) (dhcpv4.MessageType, bool) {
	switch {
	case s == ProxyDHCP && t == dhcpv4.MessageTypeDiscover:
		return dhcpv4.MessageTypeOffer, true
	case s == BootServer && (t == dhcpv4.MessageTypeRequest || t == dhcpv4.MessageTypeInform):
		return dhcpv4.MessageTypeAck, true
	}
	return 0, false
}

// bootFile decides what the client loads next: the boot script, for a client
// that is iPXE already, or the boot program for its architecture.
//
// Our own iPXE always gets the script, so that it can never be offered iPXE
// again. Another one (a NIC's ROM, a virtual machine) gets the script too, unless
// it says that it cannot fetch it, or could not trust it: then it gets our boot
// program, like any PXE ROM, and that never asks DHCP for a file again.
func (r Responder) bootFile(c Client, in Ingress, as provisioning.Assignment) (string, error) {
	nbp := as.Node.NBP
	if nbp == provisioning.DefaultNBP {
		nbp = as.Strategy.NBP
	}
	plain := r.plainURL(in)
	base := cmp.Or(in.BaseURL, plain)
	const script = "/provision/"
	switch {
	case c.IPXE.Ours:
		return base + script + c.MAC.String(), nil
	case c.IPXE.Present && r.Signed:
		return plain + script + c.MAC.String(), nil
	case c.IPXE.Present && as.Strategy.Form != provisioning.ProgramForIPXE && !c.IPXE.noHTTP && !strings.HasPrefix(base, "https:"):
		return base + script + c.MAC.String(), nil
	case as.Enrolling && c.Program.HTTP && c.Program.Shim && r.Shim != "":
		// MokManager finds our certificate on it; over PXE it finds no file at all (measured).
		return plain + "/boot/" + filenames.EnrolDisk, nil
	case c.Program.HTTP:
		return plain + "/boot/" + c.Program.file(nbp, r.Shim), nil
	case !r.TFTP:
		return "", ErrNoTFTP
	}
	return c.Program.file(nbp, r.Shim), nil
}

// plainURL is our HTTP server by literal IP address: HTTP Boot firmware may have
// no DNS server, and takes a name from a proxy only together with one (edk2
// HttpBootDhcp4.c, HttpBootSelectDhcpOffer).
func (r Responder) plainURL(in Ingress) string {
	host := in.Server.String()
	if r.HTTPPort == 0 || r.HTTPPort == 80 {
		return "http://" + host
	}
	return "http://" + net.JoinHostPort(host, strconv.Itoa(int(r.HTTPPort)))
}

// fileFieldLen is the length of the header's file field with its final NUL.
const fileFieldLen = 128

// setBootFile puts the file name into the header's file field, or, if it is too
// long for that, into option 67, with a final NUL: RFC 2132 section 9.5 leaves
// that open, and edk2 writes one behind the option if it is not there, over the
// next option's code.
func setBootFile(m *dhcpv4.DHCPv4, name string) {
	if len(name) < fileFieldLen {
		m.BootFileName = name
		return
	}
	m.Options[dhcpv4.OptionBootfileName.Code()] = append([]byte(name), 0)
}

// pxeVendorOptions is option 43 for BIOS clients: discovery control (6) 8, "use
// the boot file of this offer, ask no further". A client that asks port 4011 for
// a boot item nevertheless (71) gets the item's number back, without which iPXE,
// for one, would not take the answer (iPXE dhcp.c, dhcp_pxebs_rx).
func pxeVendorOptions(req *dhcpv4.DHCPv4) []byte {
	const (
		discoveryControl = 6
		bootItem         = 71
		end              = 255
	)
	v := []byte{discoveryControl, 1, 8}
	for code, value := range subOptions(req.Options.Get(dhcpv4.OptionVendorSpecificInformation)) {
		if code == bootItem && len(value) == 4 {
			v = append(append(v, bootItem, 4), value...)
			break
		}
	}
	return append(v, end)
}

const (
	ipUDPHeaders = 20 + 8
	maxPacket    = 1500 - ipUDPHeaders // what fits in an Ethernet frame: PXE ROMs drop fragments
)

// maxReplyLen is the largest DHCP message that the client takes, in bytes: what it says
// (option 57), at least RFC 2131's 576, less IP and UDP headers, and at most a packet.
func maxReplyLen(req *dhcpv4.DHCPv4) int {
	limit := 576
	if v := req.Options.Get(dhcpv4.OptionMaximumDHCPMessageSize); len(v) == 2 {
		limit = max(limit, int(v[0])<<8|int(v[1]))
	}
	return min(limit-ipUDPHeaders, maxPacket)
}
