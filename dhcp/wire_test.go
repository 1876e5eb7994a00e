package dhcp_test

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/insomniacslk/dhcp/dhcpv4"

	"farmboot/dhcp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestGoldenPackets(t *testing.T) {
	relay := func(m *dhcpv4.DHCPv4) {
		m.HopCount = 1
		m.GatewayIPAddr = []byte{198, 51, 100, 1}
		with(82, 1, 4, 'e', 't', 'h', '7')(m)
	}
	for name, c := range map[string]struct {
		req *dhcpv4.DHCPv4
		in  dhcp.Ingress
	}{
		"bios-offer":         {discover(0), onLAN},
		"bios-ack":           {bootRequest(0, with(43, 71, 4, 0, 0, 0, 0, 255)), on4011},
		"uefi-offer":         {discover(7), onLAN},
		"uefi-ack":           {bootRequest(7), on4011},
		"uefi-relayed-offer": {discover(7, relay), onLAN},
		"arm64-offer":        {discover(11), onLAN},
		"http-offer":         {discover(16), onLAN},
		"ipxe-rom-offer":     {discover(0, ipxe(19)), onLAN},
		"our-ipxe-offer":     {discover(7, ipxe(19), with(77, []byte("farmboot")...)), onLAN},
	} {
		reply, err := ask(plain, c.req, c.in)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got := readable(dhcp.Append(nil, reply))
		path := filepath.Join("testdata", "golden", name+".txt")
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// overloaded moves the options of a request into other fields: 60 into file, 93
// and 97 into sname.
func overloaded(req *dhcpv4.DHCPv4) []byte {
	var file, sname []byte
	put := func(field []byte, code uint8) []byte {
		v := req.Options.Get(dhcpv4.GenericOptionCode(code))
		req.DeleteOption(dhcpv4.GenericOptionCode(code))
		return append(append(field, 0, code, byte(len(v))), v...)
	}
	file = put(file, 60)
	sname = put(put(sname, 93), 97)
	with(52, 3)(req)
	b := req.ToBytes()
	copy(b[108:], append(file, 255))
	copy(b[44:], append(sname, 255))
	return b
}

func TestRule_OptionsOverloadedWithPadsInAnyOrder(t *testing.T) {
	var req dhcpv4.DHCPv4
	if err := dhcp.Decode(overloaded(discover(7)), &req); err != nil {
		t.Fatal(err)
	}
	c, err := dhcp.ParseClient(&req)
	if err != nil || c.Program.File != "ipxe.efi" || cmp.Diff(testGUID, c.GUID) != "" {
		t.Errorf("overloaded: got %+v, %v", c, err)
	}
	if req.BootFileName != "" || req.ServerHostName != "" {
		t.Errorf("options are taken for names: %q, %q", req.BootFileName, req.ServerHostName)
	}

	// Without option 52 the same fields are names, and hold no options.
	b := overloaded(discover(7))
	for i := 240; i < len(b); i++ {
		if b[i] == 52 && b[i+1] == 1 {
			b[i+2] = 0
			break
		}
	}
	if err := dhcp.Decode(b, &req); err != nil {
		t.Fatal(err)
	}
	if _, err := dhcp.ParseClient(&req); err != dhcp.ErrNotNetboot {
		t.Errorf("not overloaded: got %v", err)
	}

	// Reverse order, a pad before each option, option 60 in two parts (RFC 3396),
	// and no end.
	b = discover(7).ToBytes()[:240]
	for _, o := range [][]byte{{97, 0}, {93, 2, 0, 7}, {60, 4, 'P', 'X', 'E', 'C'}, {60, 5, 'l', 'i', 'e', 'n', 't'}, {53, 1, 1}} {
		b = append(append(b, 0), o...)
	}
	if err := dhcp.Decode(b, &req); err != nil {
		t.Fatal(err)
	}
	if c, err := dhcp.ParseClient(&req); err != nil || c.Class != dhcp.PXEClient || c.Arch != 7 {
		t.Errorf("pads and parts: got %+v, %v", c, err)
	}
}

func TestDecodeRefusesWhatIsNoPacket(t *testing.T) {
	whole := discover(7).ToBytes()
	cut := slices.Clip(whole[:240])
	for name, b := range map[string][]byte{
		"empty":              nil,
		"header only":        whole[:239],
		"no cookie":          make([]byte, 300),
		"option runs over":   append(cut, 60, 9, 'P', 'X', 'E'),
		"option without len": append(cut, 60),
	} {
		if err := dhcp.Decode(b, new(dhcpv4.DHCPv4)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestDecodeForgetsTheLastPacket(t *testing.T) {
	var m dhcpv4.DHCPv4
	if err := dhcp.Decode(discover(7, ipxe(19)).ToBytes(), &m); err != nil {
		t.Fatal(err)
	}
	if err := dhcp.Decode(discover(0).ToBytes(), &m); err != nil {
		t.Fatal(err)
	}
	want, err := dhcpv4.FromBytes(discover(0).ToBytes())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.Options, m.Options); diff != "" {
		t.Error(diff)
	}
}
