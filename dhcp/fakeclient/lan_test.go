package fakeclient_test

import (
	"net"
	"net/netip"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"farmboot/dhcp"
	"farmboot/dhcp/fakeclient"
	"farmboot/provisioning"
)

// A LAN in memory: servers that answer packets with packets.

var (
	router   = netip.MustParseAddr("192.0.2.254") // the DHCP server
	farmboot = netip.MustParseAddr("192.0.2.1")
	rival    = netip.MustParseAddr("192.0.2.66")
	address  = netip.MustParseAddr("192.0.2.100")
	id       = fakeclient.Identity{
		MAC: [6]byte{0x52, 0x54, 0, 0, 0, 0xb1}, GUID: [16]byte([]byte("0123456789abcdef")), XID: 0x01020304,
	}
)

// server answers a packet, or not.
type server func(fakeclient.Packet) []fakeclient.Packet

// mutation spoils a reply, to see whether the firmware notices. It may return nil
// to lose it.
type mutation func(*dhcpv4.DHCPv4) *dhcpv4.DHCPv4

func set(code uint8, value ...byte) dhcpv4.Modifier {
	return dhcpv4.WithGeneric(dhcpv4.GenericOptionCode(code), value)
}

func change(mods ...dhcpv4.Modifier) mutation {
	return func(m *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
		for _, mod := range mods {
			mod(m)
		}
		return m
	}
}

func remove(code uint8) mutation {
	return change(func(m *dhcpv4.DHCPv4) { m.DeleteOption(dhcpv4.GenericOptionCode(code)) })
}

// dhcpServer is an ordinary DHCP server that knows nothing of network boot,
// unless told so by mods.
func dhcpServer(mods ...dhcpv4.Modifier) server {
	return func(p fakeclient.Packet) []fakeclient.Packet {
		req, err := dhcpv4.FromBytes(p.Data)
		if err != nil || p.To.Port() != 67 {
			return nil
		}
		answer := dhcpv4.MessageTypeOffer
		switch req.MessageType() {
		case dhcpv4.MessageTypeDiscover:
		case dhcpv4.MessageTypeRequest:
			if !req.ServerIdentifier().Equal(router.AsSlice()) {
				return nil
			}
			answer = dhcpv4.MessageTypeAck
		default:
			return nil
		}
		m, err := dhcpv4.NewReplyFromRequest(req, dhcpv4.PrependModifiers(mods,
			dhcpv4.WithMessageType(answer),
			dhcpv4.WithYourIP(address.AsSlice()),
			dhcpv4.WithNetmask(net.CIDRMask(24, 32)),
			dhcpv4.WithRouter(router.AsSlice()),
			dhcpv4.WithDNS(router.AsSlice()),
			dhcpv4.WithOption(dhcpv4.OptServerIdentifier(router.AsSlice())))...)
		if err != nil {
			panic(err)
		}
		return []fakeclient.Packet{{From: netip.AddrPortFrom(router, 67), To: netip.MustParseAddrPort("255.255.255.255:68"), Data: m.ToBytes()}}
	}
}

// appliance is Farmboot's own responder, at an address, with replies spoilt.
func appliance(at netip.Addr, spoil ...mutation) server {
	responder := dhcp.Responder{TFTP: true}
	return func(p fakeclient.Packet) []fakeclient.Packet {
		in := dhcp.Ingress{Service: dhcp.ProxyDHCP, Server: at, BaseURL: "http://" + at.String()}
		if p.To.Port() == 4011 {
			if p.To.Addr() != at {
				return nil
			}
			in.Service = dhcp.BootServer
		}
		var req dhcpv4.DHCPv4
		if dhcp.Decode(p.Data, &req) != nil {
			return nil
		}
		c, err := dhcp.ParseClient(&req)
		if err != nil {
			return nil
		}
		reply, err := responder.Reply(c, &req, in, provisioning.Assignment{Policy: provisioning.Boot})
		if err != nil {
			return nil
		}
		for _, f := range spoil {
			if reply = f(reply); reply == nil {
				return nil
			}
		}
		return []fakeclient.Packet{{
			From: netip.AddrPortFrom(at, p.To.Port()),
			To:   dhcp.Destination(&req, p.From, in),
			Data: dhcp.Append(nil, reply),
		}}
	}
}

// boot plays a machine on a LAN to its end.
func boot(t *testing.T, p fakeclient.Persona, id fakeclient.Identity, servers ...server) fakeclient.Result {
	t.Helper()
	m, step := p.Start(id)
	for range 1000 {
		if step.Done != nil {
			return *step.Done
		}
		var arriving []fakeclient.Packet
		for _, packet := range step.Send {
			for _, s := range servers {
				arriving = append(arriving, s(packet)...)
			}
		}
		step = fakeclient.Step{}
		for _, packet := range arriving {
			next := m.Receive(packet)
			step.Send = append(step.Send, next.Send...)
			if next.Done != nil {
				step.Done = next.Done
			}
		}
		if step.Done == nil && len(step.Send) == 0 {
			step = m.Expire()
		}
	}
	t.Fatalf("%s comes to no result", p.Name)
	return fakeclient.Result{}
}
