package dhcp

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"

	"farmboot/provisioning"
)

// Class is the kind of netboot client, the start of option 60.
type Class string

// The classes.
const (
	PXEClient  Class = "PXEClient"  // PXE 2.1, and iPXE: boots a file from TFTP
	HTTPClient Class = "HTTPClient" // UEFI 2.5 HTTP Boot: boots a URL
)

// Client is who asks: what a request tells about a machine that boots from the
// network.
type Client struct {
	MAC     provisioning.MAC
	GUID    []byte    // option 97 as sent, type byte and 16 bytes; empty: none. Shares the request's memory
	Arch    iana.Arch // the one architecture, of those offered in option 93, that we boot
	Program Program   // what that boots
	Class   Class
	IPXE    IPXE

	archs, vendor []byte // options 93 and 60 as sent, to tell of an architecture that is none of ours
}

// String describes the client for people: "UEFI x64, PXEClient, iPXE 1.21.1".
func (c Client) String() string {
	s := c.Program.Platform + ", " + string(c.Class)
	switch {
	case c.IPXE.Ours:
		s += ", Farmboot's iPXE"
	case c.IPXE.Present:
		s += ", iPXE"
	}
	if c.IPXE.Version != "" {
		s += " " + c.IPXE.Version
	}
	return s
}

// ParseClient returns the client that sent a request. The error says why we cannot boot
// it; it is one of the Err… values of this package, possibly wrapped. With
// [ErrUnknownArch] and [ErrRaspberryPi] MAC and Class are set nevertheless, for
// the log.
func ParseClient(req *dhcpv4.DHCPv4) (Client, error) {
	var c Client
	var netboots bool
	if c.Class, netboots = classOf(req); !netboots || req.OpCode != dhcpv4.OpcodeBootRequest {
		return c, ErrNotNetboot
	}
	mac, ok := hardwareAddr(req)
	if !ok {
		return c, ErrNotEthernet
	}
	c.MAC = mac
	c.GUID = req.Options.Get(dhcpv4.OptionClientMachineIdentifier)
	if n := len(c.GUID); n != 0 && n != 17 {
		return c, ErrBadGUID
	}
	if c.Class == PXEClient { // iPXE never claims to be an HTTPClient
		c.IPXE = parseIPXE(
			req.Options.Get(dhcpv4.OptionUserClassInformation),
			req.Options.Get(dhcpv4.GenericOptionCode(175)))
	}
	if err := c.chooseArch(req.Options.Get(dhcpv4.OptionClientSystemArchitectureType), req.Options.Get(dhcpv4.OptionClassIdentifier)); err != nil {
		return c, err
	}
	if c.Program.BIOS && isRaspberryPi(c.MAC) {
		return c, ErrRaspberryPi
	}
	return c, nil
}

// classOf returns the kind of netboot client that sent a request; false if it is none.
func classOf(req *dhcpv4.DHCPv4) (Class, bool) {
	id := req.Options.Get(dhcpv4.OptionClassIdentifier)
	for _, c := range []Class{PXEClient, HTTPClient} {
		if len(id) >= len(c) && string(id[:len(c)]) == string(c) {
			return c, true
		}
	}
	return "", false
}

// hardwareAddr returns the client's MAC address from chaddr.
func hardwareAddr(req *dhcpv4.DHCPv4) (provisioning.MAC, bool) {
	var mac provisioning.MAC
	if len(req.ClientHWAddr) != len(mac) {
		return mac, false
	}
	mac = provisioning.MAC(req.ClientHWAddr)
	return mac, !mac.IsZero() && mac[0]&1 == 0
}

// chooseArch sets Arch and Program to the first architecture of option 93, a
// list of 16-bit numbers in the client's order of preference, that we have a
// program for and that goes with the client's class. A client that sends no
// option 93 names its architecture in option 60 (PXE 2.1 table 2-1:
// "PXEClient:Arch:00007:UNDI:003016").
func (c *Client) chooseArch(archs, class []byte) error {
	if len(archs) == 0 {
		if n, ok := archOfClass(string(class)); ok {
			archs = []byte{byte(n >> 8), byte(n)}
		}
	}
	for b := archs; len(b) >= 2; b = b[2:] {
		arch := iana.Arch(b[0])<<8 | iana.Arch(b[1])
		if p, ok := ProgramFor(arch); ok && p.HTTP == (c.Class == HTTPClient) {
			c.Arch, c.Program = arch, p
			return nil
		}
	}
	c.archs, c.vendor = archs, class
	return fmt.Errorf("%w: option 93 says %s, option 60 %q", ErrUnknownArch, archNames(archs), clip(class))
}

// archOfClass reads the number in "PXEClient:Arch:00007:…".
func archOfClass(class string) (uint16, bool) {
	_, rest, ok := strings.Cut(class, ":Arch:")
	if !ok {
		return 0, false
	}
	digits, _, _ := strings.Cut(rest, ":")
	n, err := strconv.ParseUint(digits, 10, 16)
	return uint16(n), err == nil
}

// archNames lists option 93 for the log: "6 (EFI IA32)".
func archNames(b []byte) string {
	if len(b) < 2 {
		return "nothing"
	}
	var names []string
	for ; len(b) >= 2 && len(names) < 8; b = b[2:] {
		arch := iana.Arch(b[0])<<8 | iana.Arch(b[1])
		names = append(names, fmt.Sprintf("%d (%s)", uint16(arch), arch))
	}
	return strings.Join(names, ", ")
}

// clip shortens what a stranger sent to what fits in a line of the log.
func clip(b []byte) []byte { return b[:min(len(b), 40)] }

// isRaspberryPi knows the address blocks of Raspberry Pi (IEEE MA-L register).
func isRaspberryPi(m provisioning.MAC) bool {
	switch [3]byte(m[:3]) {
	case [3]byte{0xb8, 0x27, 0xeb}, [3]byte{0xdc, 0xa6, 0x32}, [3]byte{0xe4, 0x5f, 0x01},
		[3]byte{0x28, 0xcd, 0xc1}, [3]byte{0xd8, 0x3a, 0xdd}:
		return true
	}
	return false
}
