package dhcp

import (
	"net"
	"net/netip"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

const (
	serverPort = 67 // RFC 2131: servers and relay agents
	clientPort = 68
)

// Destination says where the reply to a request goes that came in from peer.
// Relayed: to the relay agent (RFC 2131 section 4.1). On port 4011: back to the
// sender, who as a rule has an address by then, and may ask from port 68 or 4011.
// Else to everybody on the LAN it came from, for the client has no address yet and we
// assign none.
func Destination(req *dhcpv4.DHCPv4, peer netip.AddrPort, in Ingress) netip.AddrPort {
	if relay, ok := relayAgent(req); ok {
		return netip.AddrPortFrom(relay, serverPort)
	}
	if in.Service == BootServer && !peer.Addr().IsUnspecified() {
		return peer
	}
	return netip.AddrPortFrom(everybody, clientPort)
}

// everybody is the address of all hosts of the LAN (RFC 919).
var everybody = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// relayAgent returns giaddr if a relay agent has set it.
func relayAgent(req *dhcpv4.DHCPv4) (netip.Addr, bool) {
	a, ok := address(req.GatewayIPAddr)
	return a, ok && a.IsGlobalUnicast() // no broadcast address, nor ourselves
}

// address converts an address of a packet; false if it is not there or all zero.
func address(ip net.IP) (netip.Addr, bool) {
	a, ok := netip.AddrFromSlice(ip)
	a = a.Unmap()
	return a, ok && a.Is4() && !a.IsUnspecified()
}
