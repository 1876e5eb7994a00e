package firewall

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

var (
	lan    = netip.MustParsePrefix("192.0.2.0/24")
	us     = netip.MustParsePrefix("192.0.2.10/32")
	nobody = netip.MustParsePrefix("0.0.0.0/32")
	all    = netip.MustParsePrefix("255.255.255.255/32")
)

// Packets that nodes send to an appliance on eth0.
func discover() Packet {
	return Packet{Interface: "eth0", Protocol: "udp", Source: nobody, Destination: all, SourcePort: 68, Port: 67, Broadcast: true}
}

func request(protocol string, port uint16) Packet {
	return Packet{Interface: "eth0", Protocol: protocol, Source: lan, Destination: us, Port: port}
}

// load reads a ruleset of testdata, which NAME.nft or NAME.iptables made.
func load(t *testing.T, name string) Rules {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Ext(name) == ".iptables" {
		return ParseIPTables("iptables-save", string(text))
	}
	r, foreign, err := ParseNFT(text)
	if err != nil || foreign {
		t.Fatalf("%s: foreign %v, error %v", name, foreign, err)
	}
	return r
}

func TestVerdicts(t *testing.T) {
	established := request("udp", 49200)
	established.Established = true
	on := func(p Packet, device string) Packet { p.Interface = device; return p }
	tests := []struct {
		rules  string
		packet Packet
		want   Verdict
	}{
		{"drop-by-default.json", discover(), Accepted},
		{"drop-by-default.json", request("udp", 4011), Accepted},
		{"drop-by-default.json", request("udp", 69), Accepted},
		{"drop-by-default.json", request("tcp", 80), Accepted},
		{"drop-by-default.json", request("tcp", 442), Accepted},
		{"drop-by-default.json", request("tcp", 8080), Dropped},
		{"drop-by-default.json", request("udp", 68), Dropped},
		{"drop-by-default.json", established, Accepted},
		{"drop-by-default.json", on(discover(), "wlan0"), Dropped},
		{"drop-by-default.json", on(request("tcp", 80), "lo"), Accepted},
		{"drop-one.json", discover(), Accepted},
		{"drop-one.json", request("udp", 69), Dropped},
		{"drop-one.json", request("udp", 4011), Dropped}, // in prerouting
		{"drop-one.json", request("tcp", 80), Unknown},   // a rate limit
		{"drop-one.json", request("tcp", 443), Unknown},  // part of the LAN
		{"drop-one.json", on(request("udp", 69), "lo"), Dropped},
		{"filter.iptables", discover(), Accepted},
		{"filter.iptables", request("udp", 69), Dropped},
		{"filter.iptables", request("tcp", 80), Accepted},
		{"filter.iptables", request("tcp", 443), Accepted},
		{"filter.iptables", request("udp", 4011), Unknown}, // an option nobody here knows
		{"filter.iptables", established, Accepted},
		{"filter.iptables", on(request("tcp", 80), "docker0"), Dropped},
		{"filter.iptables", request("tcp", 22), Dropped},
	}
	for _, tt := range tests {
		if got := load(t, tt.rules).In(tt.packet); got != tt.want {
			t.Errorf("%s: %+v is %s, want %s", tt.rules, tt.packet, got, tt.want)
		}
	}
	offer := Packet{Interface: "eth0", Protocol: "udp", Source: us, Destination: all, SourcePort: 67, Port: 68, Broadcast: true}
	if got := load(t, "drop-one.json").Out(offer); got != Dropped {
		t.Errorf("an OFFER that goes out is %s", got)
	}
	if got := (Rules{}).In(discover()); got != Accepted {
		t.Errorf("without rules a DISCOVER is %s", got)
	}
}

// TestForeign: what iptables wrote with its own modules is left to iptables-save.
func TestForeign(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("testdata", "foreign.json"))
	if err != nil {
		t.Fatal(err)
	}
	r, foreign, err := ParseNFT(text)
	if err != nil || !foreign || len(r.base) != 0 {
		t.Errorf("foreign %v, error %v, %d chains", foreign, err, len(r.base))
	}
	if _, _, err := ParseNFT([]byte("table inet")); err == nil {
		t.Error("what is no JSON is read without an error")
	}
}

// TestCircle: chains that call each other end.
func TestCircle(t *testing.T) {
	r := ParseIPTables("iptables-save", "*filter\n:INPUT ACCEPT\n:a -\n:b -\n-A INPUT -j a\n-A a -j b\n-A b -j a\nCOMMIT\n")
	if got := r.In(discover()); got != Unknown {
		t.Errorf("chains in a circle: %s", got)
	}
}

func FuzzParseNFT(f *testing.F) {
	for _, name := range []string{"drop-by-default.json", "drop-one.json", "foreign.json"} {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if r, _, err := ParseNFT(text); err == nil {
			r.In(discover())
			r.Out(discover())
		}
	})
}

func FuzzParseIPTables(f *testing.F) {
	text, err := os.ReadFile(filepath.Join("testdata", "filter.iptables"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(text))
	f.Fuzz(func(t *testing.T, text string) {
		r := ParseIPTables("iptables-save", text)
		r.In(discover())
		r.Out(discover())
	})
}
