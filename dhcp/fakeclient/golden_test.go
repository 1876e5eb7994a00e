package fakeclient_test

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/insomniacslk/dhcp/dhcpv4"

	"farmboot/dhcp/fakeclient"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestGoldenPackets holds every packet that every persona sends in a boot: they
// are to be compared with captures of the real thing.
func TestGoldenPackets(t *testing.T) {
	for _, p := range fakeclient.All() {
		var got strings.Builder
		record := func(packet fakeclient.Packet) []fakeclient.Packet {
			fmt.Fprintf(&got, "%s → %s\n%s\n", packet.From, packet.To, readable(packet.Data))
			return nil
		}
		boot(t, p, identity(p), record, dhcpServer(), appliance(farmboot))
		name := strings.NewReplacer(" ", "-", ",", "", "'", "").Replace(strings.ToLower(p.Name))
		path := filepath.Join("testdata", "golden", name+".txt")
		if *update {
			if err := os.WriteFile(path, []byte(got.String()), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got.String()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", p.Name, diff)
		}
	}
}

// readable renders a request: the fields that are set, then the options in their
// order on the wire.
func readable(b []byte) string {
	var s strings.Builder
	fmt.Fprintf(&s, "op %d  hlen %d  xid %x  secs %d  flags %04x  ciaddr %s  chaddr %x\n",
		b[0], b[2], b[4:8], binary.BigEndian.Uint16(b[8:]), binary.BigEndian.Uint16(b[10:]),
		netip.AddrFrom4([4]byte(b[12:16])), b[28:34])
	for o := b[240:]; o[0] != 255; o = o[2+o[1]:] {
		var name dhcpv4.OptionCodeList
		if err := name.FromBytes(o[:1]); err != nil {
			return err.Error()
		}
		v := o[2 : 2+o[1]]
		text := fmt.Sprintf("% x", v)
		if len(v) > 3 && bytes.IndexFunc(v, func(r rune) bool { return r < 0x20 || r > 0x7e }) < 0 {
			text = fmt.Sprintf("%q", v)
		}
		fmt.Fprintf(&s, "%3d %-36s %s\n", o[0], name[0], text)
	}
	return s.String()
}
