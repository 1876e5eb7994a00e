package dhcp_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"golang.org/x/sys/unix"

	"farmboot/dhcp"
	"farmboot/dhcp/fakeclient"
	"farmboot/provisioning"
	"farmboot/provisioning/cause"
	"farmboot/setup/lab"
)

// appliance is a running Server on a LAN and what it told.
type appliance struct {
	*dhcp.Server
	registry *prometheus.Registry
	log      *strings.Builder

	host, other *lab.Host
	machine     *net.UDPConn // port 68 of the other host

	stop func() // and wait until everything that came in is dealt with

	mu      sync.Mutex
	events  []provisioning.Event
	learned map[netip.Addr]provisioning.MAC
}

// limit is how long a test waits for what must come.
const limit = time.Minute

// quiet is the configuration of a server that boots everybody, and knows and tells nothing.
func quiet() dhcp.Config {
	return dhcp.Config{
		Responder: plain,
		Recall:    func(provisioning.MAC) (provisioning.Assignment, bool) { return provisioning.Assignment{}, false },
		Assign:    func(context.Context, provisioning.MAC) (provisioning.Assignment, error) { return boots, nil },
		Default:   func(provisioning.MAC) provisioning.Assignment { return boots },
		Record:    func(provisioning.Event) {},
		Learn:     func(netip.Addr, provisioning.MAC) {},
		Known:     func(context.Context, provisioning.MAC) bool { return false },
		Enrolling: func(provisioning.MAC) bool { return false },
		Proven: func(context.Context, provisioning.MAC) (provisioning.Proven, error) {
			return provisioning.Proven{}, errors.New("nothing has proved itself yet")
		},
		Prove: func(provisioning.Proven) {},
		Log:   slog.New(slog.DiscardHandler), Now: time.Now, Metrics: prometheus.NewRegistry(),
	}
}

// startAppliance serves 67 and 4011 on a LAN of its own.
func startAppliance(t *testing.T, change func(*dhcp.Config)) *appliance {
	t.Helper()
	ours, other := newLAN(t)
	a := &appliance{host: ours, other: other, registry: prometheus.NewRegistry(), log: new(strings.Builder), learned: map[netip.Addr]provisioning.MAC{}}
	config := quiet()
	config.Record = func(e provisioning.Event) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.events = append(a.events, e)
	}
	config.Learn = func(ip netip.Addr, mac provisioning.MAC) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.learned[ip] = mac
	}
	config.Log, config.Metrics = slog.New(slog.NewTextHandler(a.log, nil)), a.registry
	config.Now = func() time.Time { return time.Unix(1e9, 0) }
	if change != nil {
		change(&config)
	}
	var err error
	if a.Server, err = dhcp.NewServer(config); err != nil {
		t.Fatal(err)
	}
	conns := listen(t, a.host, map[dhcp.Service]int{dhcp.ProxyDHCP: 67, dhcp.BootServer: 4011})
	a.machine = listenUDP(t, a.other)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Serve(ctx, conns...) }()
	a.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Serve: %v", err)
			}
		case <-time.After(limit):
			t.Error("Serve does not end with its context")
		}
	})
	t.Cleanup(a.stop)
	return a
}

// listenUDP opens the DHCP client's port on a host, with room for a burst.
func listenUDP(t *testing.T, h *lab.Host) *net.UDPConn {
	t.Helper()
	var udp *net.UDPConn
	err := h.Do(func() (err error) {
		udp, err = net.ListenUDP("udp4", &net.UDPAddr{Port: 68})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { udp.Close() })
	raw, err := udp.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var force error // SetReadBuffer gives no more than net.core.rmem_max
	err = raw.Control(func(fd uintptr) {
		force = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20)
	})
	if err := errors.Join(err, force); err != nil {
		t.Fatal(err)
	}
	return udp
}

var everybody = netip.MustParseAddrPort("255.255.255.255:67")

// bootServer is our port 4011.
func (a *appliance) bootServer() netip.AddrPort { return netip.AddrPortFrom(a.host.Addr(), 4011) }

func (a *appliance) send(t *testing.T, m *dhcpv4.DHCPv4, to netip.AddrPort) {
	t.Helper()
	if _, err := a.machine.WriteToUDPAddrPort(m.ToBytes(), to); err != nil {
		t.Fatal(err)
	}
}

// receive waits for one answer of ours; the DHCP server's are skipped.
func (a *appliance) receive(t *testing.T) (*dhcpv4.DHCPv4, netip.AddrPort) {
	t.Helper()
	buf := make([]byte, 1500)
	if err := a.machine.SetReadDeadline(time.Now().Add(limit)); err != nil {
		t.Fatal(err)
	}
	for {
		n, from, err := a.machine.ReadFromUDPAddrPort(buf)
		if err != nil {
			t.Fatalf("no answer: %v", err)
		}
		m, err := dhcpv4.FromBytes(buf[:n])
		if err != nil {
			t.Fatal(err)
		}
		if m.YourIPAddr.IsUnspecified() && m.MessageType() != dhcpv4.MessageTypeNak {
			return m, netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		}
	}
}

// story lists the events so far: stage, peer and detail.
func (a *appliance) story() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var s []string
	for _, e := range a.events {
		peer := "-"
		if e.Peer.IsValid() {
			peer = e.Peer.String()
		}
		s = append(s, strings.Join([]string{string(e.Stage), e.MAC.String(), peer, cause.Detail(e)}, " "))
	}
	return s
}

func TestServer_OffersAndAcknowledges(t *testing.T) {
	a := startAppliance(t, nil)

	// What nobody answers comes first: then the next answer is to something else.
	a.send(t, discover(7, without(60)), everybody)
	a.send(t, bootRequest(7, with(50, 192, 0, 2, 100)), everybody)
	a.send(t, discover(6), everybody)
	a.send(t, discover(0, func(m *dhcpv4.DHCPv4) { m.ClientHWAddr = net.HardwareAddr{0xb8, 0x27, 0xeb, 1, 2, 3} }), everybody)

	a.send(t, discover(7), everybody)
	offer, from := a.receive(t)
	if offer.MessageType() != dhcpv4.MessageTypeOffer || file(offer) != "ipxe.efi" {
		t.Errorf("got %s", offer.Summary())
	}
	if want := netip.AddrPortFrom(a.host.Addr(), 67); from != want {
		t.Errorf("offer comes from %s, but siaddr and option 54 say %s", from, want)
	}

	a.send(t, bootRequest(7), a.bootServer())
	ack, from := a.receive(t)
	if ack.MessageType() != dhcpv4.MessageTypeAck || file(ack) != "ipxe.efi" || from != a.bootServer() {
		t.Errorf("from %s got %s", from, ack.Summary())
	}

	want := []string{
		`refused 52:54:00:00:00:b1 10.77.0.3 client architecture is none that Farmboot boots: option 93 says 6 (EFI IA32), option 60 "PXEClient:Arch:00006:UNDI:003016"`,
		"refused b8:27:eb:01:02:03 10.77.0.3 a Raspberry Pi claims to be a BIOS PC",
		"discover 52:54:00:00:00:b1 10.77.0.3 UEFI x64, PXEClient",
		"offer 52:54:00:00:00:b1 10.77.0.3 ipxe.efi",
		"bootserver 52:54:00:00:00:b1 10.77.0.3 ipxe.efi",
	}
	a.stop()
	// Several workers: the order of what was sent at once is open.
	slices.Sort(want)
	if diff := cmp.Diff(want, slices.Sorted(slices.Values(a.story()))); diff != "" {
		t.Error(diff)
	}
	if got := a.learned[netip.MustParseAddr("192.0.2.100")]; got != testMAC {
		t.Errorf("learned %v", a.learned)
	}
	if err := testutil.GatherAndCompare(a.registry, strings.NewReader(`
# HELP farmboot_dhcp_packets_total Packets received on the proxyDHCP and PXE boot server ports, by what became of them.
# TYPE farmboot_dhcp_packets_total counter
farmboot_dhcp_packets_total{result="answered",service="bootserver"} 1
farmboot_dhcp_packets_total{result="answered",service="proxydhcp"} 1
farmboot_dhcp_packets_total{result="not_for_us",service="proxydhcp"} 1
farmboot_dhcp_packets_total{result="not_netboot",service="proxydhcp"} 1
farmboot_dhcp_packets_total{result="raspberry_pi",service="proxydhcp"} 1
farmboot_dhcp_packets_total{result="unknown_arch",service="proxydhcp"} 1
# HELP farmboot_dhcp_replies_total Offers (proxydhcp) and acknowledgements (bootserver) sent, by the client's platform.
# TYPE farmboot_dhcp_replies_total counter
farmboot_dhcp_replies_total{platform="UEFI x64",service="bootserver"} 1
farmboot_dhcp_replies_total{platform="UEFI x64",service="proxydhcp"} 1
`)); err != nil {
		t.Error(err)
	}
}

func TestServer_BurstOf256DiscoversLosesNone(t *testing.T) {
	a := startAppliance(t, nil)
	const machines = 256
	for i := range machines {
		a.send(t, discover(0, func(m *dhcpv4.DHCPv4) {
			m.ClientHWAddr = net.HardwareAddr{0x52, 0x54, 0, 1, 0, byte(i)}
			m.TransactionID = dhcpv4.TransactionID{9, 9, 9, byte(i)}
		}), everybody)
	}
	offered := make(map[dhcpv4.TransactionID]bool)
	for len(offered) < machines {
		m, _ := a.receive(t)
		offered[m.TransactionID] = true
	}
}

func TestServer_BurstWaitsInTheSocketNotInMemory(t *testing.T) {
	release := make(chan struct{})
	a := startAppliance(t, func(c *dhcp.Config) {
		c.Assign = func(context.Context, provisioning.MAC) (provisioning.Assignment, error) {
			<-release
			return boots, nil
		}
	})
	const machines = 1000 // the kernel's default buffer holds 125
	for i := range machines {
		a.send(t, discover(0, func(m *dhcpv4.DHCPv4) { m.TransactionID = dhcpv4.TransactionID{9, 9, byte(i >> 8), byte(i)} }), everybody)
	}
	close(release)
	offered := make(map[dhcpv4.TransactionID]bool)
	for len(offered) < machines {
		m, _ := a.receive(t)
		offered[m.TransactionID] = true
	}
}

var ignored = provisioning.Assignment{Policy: provisioning.Ignore}

func TestServer_StoreThatFailsMeansTheDefaultPolicy(t *testing.T) {
	a := startAppliance(t, func(c *dhcp.Config) {
		c.Assign = func(ctx context.Context, _ provisioning.MAC) (provisioning.Assignment, error) {
			<-ctx.Done() // hangs: the server must not
			return ignored, ctx.Err()
		}
	})
	a.send(t, discover(7), everybody)
	if m, _ := a.receive(t); file(m) != "ipxe.efi" {
		t.Errorf("got %s", m.Summary())
	}
	a.stop()
	if !strings.Contains(a.log.String(), "cannot look up node") {
		t.Errorf("nobody is told: %s", a.log)
	}
}

// TestServer_WhatIsKnownIsNotLookedUp: the store is not asked for what is recalled.
func TestServer_WhatIsKnownIsNotLookedUp(t *testing.T) {
	a := startAppliance(t, func(c *dhcp.Config) {
		c.Recall = func(provisioning.MAC) (provisioning.Assignment, bool) { return boots, true }
		c.Assign = func(context.Context, provisioning.MAC) (provisioning.Assignment, error) {
			t.Error("the store is asked")
			return ignored, nil
		}
	})
	a.send(t, discover(7), everybody)
	if m, _ := a.receive(t); file(m) != "ipxe.efi" {
		t.Errorf("got %s", m.Summary())
	}
}

func TestServer_IgnoredMACGetsSilence(t *testing.T) {
	a := startAppliance(t, func(c *dhcp.Config) {
		c.Assign = func(_ context.Context, mac provisioning.MAC) (provisioning.Assignment, error) {
			if mac == testMAC {
				return ignored, nil
			}
			return boots, nil
		}
	})
	for range 5 {
		a.send(t, discover(7), everybody)
	}
	other := net.HardwareAddr{0x52, 0x54, 0, 0, 0, 0xb2}
	a.send(t, discover(7, func(m *dhcpv4.DHCPv4) { m.ClientHWAddr = other }), everybody)
	if m, _ := a.receive(t); m.ClientHWAddr.String() != other.String() {
		t.Errorf("answered %s", m.ClientHWAddr)
	}
	a.stop()
	if n := strings.Count(strings.Join(a.story(), "\n"), "refused"); n != 5 { // the recorder makes one of them
		t.Errorf("%d refusals: %q", n, a.story())
	}
}

// TestServer_EnrolmentIsAskedForWhereItCanBe: with HTTP Boot alone, so that no other packet
// pays for it.
func TestServer_EnrolmentIsAskedForWhereItCanBe(t *testing.T) {
	asked := make(chan provisioning.MAC, 8)
	a := startAppliance(t, func(c *dhcp.Config) {
		c.Responder.Shim = "shimx64.efi"
		c.Enrolling = func(mac provisioning.MAC) bool { asked <- mac; return true }
	})
	a.send(t, discover(7), everybody)
	if m, _ := a.receive(t); m.BootFileName != "shimx64.efi" {
		t.Errorf("PXE is offered %q", m.BootFileName)
	}
	if len(asked) != 0 {
		t.Error("it was asked for a machine that boots by PXE")
	}
	a.send(t, discover(16, with(60, []byte("HTTPClient:Arch:00016:UNDI:003001")...)), everybody)
	if m, _ := a.receive(t); !strings.HasSuffix(m.BootFileName, "/boot/enrol.img") {
		t.Errorf("HTTP Boot is offered %q", m.BootFileName)
	}
	if len(asked) != 1 {
		t.Errorf("it was asked for %d times", len(asked))
	}
	a.stop()
}

// TestServer_OtherHardwareIsRefusedByName: a card of InfiniBand (htype 32, RFC 4390) or of
// any other kind that shows no MAC address.
func TestServer_OtherHardwareIsRefusedByName(t *testing.T) {
	a := startAppliance(t, nil)
	for _, m := range []struct {
		kind iana.HWType
		addr net.HardwareAddr
	}{
		{iana.HWTypeInfiniband, net.HardwareAddr{0, 2, 0xc9, 3, 0, 0x23, 0x13, 0x40}},
		{iana.HWTypeInfiniband, net.HardwareAddr{}},
		{iana.HWTypeEthernet, make([]byte, 16)},
	} {
		a.send(t, discover(7, func(d *dhcpv4.DHCPv4) { d.HWType, d.ClientHWAddr = m.kind, m.addr }), everybody)
	}
	a.send(t, discover(7), everybody)
	if m, _ := a.receive(t); m.ClientHWAddr.String() != testMAC.String() {
		t.Errorf("answered %s", m.ClientHWAddr)
	}
	a.stop()
	var refusals []string
	for _, s := range a.story() {
		if strings.HasPrefix(s, "refused ") {
			refusals = append(refusals, s)
		}
	}
	slices.Sort(refusals) // several workers answer
	want := []string{"type 1, 16 bytes", "type 32, 0 bytes", "type 32, 8 bytes"}
	for i, w := range want {
		if len(refusals) != len(want) || !strings.Contains(refusals[i], w) {
			t.Fatalf("refusals %q, want %q", refusals, want)
		}
	}
}

func TestServer_PanicCostsOnePacket(t *testing.T) {
	a := startAppliance(t, func(c *dhcp.Config) {
		c.Assign = func(_ context.Context, mac provisioning.MAC) (provisioning.Assignment, error) {
			if mac == testMAC {
				panic("the store is on fire")
			}
			return boots, nil
		}
	})
	for range 10 { // more than there are workers
		a.send(t, discover(7), everybody)
	}
	a.send(t, discover(7, func(m *dhcpv4.DHCPv4) { m.ClientHWAddr = net.HardwareAddr{0x52, 0x54, 0, 0, 0, 0xb2} }), everybody)
	a.receive(t)
	a.stop()
	if !strings.Contains(a.log.String(), "the store is on fire") {
		t.Errorf("nobody is told: %s", a.log)
	}
}

func TestListen_ErrorsSayWhatToDo(t *testing.T) {
	ours, _ := newLAN(t)
	first := listen(t, ours, map[dhcp.Service]int{dhcp.ProxyDHCP: 67})[0]
	defer first.Close()
	if got := first.LocalAddr().Port(); got != 67 {
		t.Errorf("bound to port %d", got)
	}
	err := ours.Do(func() error {
		_, err := dhcp.Listen(t.Context(), dhcp.ProxyDHCP, linkOf(ours), 67)
		return err
	})
	if err == nil || !strings.HasPrefix(err.Error(), `port 67 on lan0 is in use: is another DHCP or PXE server (dnsmasq?) running on this host? "ss -lunp sport = :67" names it`) {
		t.Errorf("second server on the port: %v", err)
	}
	err = ours.Do(func() error {
		_, err := dhcp.Listen(t.Context(), dhcp.ProxyDHCP, dhcp.NewLink("lan7", 0, local("192.0.2.1/24")), 67)
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "lan7") {
		t.Errorf("no such interface: %v", err)
	}
}

func TestServer_SocketClosedByOthersEndsServe(t *testing.T) {
	ours, _ := newLAN(t)
	conn := listen(t, ours, map[dhcp.Service]int{dhcp.ProxyDHCP: 67})[0]
	conn.Close()
	s, err := dhcp.NewServer(quiet())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(t.Context(), conn); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

// TestServer_EveryPersona plays every kind of firmware against real sockets,
// beside a real dnsmasq.
func TestServer_EveryPersona(t *testing.T) {
	a := startAppliance(t, nil)
	a.machine.Close()
	var sockets fakeclient.Sockets
	err := a.other.Do(func() (err error) {
		sockets, err = fakeclient.Listen(t.Context(), lab.Interface)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer sockets.Close()
	script := "http://" + a.host.Addr().String() + "/provision/52:54:00:00:00:b1"
	http := "http://" + a.host.Addr().String() + "/boot/"
	want := map[string]string{
		"UEFI x64": "ipxe.efi", "UEFI x64 before 2017": "ipxe.efi", "UEFI arm64": "ipxe-arm64.efi", "UEFI riscv64": "ipxe-riscv64.efi",
		"BIOS": "undionly.kpxe", "iPXE in ROM": script, "iPXE in ROM without HTTP": "undionly.kpxe",
		"Farmboot's iPXE, UEFI": script, "Farmboot's iPXE, BIOS": script,
		"UEFI HTTP Boot x64": http + "ipxe.efi", "UEFI HTTP Boot arm64": http + "ipxe-arm64.efi",
	}
	for _, p := range fakeclient.All() {
		// The sockets are on a host that has an address, so no lease is taken.
		id := fakeclient.Identity{MAC: testMAC, GUID: [16]byte(testGUID[1:]), XID: 0x01020304, Address: a.other.Addr(), Broadcast: true, MaxWait: time.Second / 2}
		if p.Name == "Raspberry Pi" {
			id.MAC = [6]byte{0xb8, 0x27, 0xeb, 1, 2, 3}
		}
		r, err := fakeclient.Run(t.Context(), p, id, sockets)
		switch {
		case err != nil:
			t.Errorf("%s: %v", p.Name, err)
		case r.Err != nil && !(p.Name == "Raspberry Pi" && errors.Is(r.Err, fakeclient.ErrNoBootOffer)):
			t.Errorf("%s: %v, ignored %v", p.Name, r.Err, r.Ignored)
		case want[p.Name] == "" && r.Boot != nil, want[p.Name] != "" && *r.Boot != fakeclient.Boot{File: want[p.Name], Server: a.host.Addr()}:
			t.Errorf("%s boots %+v", p.Name, r.Boot)
		}
	}
}
