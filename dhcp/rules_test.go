package dhcp_test

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"

	"farmboot/dhcp"
	"farmboot/provisioning"
)

// One test for every rule that firmware taught: what it does is known from its
// source or was measured, and a reply that breaks the rule leaves machines in the
// dark. What firmware then does with the replies is tested in package persona.

func TestRule_NeverAssignsAnAddress(t *testing.T) {
	for _, req := range []*dhcpv4.DHCPv4{discover(0), discover(7), discover(16), discover(7, ipxe(19))} {
		if m := mustAsk(t, plain, req, onLAN); !m.YourIPAddr.IsUnspecified() {
			t.Errorf("arch %v: yiaddr is %s", req.ClientArch(), m.YourIPAddr)
		}
	}
	for _, code := range []uint8{1, 3, 6, 51, 58, 59} {
		if m := mustAsk(t, plain, discover(7), onLAN); m.Options.Has(dhcpv4.GenericOptionCode(code)) {
			t.Errorf("offer carries option %d, which is the DHCP server's", code)
		}
	}
}

func TestRule_OfferFor67AckFor4011NothingElse(t *testing.T) {
	types := []dhcpv4.MessageType{1, 2, 3, 4, 5, 6, 7, 8, 9, 13}
	for _, in := range []dhcp.Ingress{onLAN, on4011} {
		for _, mt := range types {
			want := dhcpv4.MessageTypeNone
			switch {
			case in.Service == dhcp.ProxyDHCP && mt == dhcpv4.MessageTypeDiscover:
				want = dhcpv4.MessageTypeOffer
			case in.Service == dhcp.BootServer && (mt == dhcpv4.MessageTypeRequest || mt == dhcpv4.MessageTypeInform):
				want = dhcpv4.MessageTypeAck
			}
			got := dhcpv4.MessageTypeNone
			m, err := ask(plain, discover(7, dhcpv4.WithMessageType(mt)), in)
			if err == nil {
				got = m.MessageType()
			} else if !errors.Is(err, dhcp.ErrNotForUs) {
				t.Errorf("%s %s: %v", in.Service, mt, err)
			}
			if got != want {
				t.Errorf("%s answers %s with %s, want %s", in.Service, mt, got, want)
			}
		}
	}
}

func TestRule_RequestsOn67AreForTheDHCPServer_EvenWithOption60(t *testing.T) {
	for _, arch := range []iana.Arch{0, 7, 16} {
		if _, err := ask(plain, bootRequest(arch), onLAN); !errors.Is(err, dhcp.ErrNotForUs) {
			t.Errorf("arch %d: got %v", arch, err)
		}
	}
}

func TestRule_NeverAnswersAClientThatIsNotNetbooting(t *testing.T) {
	for name, req := range map[string]*dhcpv4.DHCPv4{
		"laptop: no option 60":      discover(7, without(60)),
		"Windows":                   discover(7, with(60, []byte("MSFT 5.0")...)),
		"a word that starts so":     discover(7, with(60, []byte("PXE")...)),
		"Linux with option 93 only": discover(7, with(60, []byte("udhcp 1.36.1")...)),
	} {
		if _, err := ask(plain, req, onLAN); !errors.Is(err, dhcp.ErrNotNetboot) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	reply := discover(7, func(m *dhcpv4.DHCPv4) { m.OpCode = dhcpv4.OpcodeBootReply })
	if _, err := ask(plain, reply, onLAN); !errors.Is(err, dhcp.ErrNotNetboot) {
		t.Errorf("another server's reply: got %v", err)
	}
}

func TestRule_Carries53_54_60_97_SiaddrAndFile(t *testing.T) {
	for _, c := range []struct {
		in   dhcp.Ingress
		req  *dhcpv4.DHCPv4
		kind dhcpv4.MessageType
	}{{onLAN, discover(0), dhcpv4.MessageTypeOffer}, {on4011, bootRequest(7), dhcpv4.MessageTypeAck}} {
		m := mustAsk(t, plain, c.req, c.in)
		if m.MessageType() != c.kind {
			t.Errorf("option 53 is %s: without it a reply counts as BOOTP and loses", m.MessageType())
		}
		if got := m.ServerIdentifier(); !got.Equal(serverIP.AsSlice()) {
			t.Errorf("option 54 is %s: without it edk2 ignores the offer", got)
		}
		if got := m.ClassIdentifier(); got != "PXEClient" {
			t.Errorf("option 60 is %q", got)
		}
		if diff := cmp.Diff(testGUID, m.Options.Get(dhcpv4.OptionClientMachineIdentifier)); diff != "" {
			t.Errorf("option 97 is not the client's: %s", diff)
		}
		if !m.ServerIPAddr.Equal(serverIP.AsSlice()) || m.BootFileName == "" {
			t.Errorf("siaddr %s, file %q", m.ServerIPAddr, m.BootFileName)
		}
		if m.TransactionID != c.req.TransactionID || m.ClientHWAddr.String() != c.req.ClientHWAddr.String() || m.OpCode != dhcpv4.OpcodeBootReply {
			t.Errorf("not this client's reply: %s", m.Summary())
		}
	}
}

func TestRule_BIOSOfferHasDiscoveryControl8AndTheFile(t *testing.T) {
	m := mustAsk(t, plain, discover(0), onLAN)
	if diff := cmp.Diff([]byte{6, 1, 8, 255}, m.Options.Get(dhcpv4.OptionVendorSpecificInformation)); diff != "" {
		t.Errorf("option 43: %s", diff)
	}
	if file(m) != "undionly.kpxe" {
		t.Errorf("file is %q", file(m))
	}
}

func TestRule_BIOSBootItemIsEchoed(t *testing.T) {
	m := mustAsk(t, plain, bootRequest(0, with(43, 71, 4, 0, 0, 0, 0, 255)), on4011)
	if diff := cmp.Diff([]byte{6, 1, 8, 71, 4, 0, 0, 0, 0, 255}, m.Options.Get(dhcpv4.OptionVendorSpecificInformation)); diff != "" {
		t.Errorf("option 43: %s", diff)
	}
}

func TestRule_BINL_UEFIOfferHasNoOption43(t *testing.T) {
	for _, arch := range []iana.Arch{7, 9, 11, 27, 16, 19, 28} {
		// Even when the client sends one.
		if m := mustAsk(t, plain, discover(arch, with(43, 71, 4, 0, 0, 0, 0)), onLAN); m.Options.Has(dhcpv4.OptionVendorSpecificInformation) {
			t.Errorf("arch %d: firmware before 2017 throws offers with option 43 away", arch)
		}
	}
}

func TestRule_BINL_4011AnswersWithTheFile(t *testing.T) {
	for _, mt := range []dhcpv4.MessageType{dhcpv4.MessageTypeRequest, dhcpv4.MessageTypeInform} {
		m := mustAsk(t, plain, bootRequest(7, dhcpv4.WithMessageType(mt)), on4011)
		if m.MessageType() != dhcpv4.MessageTypeAck || file(m) != "ipxe.efi" || m.Options.Has(dhcpv4.OptionVendorSpecificInformation) {
			t.Errorf("%s: got %s", mt, m.Summary())
		}
		if !m.ClientIPAddr.Equal(net.IPv4(192, 0, 2, 100)) {
			t.Errorf("ciaddr is %s, want the client's (RFC 2131 table 3)", m.ClientIPAddr)
		}
	}
}

func TestRule_ArchitectureDecidesTheFile(t *testing.T) {
	want := map[iana.Arch]string{
		0: "undionly.kpxe", 7: "ipxe.efi", 9: "ipxe.efi", 11: "ipxe-arm64.efi", 27: "ipxe-riscv64.efi",
		16: "http://192.0.2.1/boot/ipxe.efi", 19: "http://192.0.2.1/boot/ipxe-arm64.efi", 28: "http://192.0.2.1/boot/ipxe-riscv64.efi",
	}
	for arch := range iana.Arch(300) {
		m, err := ask(plain, discover(arch), onLAN)
		if name, ok := want[arch]; ok {
			if err != nil || file(m) != name {
				t.Errorf("arch %d: got %q, %v, want %q", arch, file(m), err, name)
			}
		} else if !errors.Is(err, dhcp.ErrUnknownArch) {
			t.Errorf("arch %d (%s): got %v, want silence", arch, arch, err)
		}
	}
}

func TestRule_Option93IsAList(t *testing.T) {
	for name, c := range map[string]struct {
		req  *dhcpv4.DHCPv4
		want string
	}{
		"first that we know":                 {discover(7, with(93, 0, 6, 0, 7)), "ipxe.efi"},
		"client's order":                     {discover(7, with(93, 0, 11, 0, 7)), "ipxe-arm64.efi"},
		"those of its class only":            {discover(7, with(93, 0, 16, 0, 7)), "ipxe.efi"},
		"an odd byte is no architecture":     {discover(7, with(93, 0, 7, 0)), "ipxe.efi"},
		"PXE 2.1: absent, option 60 says it": {discover(7, without(93)), "ipxe.efi"},
	} {
		if m, err := ask(plain, c.req, onLAN); err != nil || file(m) != c.want {
			t.Errorf("%s: got %v, %v", name, m, err)
		}
	}
	for name, req := range map[string]*dhcpv4.DHCPv4{
		"nothing says it":                 discover(7, without(93), with(60, []byte("PXEClient")...)),
		"option 60 is not believed then":  discover(6, with(60, []byte("PXEClient:Arch:00007:UNDI:003016")...)),
		"an HTTP client wants HTTP's":     discover(7, with(60, []byte("HTTPClient:Arch:00007:UNDI:003001")...)),
		"a PXE client cannot take a URL":  discover(16, with(60, []byte("PXEClient:Arch:00016:UNDI:003001")...)),
		"class with an impossible number": discover(7, without(93), with(60, []byte("PXEClient:Arch:99999:UNDI:003016")...)),
	} {
		if m, err := ask(plain, req, onLAN); !errors.Is(err, dhcp.ErrUnknownArch) {
			t.Errorf("%s: got %v, %v", name, m, err)
		}
	}
}

func TestRule_NeverX64ForIA32NorAnythingForARM32(t *testing.T) {
	for _, arch := range []iana.Arch{6, 10, 15, 18} {
		if m, err := ask(plain, discover(arch), onLAN); !errors.Is(err, dhcp.ErrUnknownArch) {
			t.Errorf("arch %d: got %v, %v", arch, m, err)
		}
	}
}

func TestRule_GUID_AbsentEmptyOr17Bytes(t *testing.T) {
	for n, ok := range map[int]bool{0: true, 17: true, 1: false, 16: false, 18: false, 255: false} {
		_, err := ask(plain, discover(7, with(97, make([]byte, n)...)), onLAN)
		if ok != (err == nil) || !ok && !errors.Is(err, dhcp.ErrBadGUID) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	m := mustAsk(t, plain, discover(7, without(97)), onLAN)
	if m.Options.Has(dhcpv4.OptionClientMachineIdentifier) {
		t.Error("a GUID is made up")
	}
}

func TestRule_GUIDInChaddrIsIgnoredCleanly(t *testing.T) {
	for _, hw := range []net.HardwareAddr{make([]byte, 16), {}, {0x52, 0x54, 0, 0, 0}, {0x52, 0x54, 0, 0, 0, 0xb1, 0, 0}, make([]byte, 6), {1, 0, 0x5e, 0, 0, 1}} {
		_, err := ask(plain, discover(7, func(m *dhcpv4.DHCPv4) { m.ClientHWAddr = hw }), onLAN)
		if !errors.Is(err, dhcp.ErrNotEthernet) {
			t.Errorf("chaddr %q: %v", hw, err)
		}
	}
}

func TestRule_BroadcastFromTheReceivingInterface(t *testing.T) {
	peer := netip.MustParseAddrPort("0.0.0.0:68")
	if got := dhcp.Destination(discover(7), peer, onLAN); got != netip.MustParseAddrPort("255.255.255.255:68") {
		t.Errorf("reply goes to %s", got)
	}
	// A unicast reply would need the client's address, which it has not got yet:
	// the broadcast flag does not matter.
	unicast := discover(7, func(m *dhcpv4.DHCPv4) { m.SetUnicast() })
	if got := dhcp.Destination(unicast, peer, onLAN); got != netip.MustParseAddrPort("255.255.255.255:68") {
		t.Errorf("reply goes to %s", got)
	}
}

func TestRule_On4011BackToSourceAddressAndPort(t *testing.T) {
	for _, peer := range []netip.AddrPort{netip.MustParseAddrPort("192.0.2.100:4011"), netip.MustParseAddrPort("192.0.2.100:68")} {
		if got := dhcp.Destination(bootRequest(7), peer, on4011); got != peer {
			t.Errorf("request from %s is answered to %s", peer, got)
		}
	}
	// One that has no address yet can be reached like one on port 67.
	nowhere := netip.MustParseAddrPort("0.0.0.0:68")
	if got := dhcp.Destination(bootRequest(7), nowhere, on4011); got != netip.MustParseAddrPort("255.255.255.255:68") {
		t.Errorf("request from %s is answered to %s", nowhere, got)
	}
}

// TestRule_LongOption82IsNotTheClientsToHold: the agent takes it off again.
func TestRule_LongOption82IsNotTheClientsToHold(t *testing.T) {
	relayed := dhcpv4.WithGatewayIP(net.IPv4(198, 51, 100, 1))
	if _, err := ask(plain, discover(7, without(57), with(82, make([]byte, 700)...), relayed), onLAN); err != nil {
		t.Errorf("700 bytes: %v", err)
	}
	if _, err := ask(plain, discover(7, without(57), with(82, make([]byte, 1400)...), relayed), onLAN); !errors.Is(err, dhcp.ErrNoRoom) {
		t.Errorf("1400 bytes: %v, want no fragments", err)
	}
}

func TestRule_RelayedGoesBackToGiaddrWithOption82(t *testing.T) {
	agent := []byte{1, 4, 'e', 't', 'h', '7', 2, 6, 0, 1, 2, 3, 4, 5}
	req := discover(7, with(82, agent...), dhcpv4.WithGatewayIP(net.IPv4(198, 51, 100, 1)),
		func(m *dhcpv4.DHCPv4) { m.HopCount = 1 })
	m := mustAsk(t, plain, req, onLAN)
	if diff := cmp.Diff(agent, m.Options.Get(dhcpv4.OptionRelayAgentInformation)); diff != "" {
		t.Errorf("option 82: %s", diff)
	}
	if !m.GatewayIPAddr.Equal(net.IPv4(198, 51, 100, 1)) {
		t.Errorf("giaddr is %s", m.GatewayIPAddr)
	}
	to := dhcp.Destination(req, netip.MustParseAddrPort("198.51.100.1:67"), onLAN)
	if to != netip.MustParseAddrPort("198.51.100.1:67") {
		t.Errorf("reply goes to %s", to)
	}
	b := dhcp.Append(nil, m)
	if i := strings.LastIndex(string(b), string(agent)); b[i+len(agent)] != 255 {
		t.Error("option 82 is not the last one (RFC 3046 section 2.1)")
	}
}

func TestRule_HTTPBoot_HTTPClientAndLiteralIPURL(t *testing.T) {
	named := onLAN
	named.BaseURL = "https://boot.example.org"
	for _, c := range []struct {
		r    dhcp.Responder
		in   dhcp.Ingress
		want string
	}{
		{plain, onLAN, "http://192.0.2.1/boot/ipxe.efi"},
		{plain, named, "http://192.0.2.1/boot/ipxe.efi"}, // firmware may have no DNS, and does not know our CA
		{dhcp.Responder{HTTPPort: 80}, onLAN, "http://192.0.2.1/boot/ipxe.efi"},
		{dhcp.Responder{HTTPPort: 8080}, onLAN, "http://192.0.2.1:8080/boot/ipxe.efi"}, // and needs no TFTP
	} {
		m := mustAsk(t, c.r, discover(16), c.in)
		if file(m) != c.want || m.ClassIdentifier() != "HTTPClient" {
			t.Errorf("got %q, %q, want %q", m.ClassIdentifier(), file(m), c.want)
		}
	}
}

func TestRule_IPXE_OurOwnAlwaysGetsTheScript(t *testing.T) {
	https := onLAN
	https.BaseURL = "https://boot.example.org"
	for _, r := range []dhcp.Responder{plain, {}, {Signed: true, TFTP: true}} {
		for _, in := range []dhcp.Ingress{onLAN, https, on4011} {
			for _, class := range []string{"farmboot", "\x08farmboot", "farmboot\x00"} {
				for _, features := range []dhcpv4.Modifier{without(175), ipxe(19), ipxe(0x21)} {
					req := discover(7, features, with(77, []byte(class)...))
					if in.Service == dhcp.BootServer {
						req = bootRequest(7, features, with(77, []byte(class)...))
					}
					m := mustAsk(t, r, req, in)
					if want := in.BaseURL + "/provision/52:54:00:00:00:b1"; file(m) != want {
						t.Errorf("%+v %s %q: got %q, want %q", r, in.BaseURL, class, file(m), want)
					}
				}
			}
		}
	}
}

func TestRule_IPXE_SomebodyElsesGetsTheScriptIfItCanFetchIt(t *testing.T) {
	https := onLAN
	https.BaseURL = "https://boot.example.org"
	const script, program = "http://192.0.2.1/provision/52:54:00:00:00:b1", "undionly.kpxe"
	for name, c := range map[string]struct {
		in   dhcp.Ingress
		mod  dhcpv4.Modifier
		want string
	}{
		"raw user class, says nothing of features": {onLAN, with(77, []byte("iPXE")...), script},
		"length-prefixed (RFC 3004)":               {onLAN, with(77, []byte("\x04iPXE")...), script},
		"one of several":                           {onLAN, with(77, []byte("\x03lab\x04iPXE")...), script},
		"version only":                             {onLAN, ipxe(), script},
		"with HTTP":                                {onLAN, ipxe(0x21, 19, 0x17), script},
		"features without HTTP":                    {onLAN, ipxe(0x21, 0x15), program},
		"does not know our CA":                     {https, ipxe(19, 20), program},
		"no iPXE at all":                           {onLAN, with(77, []byte("lab")...), program},
		"a longer word":                            {onLAN, with(77, []byte("iPXE2")...), program},
		"option 175 without the user class":        {onLAN, func(m *dhcpv4.DHCPv4) { ipxe(19)(m); without(77)(m) }, program},
	} {
		if got := file(mustAsk(t, plain, discover(0, c.mod), c.in)); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestRule_IPXE_SignedBuildsNeverLoop(t *testing.T) {
	signed := dhcp.Responder{TFTP: true, Signed: true}
	https := onLAN
	https.BaseURL = "https://boot.example.org"
	for _, mod := range []dhcpv4.Modifier{ipxe(), ipxe(19), ipxe(0x21)} {
		got := file(mustAsk(t, signed, discover(7, mod), https))
		if got != "http://192.0.2.1/provision/52:54:00:00:00:b1" {
			t.Errorf("an iPXE that may be the one we sent is sent %q", got)
		}
	}
}

func TestRule_IPXE_TakesAnOfferOnlyWithPXEClientSiaddrAndFile(t *testing.T) {
	m := mustAsk(t, plain, discover(7, ipxe(19)), onLAN)
	if m.ClassIdentifier() != "PXEClient" || !m.ServerIPAddr.Equal(serverIP.AsSlice()) || m.BootFileName == "" {
		t.Errorf("iPXE would ask port 4011 instead: %s", m.Summary())
	}
}

func TestRule_IPXE_VersionIsOption175Sub235(t *testing.T) {
	for _, c := range []struct {
		encap []byte
		want  string
	}{
		{[]byte{235, 3, 1, 21, 1}, "BIOS, PXEClient, iPXE 1.21.1"},
		{[]byte{177, 5, 1, 0, 0, 0, 0, 235, 3, 1, 0, 0, 19, 1, 1}, "BIOS, PXEClient, iPXE 1.0.0"},
		{[]byte{0, 0, 235, 3, 1, 21, 1, 255, 19}, "BIOS, PXEClient, iPXE 1.21.1"},
		{[]byte{235, 2, 1, 21}, "BIOS, PXEClient, iPXE"},
		{[]byte{235}, "BIOS, PXEClient, iPXE"},
		{[]byte{19, 200, 1}, "BIOS, PXEClient, iPXE"},
	} {
		client, err := dhcp.ParseClient(discover(0, ipxe(), with(175, c.encap...)))
		if err != nil || client.String() != c.want {
			t.Errorf("% x: got %q, %v, want %q", c.encap, client, err, c.want)
		}
	}
}

func TestRule_IPXE_RepeatWithTheSameXIDGetsTheSameOffer(t *testing.T) {
	first := dhcp.Append(nil, mustAsk(t, plain, discover(7, ipxe(19)), onLAN))
	second := dhcp.Append(nil, mustAsk(t, plain, discover(7, ipxe(19), func(m *dhcpv4.DHCPv4) { m.NumSeconds = 4 }), onLAN))
	if diff := cmp.Diff(first, second); diff != "" {
		t.Error(diff)
	}
}

func TestRule_RaspberryPiIsNeverFedUndionly(t *testing.T) {
	for _, oui := range []string{"b8:27:eb", "dc:a6:32", "e4:5f:01", "28:cd:c1", "d8:3a:dd"} {
		hw, err := net.ParseMAC(oui + ":01:02:03")
		if err != nil {
			t.Fatal(err)
		}
		pi := func(m *dhcpv4.DHCPv4) { m.ClientHWAddr = hw }
		if m, err := ask(plain, discover(0, pi), onLAN); !errors.Is(err, dhcp.ErrRaspberryPi) {
			t.Errorf("%s: got %v, %v", hw, m, err)
		}
		// With UEFI firmware on its card it is an ordinary arm64 machine.
		if m, err := ask(plain, discover(11, pi), onLAN); err != nil || file(m) != "ipxe-arm64.efi" {
			t.Errorf("%s with UEFI: got %v, %v", hw, m, err)
		}
	}
}

func TestRule_Option67EndsInNULOrTheHeaderFieldIsUsed(t *testing.T) {
	for n, inHeader := range map[int]bool{60: true, 127: true, 128: false, 200: false, 400: false} {
		in := onLAN
		in.BaseURL = "http://" + strings.Repeat("b", n-len("http:///provision/52:54:00:00:00:b1"))
		m := mustAsk(t, plain, discover(7, ipxe(19)), in)
		want := in.BaseURL + "/provision/52:54:00:00:00:b1"
		opt := m.Options.Get(dhcpv4.OptionBootfileName)
		switch {
		case inHeader && (m.BootFileName != want || opt != nil):
			t.Errorf("%d bytes: file %q, option 67 %q", n, m.BootFileName, opt)
		case !inHeader && (m.BootFileName != "" || string(opt) != want+"\x00"):
			t.Errorf("%d bytes: file %q, option 67 %q", n, m.BootFileName, opt)
		}
	}
}

func TestRule_ReplyFitsTheClientAndOnePacket(t *testing.T) {
	in := onLAN
	in.BaseURL = "http://" + strings.Repeat("b", 300)
	if _, err := ask(plain, discover(7, ipxe(19), without(57)), in); !errors.Is(err, dhcp.ErrNoRoom) {
		t.Errorf("a client that takes 576 bytes: %v", err)
	}
	if _, err := ask(plain, discover(7, ipxe(19)), in); err != nil {
		t.Errorf("a client that takes 1472: %v", err)
	}
	in.BaseURL = "http://" + strings.Repeat("b", 1400)
	if _, err := ask(plain, discover(7, ipxe(19), with(57, 0xff, 0xff)), in); !errors.Is(err, dhcp.ErrNoRoom) {
		t.Errorf("PXE ROMs drop fragments: %v", err)
	}
	if m := mustAsk(t, plain, discover(7), onLAN); len(dhcp.Append(nil, m)) < 300 {
		t.Error("shorter than BOOTP's 300 bytes: some relay agents drop it")
	}
}

func TestRule_IgnorePolicyIsSilence(t *testing.T) {
	req := discover(7)
	c, err := dhcp.ParseClient(req)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []provisioning.Policy{provisioning.Boot, provisioning.Hold, provisioning.Exit} {
		if _, err := plain.Reply(c, req, onLAN, provisioning.Assignment{Policy: p}); err != nil {
			t.Errorf("%s: %v: the script must say what is happening", p, err)
		}
	}
	if m, err := plain.Reply(c, req, onLAN, provisioning.Assignment{Policy: provisioning.Ignore}); !errors.Is(err, dhcp.ErrIgnored) {
		t.Errorf("got %v, %v", m, err)
	}
}

// TestRule_SNPOnlyIsAChoicePerNode: it is the safer UEFI program on some network
// cards, the one with all drivers on others.
func TestRule_SNPOnlyIsAChoicePerNode(t *testing.T) {
	as := provisioning.Assignment{Policy: provisioning.Boot, Node: provisioning.Node{NBP: provisioning.SNPOnly}}
	for name, test := range map[string]struct {
		req  *dhcpv4.DHCPv4
		want string
	}{
		"UEFI x64":      {discover(7), "snponly.efi"},
		"UEFI x64, 9":   {discover(9), "snponly.efi"},
		"HTTP Boot x64": {discover(16), "http://192.0.2.1/boot/snponly.efi"},
		"BIOS":          {discover(0), "undionly.kpxe"}, // has only one
		"UEFI arm64":    {discover(11), "ipxe-arm64.efi"},
		"our iPXE":      {discover(7, with(77, []byte("farmboot")...)), "http://192.0.2.1/provision/52:54:00:00:00:b1"},
	} {
		c, err := dhcp.ParseClient(test.req)
		if err != nil {
			t.Fatal(err)
		}
		m, err := plain.Reply(c, test.req, onLAN, as)
		if err != nil || file(m) != test.want {
			t.Errorf("%s: %v, %v, want %s", name, m, err, test.want)
		}
	}
}

func TestRule_WithoutTFTPOnlyHTTPClientsAreAnswered(t *testing.T) {
	r := dhcp.Responder{}
	for name, c := range map[string]struct {
		req *dhcpv4.DHCPv4
		err error
	}{
		"BIOS":          {discover(0), dhcp.ErrNoTFTP},
		"UEFI":          {discover(7), dhcp.ErrNoTFTP},
		"HTTP Boot":     {discover(16), nil},
		"iPXE":          {discover(0, ipxe(19)), nil},
		"iPXE, no HTTP": {discover(0, ipxe(0x21)), dhcp.ErrNoTFTP},
	} {
		if _, err := ask(r, c.req, onLAN); !errors.Is(err, c.err) {
			t.Errorf("%s: got %v, want %v", name, err, c.err)
		}
	}
}

// TestRule_ShimComesFirstWhereSecureBootIsOn: on x64 UEFI alone, unless a node is pinned
// to another program.
func TestRule_ShimComesFirstWhereSecureBootIsOn(t *testing.T) {
	signed := plain
	signed.Shim = "shimx64.efi"
	for _, test := range []struct {
		req    *dhcpv4.DHCPv4
		choice provisioning.NBP
		want   string
	}{
		{discover(7), provisioning.DefaultNBP, "shimx64.efi"},
		{discover(9), provisioning.DefaultNBP, "shimx64.efi"},
		{discover(16), provisioning.DefaultNBP, "http://192.0.2.1/boot/shimx64.efi"},
		{discover(7), provisioning.SignedSNPOnly, "snp/shimx64.efi"},
		{discover(16), provisioning.SignedSNPOnly, "http://192.0.2.1/boot/snp/shimx64.efi"},
		{discover(7), provisioning.Signed, "grubx64.efi"},
		{discover(0), provisioning.Signed, "undionly.kpxe"},
		{discover(7), provisioning.SNPOnly, "snponly.efi"},
		{discover(7), provisioning.Plain, "ipxe.efi"},
		{discover(16), provisioning.Plain, "http://192.0.2.1/boot/ipxe.efi"},
		{discover(0), provisioning.DefaultNBP, "undionly.kpxe"},
		{discover(0), provisioning.SignedSNPOnly, "undionly.kpxe"},
		{discover(11), provisioning.DefaultNBP, "ipxe-arm64.efi"},
		{discover(27), provisioning.SignedSNPOnly, "ipxe-riscv64.efi"},
		{discover(7, with(77, []byte("farmboot")...)), provisioning.DefaultNBP, "http://192.0.2.1/provision/52:54:00:00:00:b1"},
	} {
		c, err := dhcp.ParseClient(test.req)
		if err != nil {
			t.Fatal(err)
		}
		as := provisioning.Assignment{Policy: provisioning.Boot, Node: provisioning.Node{NBP: test.choice}}
		if m, err := signed.Reply(c, test.req, onLAN, as); err != nil || file(m) != test.want {
			t.Errorf("%s, %q: %v, %v, want %s", c, test.choice, m, err, test.want)
		}
		// iPXE's own signed pair has one program, which is signed already.
		pair := signed
		pair.Shim, pair.Signed = "ipxe-shimx64.efi", true
		wantPair := strings.NewReplacer("snp/shimx64", "ipxe-shimx64", "shimx64", "ipxe-shimx64", "grubx64", "ipxe").Replace(test.want)
		if m, err := pair.Reply(c, test.req, onLAN, as); err != nil || file(m) != wantPair {
			t.Errorf("%s, %q, iPXE's pair: %v, %v, want %s", c, test.choice, m, err, wantPair)
		}
		// A node that a person is to enrol gets the disk with our certificate, if its
		// firmware can keep one in memory.
		enrolling := as
		enrolling.Enrolling = true
		want := test.want
		if test.req.ClientArch()[0] == 16 {
			want = "http://192.0.2.1/boot/enrol.img"
		}
		if m, err := signed.Reply(c, test.req, onLAN, enrolling); err != nil || file(m) != want {
			t.Errorf("%s, %q, to be enrolled: %v, %v, want %s", c, test.choice, m, err, want)
		}
		if m, err := plain.Reply(c, test.req, onLAN, enrolling); err != nil || strings.Contains(file(m), "enrol") {
			t.Errorf("%s, to be enrolled, without shim: %v, %v", c, m, err)
		}
		// Without shim the choices that are about it change nothing.
		if test.choice == provisioning.SignedSNPOnly {
			as.Node.NBP = provisioning.SNPOnly
		} else if test.choice == provisioning.Plain || test.choice == provisioning.Signed {
			as.Node.NBP = provisioning.DefaultNBP
		}
		same, err := plain.Reply(c, test.req, onLAN, as)
		if err != nil {
			t.Fatal(err)
		}
		as.Node.NBP = test.choice
		if m, err := plain.Reply(c, test.req, onLAN, as); err != nil || file(m) != file(same) {
			t.Errorf("%s, %q, without shim: %v, %v, want %s", c, test.choice, m, err, file(same))
		}
	}
}
