package fakeclient_test

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"farmboot/dhcp/fakeclient"
)

const script = "http://192.0.2.1/provision/52:54:00:00:00:b1"

// ours are the personas that Farmboot boots, and what.
var ours = map[string]string{
	"UEFI x64":                 "ipxe.efi",
	"UEFI x64 before 2017":     "ipxe.efi",
	"BIOS":                     "undionly.kpxe",
	"iPXE in ROM":              script,
	"iPXE in ROM without HTTP": "undionly.kpxe",
	"Farmboot's iPXE, UEFI":    script,
	"Farmboot's iPXE, BIOS":    script,
	"UEFI HTTP Boot x64":       "http://192.0.2.1/boot/ipxe.efi",
	"UEFI HTTP Boot arm64":     "http://192.0.2.1/boot/ipxe-arm64.efi",
	"UEFI arm64":               "ipxe-arm64.efi",
	"UEFI riscv64":             "ipxe-riscv64.efi",
}

func TestEveryPersonaBesideAnOrdinaryDHCPServer(t *testing.T) {
	for _, servers := range [][]server{
		{dhcpServer(), appliance(farmboot)},
		{appliance(farmboot), dhcpServer()}, // whoever is faster
	} {
		for _, p := range fakeclient.All() {
			r := boot(t, p, identity(p), servers...)
			want, booting := ours[p.Name]
			switch {
			case booting && (r.Err != nil || r.Boot == nil || r.Boot.File != want || r.Boot.Server != farmboot):
				t.Errorf("%s: boots %+v, %v, want %s from %s", p.Name, r.Boot, r.Err, want, farmboot)
			case !booting && r.Boot != nil:
				t.Errorf("%s: boots %+v", p.Name, r.Boot)
			case r.Address != address && p.Name != "Raspberry Pi":
				t.Errorf("%s: has the address %s", p.Name, r.Address)
			}
			if len(r.Ignored) > 0 {
				t.Errorf("%s: throws away %v", p.Name, r.Ignored)
			}
		}
	}
}

// TestDecidesBy: firmware decides at the end of a wait, however late the offers come.
func TestDecidesBy(t *testing.T) {
	const second = time.Second
	for _, tt := range []struct {
		persona    fakeclient.Persona
		came, want time.Duration
	}{
		{fakeclient.UEFI(), 0, 4 * second},
		{fakeclient.UEFI(), 3900 * time.Millisecond, 4 * second},
		{fakeclient.UEFI(), 4 * second, 12 * second},
		{fakeclient.HTTPBoot(), 12100 * time.Millisecond, 28 * second},
		{fakeclient.BIOS(), 28 * second, 60 * second},
		{fakeclient.BIOS(), 70 * second, 60 * second},
		{fakeclient.IPXEROM(), 0, 3 * second},
		{fakeclient.IPXEROM(), 4 * second, 7 * second},
	} {
		if got := tt.persona.DecidesBy(tt.came); got != tt.want {
			t.Errorf("%s, offers after %v: decides after %v, want %v", tt.persona.Name, tt.came, got, tt.want)
		}
	}
}

func TestPersonasThatFarmbootLeavesAlone(t *testing.T) {
	answers := func(p fakeclient.Packet) []fakeclient.Packet {
		replies := appliance(farmboot)(p)
		if len(replies) > 0 {
			t.Errorf("Farmboot answers %q", p.Data)
		}
		return replies
	}
	if r := boot(t, fakeclient.RaspberryPi(), identity(fakeclient.RaspberryPi()), dhcpServer(), answers); !errors.Is(r.Err, fakeclient.ErrNoBootOffer) {
		t.Errorf("Raspberry Pi: %+v", r)
	}
	if r := boot(t, fakeclient.Laptop(), id, dhcpServer(), answers); r.Err != nil || r.Address != address {
		t.Errorf("laptop: %+v", r)
	}
}

// identity is the machine that has a persona: a Raspberry Pi has one of their
// addresses.
func identity(p fakeclient.Persona) fakeclient.Identity {
	machine := id
	if p.Name == "Raspberry Pi" {
		machine.MAC = [6]byte{0xb8, 0x27, 0xeb, 1, 2, 3}
	}
	return machine
}

// TestSecureBoot: firmware with Secure Boot on takes shim, and what the appliance hands out
// without Secure Boot it refuses.
func TestSecureBoot(t *testing.T) {
	named := func(name string) mutation {
		return change(func(m *dhcpv4.DHCPv4) {
			if m.BootFileName != "" {
				m.BootFileName = name
			}
		})
	}
	for name, good := range map[string]bool{"shimx64.efi": true, "snp/shimx64.efi": true, "ipxe-shimx64.efi": true, "ipxe.efi": false, "shim/ipxe.efi": false} {
		r := boot(t, fakeclient.SecureBoot(), id, dhcpServer(), appliance(farmboot, named(name)))
		if r.Boot == nil || r.Boot.File != name || (r.Err == nil) != good || !good && !errors.Is(r.Err, fakeclient.ErrUnsigned) {
			t.Errorf("%s: %+v, %v", name, r.Boot, r.Err)
		}
	}
	if r := boot(t, fakeclient.SecureBoot(), id, dhcpServer(), appliance(farmboot, named("shimaa64.efi"))); !errors.Is(r.Err, fakeclient.ErrWrongFile) {
		t.Errorf("shim of another processor: %v", r.Err)
	}
}

func TestWithoutFarmboot(t *testing.T) {
	for _, p := range fakeclient.All() {
		if r := boot(t, p, id, dhcpServer()); p.Name != "laptop" && !errors.Is(r.Err, fakeclient.ErrNoBootOffer) {
			t.Errorf("%s: %+v", p.Name, r)
		}
	}
}

func TestWithoutDHCPServer(t *testing.T) {
	for _, p := range fakeclient.All() {
		if r := boot(t, p, id, appliance(farmboot)); !errors.Is(r.Err, fakeclient.ErrNoLease) {
			t.Errorf("%s: %+v", p.Name, r)
		}
	}
}

// TestSpoiltRepliesAreNoticed shows that the simulator can fail: each mutation of
// Farmboot's replies must stop the machines that would stumble over it, for the
// right reason, and no others.
func TestSpoiltRepliesAreNoticed(t *testing.T) {
	file := func(name string) mutation {
		return change(func(m *dhcpv4.DHCPv4) { m.BootFileName = name })
	}
	only := func(want dhcpv4.MessageType, f mutation) mutation {
		return func(m *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
			if m.MessageType() == want {
				return f(m)
			}
			return m
		}
	}
	lost := func(*dhcpv4.DHCPv4) *dhcpv4.DHCPv4 { return nil }
	type verdicts map[string]error
	for name, c := range map[string]struct {
		spoil mutation
		want  verdicts // of those that fail; the others boot
	}{
		"no option 53": {remove(53), verdicts{
			"UEFI x64": fakeclient.ErrNoMessageType, "UEFI x64 before 2017": fakeclient.ErrNoMessageType,
			"BIOS": fakeclient.ErrNoMessageType, "HTTP": fakeclient.ErrNoMessageType,
		}},
		"no option 54": {remove(54), verdicts{
			"UEFI x64": fakeclient.ErrNoServerID, "UEFI x64 before 2017": fakeclient.ErrNoServerID,
			"BIOS": fakeclient.ErrNoServerID, "HTTP": fakeclient.ErrNoServerID,
		}},
		"no option 60": {remove(60), verdicts{
			"UEFI x64": fakeclient.ErrNotPXEClient, "UEFI x64 before 2017": fakeclient.ErrNotPXEClient,
			"BIOS": fakeclient.ErrNotPXEClient, "HTTP": fakeclient.ErrNotHTTPClient,
			"iPXE": fakeclient.ErrNotPXEClient, "Farmboot": fakeclient.ErrNotPXEClient,
		}},
		"option 43 on UEFI": {change(set(43, 6, 1, 8, 255)), verdicts{
			"UEFI x64 before 2017": fakeclient.ErrPXE10,
		}},
		"option 43 without the file bit": {change(set(43, 6, 1, 0, 255)), verdicts{
			"UEFI x64": fakeclient.ErrMenu, "UEFI x64 before 2017": fakeclient.ErrPXE10, "BIOS": fakeclient.ErrMenu,
		}},
		"multicast TFTP": {change(set(43, 1, 4, 224, 0, 0, 1, 255)), verdicts{
			"UEFI x64": fakeclient.ErrMTFTP, "UEFI x64 before 2017": fakeclient.ErrMTFTP,
		}},
		"file of another architecture": {file("ipxe-arm64.efi"), verdicts{
			"UEFI x64": fakeclient.ErrWrongFile, "UEFI x64 before 2017": fakeclient.ErrWrongFile,
			"BIOS": fakeclient.ErrWrongFile, "HTTP": fakeclient.ErrNotURL, "iPXE": fakeclient.ErrWrongFile, "Farmboot": fakeclient.ErrLoop,
		}},
		"iPXE for iPXE": {file("undionly.kpxe"), verdicts{
			"UEFI x64": fakeclient.ErrWrongFile, "UEFI x64 before 2017": fakeclient.ErrWrongFile,
			"HTTP": fakeclient.ErrNotURL, "Farmboot": fakeclient.ErrLoop,
		}},
		"URL with a name": {only(dhcpv4.MessageTypeOffer, file("ftp://boot.example.org/x")), verdicts{
			"iPXE": fakeclient.ErrCannotFetch, "Farmboot": fakeclient.ErrCannotFetch,
		}},
		"no file in the ACK": {only(dhcpv4.MessageTypeAck, file("")), verdicts{
			"UEFI x64": fakeclient.ErrNoBootServer, "UEFI x64 before 2017": fakeclient.ErrNoBootServer,
		}},
		"no file at all": {file(""), verdicts{
			"UEFI x64": fakeclient.ErrNoBootServer, "UEFI x64 before 2017": fakeclient.ErrNoBootServer,
			"BIOS": fakeclient.ErrNoFile, "HTTP": fakeclient.ErrNoFile,
			"iPXE": fakeclient.ErrNoBootServer, "Farmboot": fakeclient.ErrNoBootServer,
		}},
		"nobody on 4011": {only(dhcpv4.MessageTypeAck, lost), verdicts{
			"UEFI x64": fakeclient.ErrNoBootServer, "UEFI x64 before 2017": fakeclient.ErrNoBootServer,
		}},
		"another machine's GUID": {change(set(97, make([]byte, 17)...)), verdicts{"BIOS": fakeclient.ErrWrongGUID}},
		"a NAK instead": {only(dhcpv4.MessageTypeOffer, change(dhcpv4.WithMessageType(dhcpv4.MessageTypeNak))), verdicts{
			"UEFI x64": fakeclient.ErrWrongType, "UEFI x64 before 2017": fakeclient.ErrWrongType, "BIOS": fakeclient.ErrWrongType, "HTTP": fakeclient.ErrWrongType,
		}},
		"another transaction": {change(func(m *dhcpv4.DHCPv4) { m.TransactionID[0]++ }), verdicts{
			"UEFI x64": fakeclient.ErrNoBootOffer, "UEFI x64 before 2017": fakeclient.ErrNoBootOffer, "BIOS": fakeclient.ErrNoBootOffer,
			"HTTP": fakeclient.ErrNoBootOffer, "iPXE": fakeclient.ErrNoBootOffer, "Farmboot": fakeclient.ErrNoBootOffer,
		}},
		"another machine": {change(func(m *dhcpv4.DHCPv4) { m.ClientHWAddr[5]++ }), verdicts{
			"UEFI x64": fakeclient.ErrNoBootOffer, "UEFI x64 before 2017": fakeclient.ErrNoBootOffer, "BIOS": fakeclient.ErrNoBootOffer,
			"HTTP": fakeclient.ErrNoBootOffer, "iPXE": fakeclient.ErrNoBootOffer, "Farmboot": fakeclient.ErrNoBootOffer,
		}},
		"nothing": {change(), nil},
	} {
		for short, p := range map[string]fakeclient.Persona{
			"UEFI x64": fakeclient.UEFI(), "UEFI x64 before 2017": fakeclient.OldUEFI(), "BIOS": fakeclient.BIOS(),
			"HTTP": fakeclient.HTTPBoot(), "iPXE": fakeclient.IPXEROM(), "Farmboot": fakeclient.FarmbootBIOS(),
		} {
			r := boot(t, p, id, dhcpServer(), appliance(farmboot, copied, c.spoil))
			want := c.want[short]
			if want == nil {
				if r.Err != nil {
					t.Errorf("%s, %s: %v, ignored %v", name, short, r.Err, r.Ignored)
				}
				continue
			}
			found := errors.Is(r.Err, want)
			for _, i := range r.Ignored {
				found = found || errors.Is(i.Why, want)
			}
			if r.Err == nil || !found {
				t.Errorf("%s, %s: %+v, want %v", name, short, r, want)
			}
		}
	}
}

// copied unshares a reply from its request, so that mutations reach it only.
func copied(m *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
	c, err := dhcpv4.FromBytes(m.ToBytes())
	if err != nil {
		panic(err)
	}
	return c
}

func TestRule_ARouterThatSendsOption60OutranksUs(t *testing.T) {
	pxe := dhcpServer(set(60, []byte("PXEClient")...))
	for _, p := range []fakeclient.Persona{fakeclient.UEFI(), fakeclient.OldUEFI(), fakeclient.ARM64(), fakeclient.BIOS()} {
		r := boot(t, p, id, pxe, appliance(farmboot))
		if !errors.Is(r.Err, fakeclient.ErrNoBootServer) || r.Boot != nil {
			t.Errorf("%s: %+v: it asks the router on port 4011, in vain", p.Name, r)
		}
	}
	if r := boot(t, fakeclient.HTTPBoot(), id, pxe, appliance(farmboot)); r.Err != nil {
		t.Errorf("HTTP Boot looks for HTTPClient: %+v", r)
	}
}

func TestADHCPServerThatNamesAFile(t *testing.T) {
	named := dhcpServer(dhcpv4.WithServerIP(rival.AsSlice()), func(m *dhcpv4.DHCPv4) { m.BootFileName = "pxelinux.0" })
	for _, p := range []fakeclient.Persona{fakeclient.UEFI(), fakeclient.BIOS(), fakeclient.IPXEROM(), fakeclient.HTTPBoot()} {
		if r := boot(t, p, id, named, appliance(farmboot)); r.Err != nil || r.Boot.Server != farmboot {
			t.Errorf("%s prefers the proxy: %+v", p.Name, r)
		}
	}
	r := boot(t, fakeclient.BIOS(), id, named)
	if r.Err != nil || *r.Boot != (fakeclient.Boot{File: "pxelinux.0", Server: rival}) {
		t.Errorf("without a proxy it boots that: %+v", r)
	}
	if r := boot(t, fakeclient.UEFI(), id, named); !errors.Is(r.Err, fakeclient.ErrWrongFile) {
		t.Errorf("pxelinux.0 is not for UEFI: %+v", r)
	}
	// Option 67 comes before the header's field, and siaddr may be missing.
	by67 := dhcpServer(set(67, []byte("ipxe.efi")...))
	if r := boot(t, fakeclient.UEFI(), id, by67); r.Err != nil || *r.Boot != (fakeclient.Boot{File: "ipxe.efi", Server: router}) {
		t.Errorf("option 67: %+v", r)
	}
}

func TestTwoAppliancesOnOneLAN(t *testing.T) {
	for _, p := range fakeclient.All() {
		if _, booting := ours[p.Name]; !booting {
			continue
		}
		r := boot(t, p, id, dhcpServer(), appliance(rival), appliance(farmboot))
		if r.Err != nil || r.Boot.Server != rival && r.Boot.Server != farmboot {
			t.Errorf("%s: %+v", p.Name, r)
		}
		// One of them is dead on 4011: BINL goes on to the other.
		deaf := func(m *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
			if m.MessageType() == dhcpv4.MessageTypeAck {
				return nil
			}
			return m
		}
		r = boot(t, p, id, dhcpServer(), appliance(rival, deaf), appliance(farmboot))
		if r.Err != nil {
			t.Errorf("%s, one of two dead: %+v", p.Name, r)
		}
	}
}

func TestPacketsLostOnTheWay(t *testing.T) {
	for _, p := range fakeclient.All() {
		want, booting := ours[p.Name]
		if !booting {
			continue
		}
		for _, every := range []int{2, 3} {
			lossy := func(s server) server {
				n := 0
				return func(p fakeclient.Packet) []fakeclient.Packet {
					if n++; n%every == 1 {
						return nil
					}
					return s(p)
				}
			}
			if r := boot(t, p, id, lossy(dhcpServer()), lossy(appliance(farmboot))); r.Err != nil || r.Boot.File != want {
				t.Errorf("%s, one of %d lost: %+v", p.Name, every, r)
			}
		}
	}
}

func TestLeaseThatIsRefused(t *testing.T) {
	plain := dhcpServer()
	nak := func(p fakeclient.Packet) []fakeclient.Packet {
		out := plain(p)
		for i := range out {
			m, err := dhcpv4.FromBytes(out[i].Data)
			if err == nil && m.MessageType() == dhcpv4.MessageTypeAck {
				m.UpdateOption(dhcpv4.OptMessageType(dhcpv4.MessageTypeNak))
				out[i].Data = m.ToBytes()
			}
		}
		return out
	}
	if r := boot(t, fakeclient.UEFI(), id, nak, appliance(farmboot)); !errors.Is(r.Err, fakeclient.ErrRefused) {
		t.Errorf("got %+v", r)
	}
}

func TestMachineThatHasAnAddressTakesNoLease(t *testing.T) {
	with := id
	with.Address = netip.MustParseAddr("192.0.2.7")
	plain := dhcpServer()
	careful := func(p fakeclient.Packet) []fakeclient.Packet {
		if m, err := dhcpv4.FromBytes(p.Data); err == nil && m.MessageType() == dhcpv4.MessageTypeRequest && p.To.Port() == 67 {
			t.Errorf("takes a lease: %s", m.Summary())
		}
		return plain(p)
	}
	for _, p := range []fakeclient.Persona{fakeclient.UEFI(), fakeclient.BIOS(), fakeclient.IPXEROM(), fakeclient.HTTPBoot()} {
		r := boot(t, p, with, careful, appliance(farmboot))
		if r.Err != nil || r.Boot.File != ours[p.Name] || r.Address != with.Address || r.Lease != router {
			t.Errorf("%s: %+v", p.Name, r)
		}
	}
}

func TestGiveUpSaysWhatWasMissing(t *testing.T) {
	silent, _ := fakeclient.UEFI().Start(id)
	if r := silent.GiveUp(); !errors.Is(r.Err, fakeclient.ErrNoLease) {
		t.Errorf("nothing received: %v", r.Err)
	}
	m, step := fakeclient.UEFI().Start(id)
	for _, p := range dhcpServer()(step.Send[0]) {
		m.Receive(p)
	}
	if r := m.GiveUp(); !errors.Is(r.Err, fakeclient.ErrNoBootOffer) {
		t.Errorf("only an address received: %v", r.Err)
	}
}
