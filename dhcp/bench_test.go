package dhcp_test

import (
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"farmboot/dhcp"
)

// BenchmarkOffer is the whole way of a DISCOVER, bytes to bytes.
func BenchmarkOffer(b *testing.B) {
	packet := discover(7).ToBytes()
	var req dhcpv4.DHCPv4
	out := make([]byte, 0, 1500)
	b.ReportAllocs()
	for b.Loop() {
		if err := dhcp.Decode(packet, &req); err != nil {
			b.Fatal(err)
		}
		c, err := dhcp.ParseClient(&req)
		if err != nil {
			b.Fatal(err)
		}
		reply, err := plain.Reply(c, &req, onLAN, boots)
		if err != nil {
			b.Fatal(err)
		}
		out = dhcp.Append(out[:0], reply)
	}
}

// BenchmarkOfferWithLibrary is the same with the library's codec and modifiers.
func BenchmarkOfferWithLibrary(b *testing.B) {
	packet := discover(7).ToBytes()
	b.ReportAllocs()
	for b.Loop() {
		req, err := dhcpv4.FromBytes(packet)
		if err != nil {
			b.Fatal(err)
		}
		if req.ClassIdentifier() == "" || len(req.ClientArch()) == 0 {
			b.Fatal("not a PXE client")
		}
		reply, err := dhcpv4.NewReplyFromRequest(req,
			dhcpv4.WithMessageType(dhcpv4.MessageTypeOffer),
			dhcpv4.WithServerIP(serverIP.AsSlice()),
			dhcpv4.WithOption(dhcpv4.OptServerIdentifier(serverIP.AsSlice())),
			dhcpv4.WithOption(dhcpv4.OptClassIdentifier("PXEClient")),
			dhcpv4.WithOptionCopied(req, dhcpv4.OptionClientMachineIdentifier))
		if err != nil {
			b.Fatal(err)
		}
		reply.BootFileName = "ipxe.efi"
		_ = reply.ToBytes()
	}
}
