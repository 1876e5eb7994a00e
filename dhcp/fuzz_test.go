package dhcp_test

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/insomniacslk/dhcp/dhcpv4"

	"farmboot/dhcp"
)

func seeds() [][]byte {
	return [][]byte{
		discover(0).ToBytes(), discover(7).ToBytes(), discover(16).ToBytes(), discover(7, ipxe(19)).ToBytes(),
		bootRequest(0, with(43, 71, 4, 0, 0, 0, 0)).ToBytes(), bootRequest(7).ToBytes(),
		discover(11, with(82, 1, 2, 3, 4), with(77, []byte("\x04iPXE")...)).ToBytes(),
		overloaded(discover(7)),
	}
}

// FuzzDecode holds our decoder to the library's: whatever that accepts, except
// for the options that it does not look for, reads the same.
func FuzzDecode(f *testing.F) {
	for _, b := range seeds() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var got dhcpv4.DHCPv4
		err := dhcp.Decode(bytes.Clone(b), &got)
		want, libErr := dhcpv4.FromBytes(b)
		if libErr != nil || len(want.Options.Get(dhcpv4.OptionOptionOverload)) == 1 {
			return
		}
		if err != nil {
			t.Fatalf("refused: %v", err)
		}
		if diff := cmp.Diff(want, &got, cmpopts.EquateEmpty()); diff != "" {
			t.Error(diff)
		}
	})
}

func FuzzParseClient(f *testing.F) {
	for _, b := range seeds() {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var req dhcpv4.DHCPv4
		if dhcp.Decode(b, &req) != nil {
			return
		}
		c, err := dhcp.ParseClient(&req)
		if err != nil {
			return
		}
		if c.MAC.IsZero() || c.Program.File == "" || len(c.GUID) != 0 && len(c.GUID) != 17 {
			t.Errorf("accepted %+v", c)
		}
	})
}

func FuzzReply(f *testing.F) {
	for _, b := range seeds() {
		f.Add(b, true)
		f.Add(b, false)
	}
	f.Fuzz(func(t *testing.T, b []byte, on67 bool) {
		in := on4011
		if on67 {
			in = onLAN
		}
		var req dhcpv4.DHCPv4
		if dhcp.Decode(b, &req) != nil {
			return
		}
		c, err := dhcp.ParseClient(&req)
		if err != nil {
			return
		}
		m, err := plain.Reply(c, &req, in, boots)
		if err != nil {
			return
		}
		wire := dhcp.Append(nil, m)
		got, err := dhcpv4.FromBytes(wire)
		if err != nil {
			t.Fatalf("the library cannot read it: %v", err)
		}
		limit := 576
		if n, err := req.MaxMessageSize(); err == nil {
			limit = min(max(limit, int(n)), 1500)
		}
		switch {
		case len(wire) > limit-28:
			t.Errorf("%d bytes for a client that takes %d", len(wire), limit)
		case got.TransactionID != req.TransactionID || !bytes.Equal(got.ClientHWAddr, c.MAC[:]):
			t.Errorf("somebody else's: %s", got.Summary())
		case !bytes.Equal(got.Options.Get(dhcpv4.OptionClientMachineIdentifier), c.GUID):
			t.Errorf("GUID %x, want %x", got.Options.Get(dhcpv4.OptionClientMachineIdentifier), c.GUID)
		case !got.YourIPAddr.IsUnspecified():
			t.Errorf("assigns %s", got.YourIPAddr)
		}
	})
}
