package fakeclient_test

import (
	"net/netip"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"farmboot/dhcp/fakeclient"
)

// FuzzPersonaReceive: whatever a network sends, in whatever state, firmware comes
// to a result in bounded time and never boots a file without a name.
func FuzzPersonaReceive(f *testing.F) {
	for i, p := range fakeclient.All() {
		_, step := p.Start(id)
		for _, s := range []server{dhcpServer(), appliance(farmboot), appliance(farmboot, copied, remove(53)), dhcpServer(set(60, []byte("PXEClient")...))} {
			for _, packet := range s(step.Send[0]) {
				f.Add(uint8(i), packet.Data, packet.From.Port())
			}
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, data []byte, port uint16) {
		personas := fakeclient.All()
		p := personas[int(which)%len(personas)]
		strange := func(q fakeclient.Packet) []fakeclient.Packet {
			b := append([]byte(nil), data...)
			if len(b) >= 34 { // make it this machine's, or it would only ever be skipped
				copy(b[4:8], q.Data[4:8])
				copy(b[28:34], q.Data[28:34])
			}
			return []fakeclient.Packet{{From: netip.AddrPortFrom(rival, port), To: q.From, Data: b}}
		}
		r := boot(t, p, id, strange, dhcpServer(), appliance(farmboot, func(m *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 { return m }))
		if r.Boot != nil && r.Boot.File == "" {
			t.Errorf("%+v", r)
		}
	})
}
