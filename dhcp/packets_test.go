package dhcp_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"

	"farmboot/dhcp"
	"farmboot/provisioning"
)

// What the tests of this package have in common: a machine, our two ports on a
// LAN, and requests built with the library, whose encoder is not ours.

var (
	testMAC  = provisioning.MAC{0x52, 0x54, 0, 0, 0, 0xb1}
	testGUID = append([]byte{0}, []byte("0123456789abcdef")...)
	serverIP = netip.MustParseAddr("192.0.2.1")
	onLAN    = dhcp.Ingress{Service: dhcp.ProxyDHCP, Interface: "lan0", Server: serverIP, BaseURL: "http://192.0.2.1"}
	on4011   = dhcp.Ingress{Service: dhcp.BootServer, Interface: "lan0", Server: serverIP, BaseURL: "http://192.0.2.1"}
	plain    = dhcp.Responder{TFTP: true}
)

// with sets an option to bytes.
func with(code uint8, value ...byte) dhcpv4.Modifier {
	return dhcpv4.WithGeneric(dhcpv4.GenericOptionCode(code), value)
}

// without removes an option.
func without(code uint8) dhcpv4.Modifier {
	return func(m *dhcpv4.DHCPv4) { m.DeleteOption(dhcpv4.GenericOptionCode(code)) }
}

// discover is what firmware of an architecture broadcasts.
func discover(arch iana.Arch, mods ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	class := fmt.Sprintf("PXEClient:Arch:%05d:UNDI:003016", uint16(arch))
	if p, ok := dhcp.ProgramFor(arch); ok && p.HTTP {
		class = strings.Replace(class, "PXE", "HTTP", 1)
	}
	m, err := dhcpv4.NewDiscovery(net.HardwareAddr(testMAC[:]), dhcpv4.PrependModifiers(mods,
		dhcpv4.WithTransactionID(dhcpv4.TransactionID{1, 2, 3, 4}),
		with(57, 0x05, 0xc0),
		with(60, []byte(class)...),
		with(93, byte(arch>>8), byte(arch)),
		with(94, 1, 3, 16),
		with(97, testGUID...))...)
	if err != nil {
		panic(err)
	}
	return m
}

// bootRequest is what it unicasts to port 4011.
func bootRequest(arch iana.Arch, mods ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	return discover(arch, dhcpv4.PrependModifiers(mods,
		dhcpv4.WithMessageType(dhcpv4.MessageTypeRequest),
		func(m *dhcpv4.DHCPv4) { m.ClientIPAddr = net.IPv4(192, 0, 2, 100) })...)
}

// ipxe makes a request one of iPXE 1.21.1 with some features.
func ipxe(features ...byte) dhcpv4.Modifier {
	encap := []byte{177, 5, 1, 0x10, 0x22, 0x10, 0, 235, 3, 1, 21, 1}
	for _, f := range features {
		encap = append(encap, f, 1, 1)
	}
	return func(m *dhcpv4.DHCPv4) {
		with(77, []byte("iPXE")...)(m)
		with(175, encap...)(m)
	}
}

// boots is what most machines of the tests are to get.
var boots = provisioning.Assignment{Policy: provisioning.Boot}

// ask sends a request through parse and reply.
func ask(r dhcp.Responder, req *dhcpv4.DHCPv4, in dhcp.Ingress) (*dhcpv4.DHCPv4, error) {
	c, err := dhcp.ParseClient(req)
	if err != nil {
		return nil, err
	}
	return r.Reply(c, req, in, boots)
}

// mustAsk is ask, for requests that get an answer, which comes back as the
// library reads it off the wire.
func mustAsk(t *testing.T, r dhcp.Responder, req *dhcpv4.DHCPv4, in dhcp.Ingress) *dhcpv4.DHCPv4 {
	t.Helper()
	m, err := ask(r, req, in)
	if err != nil {
		t.Fatalf("no reply: %v", err)
	}
	got, err := dhcpv4.FromBytes(dhcp.Append(nil, m))
	if err != nil {
		t.Fatalf("the library cannot read our reply: %v", err)
	}
	return got
}

// file is the boot file as firmware reads it: option 67 if it is there, else the
// header's field.
func file(m *dhcpv4.DHCPv4) string {
	if v := m.Options.Get(dhcpv4.OptionBootfileName); v != nil {
		return string(bytes.TrimRight(v, "\x00"))
	}
	return m.BootFileName
}

// readable renders a packet for golden files: the header's fields, then the
// options in their order on the wire.
func readable(b []byte) string {
	var s strings.Builder
	ip := func(at int) netip.Addr { return netip.AddrFrom4([4]byte(b[at : at+4])) }
	fmt.Fprintf(&s, "op %d  htype %d  hlen %d  hops %d  xid %x  secs %d  flags %04x\n",
		b[0], b[1], b[2], b[3], b[4:8], binary.BigEndian.Uint16(b[8:]), binary.BigEndian.Uint16(b[10:]))
	fmt.Fprintf(&s, "ciaddr %s  yiaddr %s  siaddr %s  giaddr %s\n", ip(12), ip(16), ip(20), ip(24))
	fmt.Fprintf(&s, "chaddr %x  sname %q  file %q\n", b[28:28+b[2]],
		bytes.TrimRight(b[44:108], "\x00"), bytes.TrimRight(b[108:236], "\x00"))
	for o := b[240:]; len(o) > 0; {
		switch o[0] {
		case 0:
			fmt.Fprintf(&s, "pad x %d\n", len(o)-len(bytes.TrimLeft(o, "\x00")))
			o = bytes.TrimLeft(o, "\x00")
		case 255:
			s.WriteString("end\n")
			o = o[1:]
		default:
			v := o[2 : 2+o[1]]
			fmt.Fprintf(&s, "%3d %-36s %s\n", o[0], optionName(o[0]), value(v))
			o = o[2+len(v):]
		}
	}
	return s.String()
}

// value shows an option's bytes: as text where they are text.
func value(v []byte) string {
	for _, c := range v {
		if c < 0x20 || c > 0x7e {
			return fmt.Sprintf("% x", v)
		}
	}
	return fmt.Sprintf("%q", v)
}

// optionName is what the library calls an option.
func optionName(code byte) string {
	var l dhcpv4.OptionCodeList
	if err := l.FromBytes([]byte{code}); err != nil {
		return err.Error()
	}
	return l[0].String()
}
