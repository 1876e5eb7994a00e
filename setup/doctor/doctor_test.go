package doctor

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/insomniacslk/dhcp/dhcpv4"

	"farmboot/dhcp/persona"
	"farmboot/setup"
)

var update = flag.Bool("update", false, "rewrite the golden files")

var (
	us     = netip.MustParseAddr("192.0.2.10")
	router = netip.MustParseAddr("192.0.2.1")
	other  = netip.MustParseAddr("192.0.2.66")
)

// healthy are the facts of a host and LAN where all is well.
func healthy() Facts {
	lan := setup.Interface{Name: "eth0", Index: 2, MTU: 1500, Up: true, Prefixes: []netip.Prefix{netip.PrefixFrom(us, 24)}}
	boot := func(name, file string) persona.Result {
		return persona.Result{Persona: name, Boot: &persona.Boot{File: file, Server: us}}
	}
	return Facts{
		Now:        time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC),
		Config:     setup.Default(),
		Interfaces: []setup.Interface{lan},
		Own:        []netip.Addr{netip.MustParseAddr("127.0.0.1"), us},
		Running:    true,
		Ports:      []Port{{Key: "[dhcp] port", Network: "udp", Number: 67}, {Key: "[http] port", Network: "tcp", Number: 80}},
		LANs: []LAN{{
			Interface: lan,
			Offers:    []Offer{{Server: router, Assigns: true}, {Server: us, Class: "PXEClient", File: "ipxe.efi"}},
			Results:   []persona.Result{boot("BIOS", "undionly.kpxe"), boot("UEFI x64", "ipxe.efi")},
		}},
		TFTP:       []Reach{{Addr: netip.AddrPortFrom(us, 69)}},
		HTTP:       []Reach{{Addr: netip.AddrPortFrom(us, 80)}},
		StateFree:  75 << 30,
		Neighbours: 1024,
	}
}

// ill is healthy with everything that a person meets first.
func ill() Facts {
	f := healthy()
	f.Running, f.TFTP, f.HTTP = false, nil, nil
	f.Ports[0].Err = syscall.EADDRINUSE
	f.Ports[0].Holders = []string{"dnsmasq (process 123)"}
	f.LANs[0].Offers = []Offer{{Server: router, Assigns: true, Class: "PXEClient", File: "pxelinux.0"}}
	f.TemplateErr = fs.ErrNotExist
	f.Kernelless = []string{"prod", "qa"}
	f.Unsynchronized = true
	return f
}

func TestReport(t *testing.T) {
	for name, facts := range map[string]Facts{"healthy": healthy(), "ill": ill()} {
		t.Run(name, func(t *testing.T) {
			var text strings.Builder
			report := Examine(facts)
			if _, err := report.WriteTo(&text); err != nil {
				t.Fatal(err)
			}
			golden(t, name+".txt", text.String())
			if report.OK != (name == "healthy") {
				t.Errorf("OK: %v", report.OK)
			}
			b, err := json.Marshal(report)
			if err != nil {
				t.Fatal(err)
			}
			var again Report
			if err := json.Unmarshal(b, &again); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(report, again); d != "" {
				t.Errorf("through JSON (-before +after):\n%s", d)
			}
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got):\n%s", file, d)
	}
}

// TestChecks changes one thing in a healthy world at a time. Each wanted finding
// is "level check part of its text"; nothing else may be wrong.
func TestChecks(t *testing.T) {
	lan := func(change func(l *LAN)) func(*Facts) { return func(f *Facts) { change(&f.LANs[0]) } }
	failed := func(err error) func(*Facts) {
		return lan(func(l *LAN) { l.Results = []persona.Result{{Persona: "UEFI x64", Err: err}} })
	}
	tests := []struct {
		name   string
		change func(f *Facts)
		want   []string
	}{
		{"nothing", func(*Facts) {}, nil},
		{"no interface", func(f *Facts) { f.Interfaces, f.InterfacesErr = nil, errors.New("there is no eth7") }, []string{"problem interface there is no eth7"}},
		{"small MTU", func(f *Facts) { f.Interfaces[0].MTU = 1400 }, []string{"warning interface set [tftp] max-block-size = 1368"}},
		{"small MTU, no TFTP", func(f *Facts) { f.Interfaces[0].MTU = 1400; f.Config.TFTP.Enabled = false }, nil},
		{"MTU just enough", func(f *Facts) { f.Interfaces[0].MTU = 1460 }, nil},
		{"not running", func(f *Facts) { f.Running = false }, []string{"problem daemon farmboot is not running"}},
		{
			"port taken",
			func(f *Facts) {
				f.Ports[1].Err, f.Ports[1].Holders = syscall.EADDRINUSE, []string{"nginx (process 7)"}
			},
			[]string{"problem ports TCP port 80 is taken by nginx (process 7)"},
		},
		{"port taken by nobody knows whom", func(f *Facts) { f.Ports[0].Err = syscall.EADDRINUSE }, []string{"problem ports UDP port 67 cannot be opened: address already in use"}},
		{"not root", func(f *Facts) { f.Ports[0].Err = fmt.Errorf("listen: %w", fs.ErrPermission) }, []string{"warning ports run the doctor as root"}},
		{"no DHCP server", lan(func(l *LAN) { l.Offers = l.Offers[1:] }), []string{"problem dhcp no DHCP server offers addresses on eth0"}},
		{
			"two DHCP servers",
			lan(func(l *LAN) { l.Offers = append(l.Offers, Offer{Server: other, Assigns: true}) }),
			[]string{"warning dhcp 2 DHCP servers offer addresses on eth0: 192.0.2.1, 192.0.2.66"},
		},
		{"LAN not heard", lan(func(l *LAN) { *l = LAN{Interface: l.Interface, Err: errors.New("no permission")} }), []string{"warning dhcp nobody could be asked on eth0: no permission"}},
		{
			"router boots",
			lan(func(l *LAN) { l.Offers[0].Class, l.Offers[0].File = "PXEClient", "x.0" }),
			[]string{`problem pxe the DHCP server 192.0.2.1 on eth0 says itself what to boot: option 60 is PXEClient, the boot file "x.0"`},
		},
		{"router names a file", lan(func(l *LAN) { l.Offers[0].File = "x.0" }), []string{`warning pxe the DHCP server 192.0.2.1 on eth0 names a boot file, "x.0"`}},
		{
			"another proxyDHCP server, twice",
			lan(func(l *LAN) {
				l.Offers = append(l.Offers, Offer{Server: other, Class: "PXEClient:Arch", File: "a"}, Offer{Server: other, Class: "HTTPClient", File: "b"})
			}),
			[]string{`warning pxe another PXE server, 192.0.2.66, answers on eth0 too, with the boot file "a"`},
		},
		{
			"boots from another",
			lan(func(l *LAN) { l.Results[0].Boot.Server = other }),
			[]string{`problem firmware a machine with the firmware "BIOS" boots from 192.0.2.66 on eth0, not from us`},
		},
		{"no boot server", failed(persona.ErrNoBootServer), []string{"problem firmware let UDP port 4011 in"}},
		{"no boot offer", failed(persona.ErrNoBootOffer), []string{"problem firmware let UDP port 67 in"}},
		{"boots from its disk", failed(nil), []string{"problem firmware does not boot on eth0: nobody told the machine what to boot"}},
		{
			"no boot offer, another's doing",
			func(f *Facts) {
				failed(persona.ErrNoBootOffer)(f)
				f.LANs[0].Offers[0].Class = "PXEClient"
			},
			[]string{"problem pxe", "problem firmware mend first what is said of pxe"},
		},
		{
			"reply thrown away",
			lan(func(l *LAN) {
				l.Results = []persona.Result{{Persona: "UEFI x64", Err: persona.ErrGaveUp, Ignored: []persona.Ignored{{From: netip.AddrPortFrom(us, 67), Why: persona.ErrNoFile}}}}
			}),
			[]string{"problem firmware it threw away a reply of 192.0.2.10: no boot file"},
		},
		{"unregistered nodes are ignored", func(f *Facts) { failed(persona.ErrNoBootOffer)(f); f.Config.Provisioning.Unknown = "ignore" }, nil},
		{"DHCP is off", func(f *Facts) { failed(persona.ErrNoBootOffer)(f); f.Config.DHCP.Enabled = false }, nil},
		{"firewall lets all in", func(f *Facts) {
			f.Rules = "table inet filter { chain input { type filter hook input priority filter; policy accept; } }"
		}, nil},
		{"firewall drops", func(f *Facts) {
			f.Rules = "table inet filter { chain input { type filter hook input priority filter; policy drop; tcp dport 80 accept } }"
		}, []string{"warning firewall no rule about UDP 67 nft add rule inet filter input udp dport 67 accept"}},
		{"firewall names the services", func(f *Facts) {
			f.Rules = "chain input { type filter hook input priority 0; policy drop; udp dport { bootps, 4011 } accept\n tcp dport { http, https } accept }"
		}, nil},
		{"firewall drops what is forwarded", func(f *Facts) {
			f.Rules = "chain input { hook input priority 0; policy accept; } chain forward { hook forward priority 0; policy drop; }"
		}, nil},
		{"TFTP dead", func(f *Facts) { f.TFTP[0].Err = errors.New("timeout") }, []string{"problem tftp TFTP at 192.0.2.10:69 does not answer: timeout"}},
		{"HTTP dead", func(f *Facts) { f.HTTP[0].Err = errors.New("reset") }, []string{"problem http HTTP at 192.0.2.10:80 does not answer: reset"}},
		{"no template", func(f *Facts) { f.TemplateErr = fs.ErrNotExist }, []string{"problem template run setup/template.sh /opt/ipxe-template"}},
		{
			"parts of the template",
			func(f *Facts) {
				f.Template = map[string]error{"ipxe.efi": errors.New("ipxe.efi is old"), "ipxe-riscv64.efi": errors.New("no ipxe-riscv64.efi")}
			},
			[]string{"warning template no ipxe-riscv64.efi", "problem template ipxe.efi is old"},
		},
		{"closed kernel folder", func(f *Facts) { f.KernelErr = fs.ErrPermission }, []string{"problem kernels /var/lib/farmboot/kernel/net cannot be read"}},
		{"no default kernels", func(f *Facts) { f.Kernelless = []string{"prod", "test", "qa"} }, []string{
			"problem kernels prod has no kernel yet unregistered nodes farmboot kernel add FILE farmboot kernel use prod KERNEL",
			"warning kernels no kernel yet for run mode test, qa farmboot kernel use test KERNEL",
		}},
		{"no kernel for held nodes", func(f *Facts) { f.Kernelless = []string{"prod"}; f.Config.Provisioning.Unknown = "hold" }, []string{"warning kernels no kernel yet for run mode prod"}},
		{"state read-only", func(f *Facts) { f.StateErr = syscall.EROFS }, []string{"problem state read-only file system"}},
		{
			"root left files in the daemon's folder",
			func(f *Facts) {
				f.Unreadable = []string{"/var/lib/farmboot/ca/root.pem"}
				f.Unwritable = []string{"/var/lib/farmboot/kernel", "/var/lib/farmboot/kernel/net"}
			},
			[]string{
				"problem state cannot read /var/lib/farmboot/ca/root.pem chown -R --reference=/var/lib/farmboot /var/lib/farmboot/",
				"warning state cannot write /var/lib/farmboot/kernel, /var/lib/farmboot/kernel/net chown",
			},
		},
		{"disk full", func(f *Facts) { f.StateFree = 3 << 20 }, []string{"problem state only 3 MB are free"}},
		{"disk nearly full", func(f *Facts) { f.StateFree = 300 << 20 }, []string{"warning state only 300 MB are free"}},
		{"base-host unknown", base("https://boot.lan", nil, errors.New("no such host")), []string{"problem base-host boot.lan, does not resolve: no such host"}},
		{"base-host elsewhere", base("https://boot.lan", &other, nil), []string{"warning base-host stands for 192.0.2.66"}},
		{"base-host is us", base("https://boot.lan", &us, nil), nil},
		{"certificate unreadable", func(f *Facts) { f.CertificateErr = errors.New("no key") }, []string{"problem certificate no key"}},
		{"weak certificate", func(f *Facts) { f.Weaknesses = []string{"it is old"} }, []string{"warning certificate it is old"}},
		{
			"weak certificate, nodes by https",
			func(f *Facts) { base("https://boot.lan", &us, nil)(f); f.Weaknesses = []string{"it is old"} },
			[]string{"problem certificate it is old"},
		},
		{"clock at its beginning", func(f *Facts) { f.Now = time.Unix(0, 0).UTC() }, []string{"problem clock 1970-01-01 00:00:00"}},
		{"clock by itself", func(f *Facts) { f.Unsynchronized = true }, []string{"warning clock"}},
		{
			"large LAN",
			func(f *Facts) { f.Interfaces[0].Prefixes[0] = netip.PrefixFrom(us, 20) },
			[]string{"warning neighbours room for 4094 machines, and the kernel's table of neighbours for 1024 gc_thresh3=8188"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := healthy()
			tt.change(&f)
			var wrong []Finding
			for _, finding := range Examine(f).Findings {
				if finding.Level != OK {
					wrong = append(wrong, finding)
				}
			}
			if len(wrong) != len(tt.want) {
				t.Fatalf("findings %+v, want %q", wrong, tt.want)
			}
			for i, w := range wrong {
				text := fmt.Sprintf("%s %s %s %s %s", w.Level, w.Check, w.What, w.Why, w.Mend)
				for part := range strings.FieldsSeq(tt.want[i]) {
					if !strings.Contains(text, part) {
						t.Errorf("finding %q lacks %q", text, part)
					}
				}
				if w.Level == Problem && (w.Why == "" && w.Check != "firmware" || w.Mend == "") {
					t.Errorf("problem %q does not say why and what to do", text)
				}
			}
		})
	}
}

func base(address string, addr *netip.Addr, err error) func(*Facts) {
	return func(f *Facts) {
		u, e := url.Parse(address)
		if e != nil {
			panic(e)
		}
		f.Config.BaseHost, f.BaseHostErr = u, err
		if addr != nil {
			f.BaseHost = []netip.Addr{*addr}
		}
	}
}

func TestParseSockets(t *testing.T) {
	const udp = `   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  170: 0100007F:0043 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 12345 2 0000000000000000 0
  171: 00000000:0FAB 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 12346 2 0000000000000000 0
  x: nonsense
`
	const tcp6 = `  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 777 1 0 100 0 0 10 0
   1: B80D0120000000000000000001000000:01BB 00000000000000000000000000000000:0000 01 00000000:00000000 00:00000000 00000000     0        0 778 1 0 100 0 0 10 0
`
	want := []socket{
		{netip.MustParseAddrPort("127.0.0.1:67"), "07", "12345"},
		{netip.MustParseAddrPort("0.0.0.0:4011"), "07", "12346"},
		{netip.MustParseAddrPort("[::]:80"), "0A", "777"},
		{netip.MustParseAddrPort("[2001:db8::1]:443"), "01", "778"},
	}
	got := append(parseSockets(udp), parseSockets(tcp6)...)
	if d := cmp.Diff(want, got, cmp.AllowUnexported(socket{}), cmpopts.EquateComparable(netip.AddrPort{})); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if want[2].listens("tcp") != true || want[3].listens("tcp") || !want[0].listens("udp") {
		t.Error("listens")
	}
}

func FuzzParseOffer(f *testing.F) {
	mac := [6]byte{2, 'd', 'o', 'c', 't', 1}
	offer, err := dhcpv4.New(
		dhcpv4.WithHwAddr(mac[:]), dhcpv4.WithMessageType(dhcpv4.MessageTypeOffer),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(router.AsSlice())),
		dhcpv4.WithOption(dhcpv4.OptClassIdentifier("PXEClient")),
		dhcpv4.WithOption(dhcpv4.OptBootFileName("x.0")), dhcpv4.WithYourIP(other.AsSlice()))
	if err != nil {
		f.Fatal(err)
	}
	offer.OpCode = dhcpv4.OpcodeBootReply
	got, ok := parseOffer(offer.ToBytes(), mac)
	if want := (Offer{Server: router, Assigns: true, Class: "PXEClient", File: "x.0"}); !ok || got != want {
		f.Fatalf("parseOffer reads %+v, %v; want %+v", got, ok, want)
	}
	if _, ok := parseOffer(offer.ToBytes(), [6]byte{2}); ok {
		f.Fatal("an offer to somebody else is taken")
	}
	f.Add(offer.ToBytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		if o, ok := parseOffer(b, mac); ok && !o.Server.IsValid() {
			t.Errorf("offer of nobody: %+v", o)
		}
	})
}
