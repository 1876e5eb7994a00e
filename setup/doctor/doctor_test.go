package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/insomniacslk/dhcp/dhcpv4"

	"farmboot/dhcp/fakeclient"
	"farmboot/ipxe/binary/authenticode"
	"farmboot/ipxe/kernel"
	"farmboot/provisioning"
	"farmboot/provisioning/cause"
	"farmboot/setup"
	"farmboot/setup/doctor/firewall"
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
	boot := func(name, file string) Machine {
		c := fakeclient.Choice{Server: us, File: file}
		return Machine{
			Result:  fakeclient.Result{Persona: name, Boot: &fakeclient.Boot{File: file, Server: us}},
			Choices: []fakeclient.Choice{c, c},
			Alone:   []Alone{{router, fakeclient.Choice{Err: fakeclient.ErrNoBootOffer}}, {us, c}},
		}
	}
	return Facts{
		Now:        time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC),
		Config:     setup.Default(),
		Interfaces: []setup.Interface{lan},
		Own:        []netip.Addr{netip.MustParseAddr("127.0.0.1"), us},
		Running:    true,
		Ports: []Port{
			{Key: dhcpPortKey, Network: "udp", Number: 67, Bound: []netip.Addr{netip.IPv4Unspecified()}},
			{Key: bootPortKey, Network: "tcp", Number: 80, Bound: []netip.Addr{netip.IPv6Unspecified()}},
		},
		LANs: []LAN{{
			Interface: lan,
			Offers: []Offer{
				{Server: router, Assigns: true, Network: netip.PrefixFrom(us, 24).Masked()},
				{Server: us, Class: "PXEClient", File: "ipxe.efi", Next: us},
			},
			Machines: []Machine{boot("BIOS", "undionly.kpxe"), boot("UEFI x64", "ipxe.efi")},
		}},
		TFTP:       []Reach{{Addr: netip.AddrPortFrom(us, 69)}},
		HTTP:       []Reach{{Addr: netip.AddrPortFrom(us, 80)}},
		HTTPS:      []Reach{{Addr: netip.AddrPortFrom(us, 443)}},
		StateFree:  75 << 30,
		Neighbours: 1024,
	}
}

// ill is healthy with everything that a person meets first.
func ill() Facts {
	f := healthy()
	f.Running, f.TFTP, f.HTTP, f.HTTPS = false, nil, nil, nil
	f.Ports[0].Err = syscall.EADDRINUSE
	f.Ports[0].Holders = []Holder{{"dnsmasq", "123"}}
	f.LANs[0].Offers = []Offer{{Server: router, Assigns: true, Class: "PXEClient", File: "pxelinux.0", Network: netip.PrefixFrom(us, 24).Masked()}}
	c := fakeclient.Choice{Server: router, File: "pxelinux.0"}
	f.LANs[0].Machines = []Machine{{
		Result:  fakeclient.Result{Persona: "BIOS", Boot: &fakeclient.Boot{File: c.File, Server: router}},
		Choices: []fakeclient.Choice{c}, Alone: []Alone{{router, c}},
	}}
	f.TemplateErr = fs.ErrNotExist
	f.Kernels = map[string]error{"prod": noKernel("net/prod.efi", "prod", ""), "qa": noKernel("net/qa.efi", "qa", "")}
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

// noKernel is what package kernel says of a kernel that is not here: the default of a run
// mode, or a link to a file that is gone.
func noKernel(name string, mode provisioning.RunMode, file string) error {
	return cause.Error(provisioning.NotFound, provisioning.Cause{ID: provisioning.CauseKernelMissing, Kernel: name, RunMode: mode, File: file})
}

// TestChecks changes one thing in a healthy world at a time. Each wanted finding
// is "level check part of its text"; nothing else may be wrong.
func TestChecks(t *testing.T) {
	lan := func(change func(l *LAN)) func(*Facts) { return func(f *Facts) { change(&f.LANs[0]) } }
	failed := func(err error) func(*Facts) {
		return lan(func(l *LAN) {
			l.Machines = []Machine{{Result: fakeclient.Result{Persona: "UEFI x64", Err: err}, Choices: []fakeclient.Choice{{Err: err}}}}
		})
	}
	took := func(d time.Duration, change func(*Facts)) func(*Facts) {
		return func(f *Facts) { change(f); f.LANs[0].Machines[0].Took = d }
	}
	rival := func(o Offer, alone fakeclient.Choice, choices ...fakeclient.Choice) func(*Facts) {
		return lan(func(l *LAN) {
			o.Server = other
			l.Offers = append(l.Offers, o)
			for n := range l.Machines {
				l.Machines[n].Alone = append(l.Machines[n].Alone, Alone{other, alone})
				l.Machines[n].Choices = choices
			}
		})
	}
	rules := func(text string) func(*Facts) {
		return func(f *Facts) { f.Firewall = firewall.ParseIPTables("iptables-save", "*filter\n"+text+"\nCOMMIT\n") }
	}
	fromUs, fromOther := fakeclient.Choice{Server: us, File: "ipxe.efi"}, fakeclient.Choice{Server: other, File: "x.efi"}
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
		{"not running", func(f *Facts) { f.Running, f.TFTP, f.HTTP, f.HTTPS = false, nil, nil, nil }, []string{"problem daemon farmboot is not running"}},
		{
			"port taken",
			func(f *Facts) {
				f.Running, f.TFTP, f.HTTP, f.HTTPS = false, nil, nil, nil
				f.Ports[1].Err, f.Ports[1].Holders = syscall.EADDRINUSE, []Holder{{"nginx", "7"}}
			},
			[]string{"problem daemon farmboot is not running", "problem ports TCP port 80 is taken by nginx (process 7)"},
		},
		{"port taken by nobody knows whom", func(f *Facts) { f.Ports[0].Err = syscall.EADDRINUSE }, []string{"problem ports UDP port 67 cannot be opened: address already in use"}},
		{"not root", func(f *Facts) { f.Ports[0].Err = fmt.Errorf("listen: %w", fs.ErrPermission) }, []string{"warning ports run the doctor as root"}},
		{"no DHCP server", lan(func(l *LAN) { l.Offers = l.Offers[1:] }), []string{"problem dhcp no DHCP server offers addresses on eth0"}},
		{
			"two DHCP servers",
			lan(func(l *LAN) {
				l.Offers = append(l.Offers, Offer{Server: other, Assigns: true, Network: l.Offers[0].Network})
			}),
			[]string{"warning dhcp 2 DHCP servers offer addresses on eth0: 192.0.2.1, 192.0.2.66"},
		},
		{"LAN not heard", lan(func(l *LAN) { *l = LAN{Interface: l.Interface, Err: errors.New("no permission")} }), []string{"warning dhcp nobody could be asked on eth0: no permission"}},
		{
			"router boots",
			func(f *Facts) {
				lan(func(l *LAN) { l.Offers[0].Class, l.Offers[0].File = "PXEClient", "x.0" })(f)
				for n := range f.LANs[0].Machines {
					m := &f.LANs[0].Machines[n]
					m.Alone[0].Choice = fakeclient.Choice{Server: router, File: "x.0"}
					m.Choices = []fakeclient.Choice{m.Alone[0].Choice}
				}
			},
			[]string{
				`problem pxe DHCP server 192.0.2.1 on eth0 says itself what to boot BIOS loads "x.0"`,
				`problem firmware "BIOS" boots from 192.0.2.1 on eth0, not from us`, `problem firmware "UEFI`,
			},
		},
		{
			"router names a file",
			func(f *Facts) {
				lan(func(l *LAN) { l.Offers[0].File = "x.0" })(f)
				f.LANs[0].Machines[0].Alone[0].Choice = fakeclient.Choice{Server: router, File: "x.0"}
			},
			[]string{`warning pxe DHCP server 192.0.2.1 on eth0 names a boot file BIOS loads "x.0" UEFI x64 boots nothing`},
		},
		{
			"another PXE server, and chance",
			rival(Offer{Class: "PXEClient", File: "x.efi"}, fromOther, fromUs, fromOther),
			[]string{
				`warning pxe another PXE server, 192.0.2.66, answers on eth0 BIOS loads "x.efi"; UEFI`,
				`problem firmware "BIOS" boots on eth0 from whoever is faster: from us or from 192.0.2.66`, `problem firmware "UEFI`,
			},
		},
		{
			"another PXE server with a menu",
			rival(Offer{Class: "PXEClient"}, fakeclient.Choice{Err: fakeclient.ErrMenu}, fromUs, fakeclient.Choice{Err: fakeclient.ErrMenu}),
			[]string{"warning pxe 192.0.2.66 BIOS shows its menu"},
		},
		{
			"another appliance",
			func(f *Facts) {
				rival(Offer{Class: "PXEClient", File: "ipxe.efi"}, fakeclient.Choice{Server: other, File: "ipxe.efi"}, fromUs, fakeclient.Choice{Server: other, File: "ipxe.efi"})(f)
				f.LANs[0].Machines = f.LANs[0].Machines[1:] // whose file is ipxe.efi
			},
			[]string{"warning pxe another PXE server, 192.0.2.66", "warning firmware from whoever is faster"},
		},
		{"another PXE server that nobody listens to", rival(Offer{Class: "PXEClient", File: "x.efi"}, fromOther, fromUs, fromUs), []string{"warning pxe another PXE server"}},
		{
			"iPXE is told to ignore us",
			func(f *Facts) {
				lan(func(l *LAN) { l.Offers[0].NoProxy = true })(f)
				f.LANs[0].Machines = []Machine{{Result: fakeclient.Result{Persona: "iPXE in ROM", Err: fakeclient.ErrNoBootOffer}, Choices: []fakeclient.Choice{{Err: fakeclient.ErrNoBootOffer}}}}
			},
			[]string{"problem dhcp 192.0.2.1 option 175 sub-option 176 dhcp-option=175,b0:01:01", "problem firmware mend first what is said of dhcp"},
		},
		{"slow DHCP server", lan(func(l *LAN) { l.Offers[0].After = 6 * time.Second }), []string{"warning dhcp first address on eth0 was offered after 6 seconds"}},
		{
			"the management network comes first",
			func(f *Facts) {
				nodes := netip.MustParsePrefix("10.77.0.2/16")
				f.Interfaces[0].Prefixes = append(f.Interfaces[0].Prefixes, nodes)
				f.LANs[0].Interface = f.Interfaces[0]
				f.LANs[0].Offers[0].Network = nodes.Masked()
				f.Own = append(f.Own, nodes.Addr())
			},
			[]string{`problem dhcp nodes on eth0 get addresses in 10.77.0.0/16, and are told to boot from 192.0.2.10 set [network] address = "10.77.0.2"`},
		},
		{
			"no address in the network of the nodes",
			lan(func(l *LAN) { l.Offers[0].Network = netip.MustParsePrefix("10.77.0.0/16") }),
			[]string{"problem dhcp names no router give eth0 an address in that network"},
		},
		{
			"no address in the network of the nodes, but a router",
			lan(func(l *LAN) { l.Offers[0].Network, l.Offers[0].Gateway = netip.MustParsePrefix("10.77.0.0/16"), true }),
			[]string{"warning dhcp only if the router"},
		},
		{
			"an address of another VLAN",
			lan(func(l *LAN) {
				l.Offers[0].Network, l.Offers[0].Gateway, l.Offers[0].NoRoute = netip.MustParsePrefix("10.77.0.0/16"), true, true
			}),
			[]string{"problem dhcp no route to 10.77.0.0/16 give eth0 an address in that network"},
		},
		{
			"the LAN is on another interface",
			func(f *Facts) {
				f.Own = append(f.Own, netip.MustParseAddr("10.77.0.2"))
				lan(func(l *LAN) { l.Offers[0].Network = netip.MustParsePrefix("10.77.0.0/16") })(f)
			},
			[]string{"problem dhcp set [network] interface"},
		},
		{"no boot server", failed(fakeclient.ErrNoBootServer), []string{"problem firmware UDP port 4011"}},
		{"no boot offer", failed(fakeclient.ErrNoBootOffer), []string{"problem firmware nobody told the machine start it anew an interface that is gone"}},
		{"boots from its disk", failed(nil), []string{"problem firmware does not boot on eth0: nobody told the machine what to boot"}},
		{
			"reply thrown away",
			lan(func(l *LAN) {
				l.Machines = []Machine{{
					Result:  fakeclient.Result{Persona: "UEFI x64", Err: fakeclient.ErrNoBootOffer, Ignored: []fakeclient.Ignored{{From: netip.AddrPortFrom(us, 67), Why: fakeclient.ErrNoFile}}},
					Choices: []fakeclient.Choice{{Err: fakeclient.ErrNoBootOffer}},
				}}
			}),
			[]string{"problem firmware it threw away a reply of 192.0.2.10: no boot file"},
		},
		{"a machine without an address", took(34*time.Second, failed(fakeclient.ErrNoLease)), []string{"warning firmware offered no address on eth0 within 34 seconds, and others were is slow or busy is not known"}},
		{"no decision", took(27*time.Second, failed(fakeclient.ErrGaveUp)), []string{"warning firmware had not decided on eth0 after 27 seconds is not known"}},
		{"unregistered nodes are ignored", func(f *Facts) { failed(fakeclient.ErrNoBootOffer)(f); f.Config.Provisioning.Unknown = "ignore" }, nil},
		{"DHCP is off", func(f *Facts) { failed(fakeclient.ErrNoBootOffer)(f); f.Config.DHCP.Enabled = false }, nil},
		{"TFTP is off", func(f *Facts) { failed(fakeclient.ErrNoBootOffer)(f); f.Config.TFTP.Enabled = false }, []string{"problem firmware set [tftp] enabled = true"}},
		{"firewall lets all in", rules(":INPUT ACCEPT"), nil},
		{
			"firewall drops by default",
			rules(":INPUT DROP\n-A INPUT -m conntrack --ctstate ESTABLISHED -j ACCEPT\n-A INPUT -i lo -j ACCEPT\n-A INPUT -p tcp --dport 80 -j ACCEPT"),
			[]string{"problem firewall drops what comes in on eth0 for UDP port 67 nft insert rule inet filter input iifname eth0 udp dport 67 accept"},
		},
		{"firewall drops one port", rules(":INPUT ACCEPT\n-A INPUT -p tcp --dport 80 -j DROP"), []string{"problem firewall TCP port 80"}},
		{"firewall lets some in", rules(":INPUT ACCEPT\n-A INPUT -p udp --dport 67 -m limit --limit 5/sec -j DROP"), []string{"warning firewall some of what comes on eth0 for UDP port 67"}},
		{"firewall without connections", rules(":INPUT DROP\n-A INPUT -p udp --dport 67:69 -j ACCEPT\n-A INPUT -p tcp --dport 80 -j ACCEPT"), []string{"problem firewall packets of TFTP transfers"}},
		{"firewall keeps offers in", rules(":OUTPUT ACCEPT\n-A OUTPUT -p udp --dport 68 -j DROP"), []string{"problem firewall drops DHCP offers that go out by eth0"}},
		{"firewall drops what is forwarded", rules(":FORWARD DROP"), nil},
		{"firewall drops what only the doctor needs", rules(":INPUT ACCEPT\n-A INPUT -p udp --dport 68 -j DROP"), nil},
		{"firewall unknown", func(f *Facts) { f.FirewallErr = errors.New("Operation not permitted") }, []string{"warning firewall not known run the doctor as root"}},
		{
			"a service cannot be tried from here",
			func(f *Facts) {
				rules(":INPUT ACCEPT\n-A INPUT -i lo -p tcp --dport 80 -j DROP")(f)
				f.HTTP[0].Err = errors.New("timeout")
			},
			[]string{"warning http could not be tried"},
		},
		{"a service that is not well", func(f *Facts) { f.HTTP[0].Err = saysError{"503 Service Unavailable", "no kernel folder"} }, []string{"problem http 503 no kernel folder"}},
		{"a port is closed", func(f *Facts) { f.Ports[0].Bound = nil }, []string{"problem ports UDP port 67 is closed systemctl restart farmboot"}},
		{"the port for TLS is closed", func(f *Facts) { f.Ports[1] = Port{Key: adminPortKey, Network: "tcp", Number: 443} }, []string{"problem ports TCP port 443 is closed nodes boot without it the board and the API are out of reach systemctl restart farmboot"}},
		{"the port for TLS is closed, where nodes use it", func(f *Facts) {
			f.Config.BaseHost = &url.URL{Scheme: "https", Host: "boot.example"}
			f.Ports[1] = Port{Key: adminPortKey, Network: "tcp", Number: 443}
			f.HTTPS[0].Err = errors.New("reset")
		}, []string{"problem ports TCP port 443 is closed none boots", "problem http HTTPS at 192.0.2.10:443 does not answer: reset nodes get their boot scripts over https there", "warning base-host boot.example"}},
		{"HTTPS dead", func(f *Facts) { f.HTTPS[0].Err = errors.New("reset") }, []string{"problem http HTTPS at 192.0.2.10:443 does not answer: reset nodes boot without it"}},
		{"the port for TLS is taken before the start", func(f *Facts) {
			f.Running, f.TFTP, f.HTTP, f.HTTPS = false, nil, nil, nil
			f.Ports[1] = Port{Key: adminPortKey, Network: "tcp", Number: 443, Err: syscall.EADDRINUSE, Holders: []Holder{{"caddy", "77"}}}
		}, []string{"problem daemon farmboot is not running", "problem ports TCP port 443 is taken by caddy farmboot cannot start without it"}},
		{"firewall drops the port for TLS", func(f *Facts) {
			f.Ports = append(f.Ports, Port{Key: adminPortKey, Network: "tcp", Number: 443, Bound: []netip.Addr{netip.IPv6Unspecified()}})
			rules(":INPUT ACCEPT\n-A INPUT -p tcp --dport 443 -j DROP")(f)
		}, []string{"problem firewall TCP port 443 nodes boot without it"}},
		{"firewall lets some in by the port for TLS", func(f *Facts) {
			f.Ports = append(f.Ports, Port{Key: adminPortKey, Network: "tcp", Number: 443, Bound: []netip.Addr{netip.IPv6Unspecified()}})
			rules(":INPUT ACCEPT\n-A INPUT -p tcp --dport 443 -m limit --limit 5/sec -j DROP")(f)
		}, []string{"warning firewall some people's requests may not reach us"}},
		{"bound to an address that is gone", func(f *Facts) { f.Ports[1].Bound = []netip.Addr{other} }, []string{"problem ports TCP port 80 at 192.0.2.66, which is no address of this host any more"}},
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
		{
			"Secure Boot without shim",
			func(f *Facts) {
				f.Config.SecureBoot.Enabled, f.ChainErr = true, errors.New("there is no shimx64.efi")
			},
			[]string{"problem secure-boot cannot be: there is no shimx64.efi setup/template.sh /opt/ipxe-template"},
		},
		{
			"a file that a machine with Secure Boot on refuses",
			func(f *Facts) {
				f.Config.SecureBoot.Enabled = true
				f.Chains = []Chain{{netip.MustParseAddr("192.0.2.10"), []Link{{"shimx64.efi", nil}, {"grubx64.efi", authenticode.ErrNotSigned}, {"prod.efi", errors.New("want the start of an EFI program")}}}}
			},
			[]string{"problem secure-boot refuses grubx64.efi from 192.0.2.10 farmboot secureboot show", "problem secure-boot cannot start prod.efi from 192.0.2.10 store a kernel"},
		},
		{"closed kernel folder", func(f *Facts) { f.KernelErr = fs.ErrPermission }, []string{"problem kernels /var/lib/farmboot/kernel/net cannot be read"}},
		{"no default kernels", func(f *Facts) {
			f.Kernels = map[string]error{"prod": noKernel("net/prod.efi", "prod", ""), "test": noKernel("net/test.efi", "test", ""), "qa": noKernel("net/qa.efi", "qa", "")}
		}, []string{
			"problem kernels prod has no kernel yet unregistered nodes farmboot kernel add FILE farmboot kernel use prod KERNEL",
			"warning kernels no kernel yet for run mode qa, test farmboot kernel use qa KERNEL",
		}},
		{"no kernel for registered nodes", func(f *Facts) {
			f.Kernels = map[string]error{"qa": noKernel("net/qa.efi", "qa", "")}
			f.InUse.RunModes = map[provisioning.RunMode]int{"qa": 3}
			f.InUse.Kernels = map[string]int{"own.efi": 2, "good.efi": 1}
			f.Named = map[string]error{"own.efi": noKernel("own.efi", "", "")}
		}, []string{"problem kernels run mode qa has no kernel yet registered nodes boot that run mode: 3", "problem kernels kernel own.efi is not here 2"}},
		{"nodes of a run mode that is none", func(f *Facts) {
			f.InUse.Unconfigured = []provisioning.Unconfigured{{RunMode: "lab", Nodes: 3}}
		}, []string{"problem kernels run mode lab is not in the configuration: the 3 nodes of it cannot boot farmboot node set --match runmode=lab --runmode R"}},
		{"very many nodes of a run mode that is none", func(f *Facts) {
			f.InUse.Unconfigured = []provisioning.Unconfigured{{RunMode: "lab", Nodes: provisioning.MostUnconfigured + 1}}
		}, []string{"problem kernels run mode lab is not in the configuration: more than 10,000 nodes of it cannot boot farmboot node set --match runmode=lab --runmode R"}},
		{"kernels that are gone", func(f *Facts) {
			f.Kernels = map[string]error{"qa": noKernel("net/qa.efi", "qa", "v1.efi")}
			f.InUse.Kernels = map[string]int{"latest.efi": 2}
			f.Named = map[string]error{"latest.efi": noKernel("latest.efi", "", "v2.efi")}
		}, []string{
			"warning kernels run mode qa boots v1.efi, which is gone farmboot kernel add FILE --name v1.efi",
			"problem kernels kernel latest.efi stands for v2.efi, which is gone registered nodes are to boot it: 2 farmboot kernel add FILE --name v2.efi",
		}},
		{"no kernel for BIOS", func(f *Facts) {
			f.Kernels = map[string]error{"qa": noKernel("net/qa.efi", "qa", "")}
			f.UEFIOnly = []string{"prod", "test", "dev"}
		}, []string{
			"warning kernels no kernel yet for run mode qa",
			"warning kernels no kernel starts on BIOS machines: that of run mode prod, test, dev is an EFI application alone store a bzImage",
		}},
		{"a kernel for BIOS", func(f *Facts) { f.UEFIOnly = []string{"test"} }, nil},
		{"broken kernel", func(f *Facts) { f.Kernels = map[string]error{"dev": errors.New("is cut short")} }, []string{"warning kernels run mode dev: is cut short"}},
		{"broken kernel in use", func(f *Facts) {
			f.Kernels = map[string]error{"prod": errors.New("kernel net/prod.efi is cut short")}
			f.InUse.Kernels = map[string]int{"own.efi": 2}
			f.Named = map[string]error{"own.efi": errors.New("kernel own.efi is cut short")}
		}, []string{"problem kernels run mode prod: kernel net/prod.efi is cut short", "problem kernels kernel own.efi is cut short registered nodes are to boot it: 2"}},
		{"kernel of another format", func(f *Facts) {
			f.Kernels = map[string]error{"prod": fmt.Errorf("net/prod.efi %w", kernel.ErrUnknown)}
		}, []string{"warning kernels run mode prod: net/prod.efi is neither another format that iPXE knows"}},
		{"database, not root", func(f *Facts) { f.InUseErr = fmt.Errorf("open: %w", fs.ErrPermission) }, []string{"warning database run the doctor as root"}},
		{"certificate, not root", func(f *Facts) { f.CertificateErr = fmt.Errorf("open: %w", fs.ErrPermission) }, []string{"warning certificate run the doctor as root"}},
		{"database", func(f *Facts) { f.InUseErr = errors.New("malformed") }, []string{"problem database malformed backup farmboot restore"}},
		{"no kernel for held nodes", func(f *Facts) {
			f.Kernels = map[string]error{"prod": noKernel("net/prod.efi", "prod", "")}
			f.Config.Provisioning.Unknown = "hold"
		}, []string{"warning kernels no kernel yet for run mode prod"}},
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
		{"base-host that is dead", func(f *Facts) {
			base("https://boot.lan", &other, nil)(f)
			f.BaseHostBad = syscall.ECONNREFUSED
		}, []string{"problem base-host stands for 192.0.2.66 nothing answers: connection refused"}},
		{"base-host is us", base("https://boot.lan", &us, nil), nil},
		{"certificate unreadable", func(f *Facts) { f.CertificateErr = errors.New("no key") }, []string{"problem certificate no key"}},
		{"weak certificate", func(f *Facts) { f.Weaknesses = []string{"it is old"} }, []string{"warning certificate it is old"}},
		{
			"weak certificate, nodes by https",
			func(f *Facts) { base("https://boot.lan", &us, nil)(f); f.Weaknesses = []string{"it is old"} },
			[]string{"problem certificate it is old"},
		},
		{
			"certificate for another name",
			func(f *Facts) { base("https://boot.lan", &us, nil)(f); f.CertificateNotFor = "it is not for boot.lan" },
			[]string{"problem certificate it is not for boot.lan get one for that name"},
		},
		{
			"certificate for another name, behind a proxy perhaps",
			func(f *Facts) {
				base("https://boot.lan", &other, nil)(f)
				f.CertificateNotFor = "it is not for boot.lan"
			},
			[]string{"warning base-host stands for 192.0.2.66", "warning certificate it is not for boot.lan unless a proxy there has another one"},
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

// TestMendsOfGoneKernelsAreCommands that work as they stand.
func TestMendsOfGoneKernelsAreCommands(t *testing.T) {
	f := healthy()
	f.Kernels = map[string]error{
		"dev": cause.Error(provisioning.NotFound, cause.Folder(provisioning.Cause{ID: provisioning.CauseKernelBroken, Kernel: "net/dev.efi", RunMode: "dev"})),
		"qa":  noKernel("net/qa.efi", "qa", "v1.efi"),
	}
	f.InUse.Kernels = map[string]int{"latest.efi": 2}
	f.Named = map[string]error{"latest.efi": noKernel("latest.efi", "", "v2.efi")}
	var mends []string
	for _, finding := range checkKernels(f) {
		mends = append(mends, finding.Mend)
	}
	want := []string{
		"move it away first; then farmboot kernel use dev KERNEL gives it another one (farmboot kernel add FILE first), or the board's page Kernels",
		"farmboot kernel use qa KERNEL gives it another one, farmboot kernel add FILE --name v1.efi stores it again, or the board's page Kernels",
		"farmboot kernel add FILE --name v2.efi, or register them with another kernel",
	}
	if !slices.Equal(mends, want) {
		t.Errorf("mends are %q, want %q", mends, want)
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
	id := fakeclient.Identity{MAC: [6]byte{2, 'd', 'o', 'c', 't', 1}, XID: 0x01020304}
	offer, err := dhcpv4.New(
		dhcpv4.WithHwAddr(id.MAC[:]), dhcpv4.WithTransactionID(dhcpv4.TransactionID{1, 2, 3, 4}), dhcpv4.WithMessageType(dhcpv4.MessageTypeOffer),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(router.AsSlice())),
		dhcpv4.WithOption(dhcpv4.OptClassIdentifier("PXEClient")),
		dhcpv4.WithOption(dhcpv4.OptBootFileName("x.0")), dhcpv4.WithYourIP(other.AsSlice()))
	if err != nil {
		f.Fatal(err)
	}
	offer.OpCode = dhcpv4.OpcodeBootReply
	got, ok := parseOffer(offer.ToBytes(), id)
	if want := (Offer{Server: router, Assigns: true, Class: "PXEClient", File: "x.0"}); !ok || got != want {
		f.Fatalf("parseOffer reads %+v, %v; want %+v", got, ok, want)
	}
	for _, stranger := range []fakeclient.Identity{{MAC: [6]byte{2}, XID: id.XID}, {MAC: id.MAC, XID: 1}} {
		if _, ok := parseOffer(offer.ToBytes(), stranger); ok {
			f.Fatalf("an offer for another transaction or machine is taken: %+v", stranger)
		}
	}
	f.Add(offer.ToBytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		if o, ok := parseOffer(b, id); ok && !o.Server.IsValid() {
			t.Errorf("offer of nobody: %+v", o)
		}
	})
}

// TestRivals: another PXE server is one, also where it is the DHCP server; another
// appliance that boots the same is none.
func TestRivals(t *testing.T) {
	proxy := netip.MustParseAddr("192.0.2.66")
	with := func(o Offer, c ...fakeclient.Choice) Facts {
		f := healthy()
		o.Server = proxy
		f.LANs[0].Offers = append(f.LANs[0].Offers, o)
		for n := range f.LANs[0].Machines {
			m := &f.LANs[0].Machines[n]
			m.Alone = append(m.Alone, Alone{Server: proxy, Choice: c[n]})
		}
		return f
	}
	at := func(file string) fakeclient.Choice { return fakeclient.Choice{Server: proxy, File: file} }
	for name, tt := range map[string]struct {
		facts Facts
		want  string
	}{
		"nobody":            {healthy(), ""},
		"the DHCP server":   {ill(), "192.0.2.1 eth0"},
		"a PXE server":      {with(Offer{Class: "PXEClient", File: "x.0"}, at("x.0"), at("x.efi")), "192.0.2.66 eth0"},
		"another appliance": {with(Offer{Class: "PXEClient", File: "ipxe.efi"}, at("undionly.kpxe"), at("ipxe.efi")), ""},
	} {
		got := ""
		for _, r := range rivals(tt.facts, tt.facts.LANs[0]) {
			got += r.Server.String() + " " + r.Interface
			if r.What == "" || r.Why == "" || r.Mend == "" {
				t.Errorf("%s: %+v", name, r)
			}
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

// TestUnheard: what is said of a port that nodes' requests do not reach is true of the nodes
// that ask there, and of no others.
func TestUnheard(t *testing.T) {
	plain, secure := setup.Default(), setup.Default()
	secure.BaseHost = &url.URL{Scheme: "https", Host: "boot.example"}
	for _, test := range []struct {
		key    string
		config setup.Config
		want   string
	}{
		{dhcpPortKey, plain, "not told what to boot"},
		{bootServerPortKey, plain, "BIOS machines do without"},
		{tftpPortKey, plain, "those boot that fetch it by HTTP"},
		{bootPortKey, plain, "none boots"},
		{bootPortKey, secure, "plain HTTP get nothing"},
		{adminPortKey, plain, "nodes boot without it"},
		{adminPortKey, secure, "none boots"},
	} {
		if got := (Port{Key: test.key}).unheard(test.config); !strings.Contains(got, test.want) {
			t.Errorf("%s, base-host %v: %q, want %q in it", test.key, test.config.BaseHost, got, test.want)
		}
	}
}

// TestBound: an open port is found while other sockets come and go.
func TestBound(t *testing.T) {
	listen := func() (*net.UDPConn, error) {
		return net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	}
	conn, err := listen()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	port := conn.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	ctx, cancel := context.WithCancel(t.Context())
	var others sync.WaitGroup
	defer others.Wait()
	defer cancel()
	others.Go(func() {
		for ctx.Err() == nil {
			var some []*net.UDPConn
			for range 3 {
				if c, err := listen(); err == nil {
					some = append(some, c)
				}
			}
			for _, c := range some {
				c.Close()
			}
		}
	})
	for range 300 {
		if bound("/proc", "udp", port) == nil {
			t.Fatal("it is not found")
		}
	}
}
