package dhcp_test

import (
	"context"
	"net"
	"net/netip"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"farmboot/dhcp"
	"farmboot/setup/lab"
)

func TestLinkLearnsFromTheDHCPServer(t *testing.T) {
	management, lan, second := local("192.168.99.2/24"), local("10.77.0.2/16"), local("10.77.0.3/16")
	addr := netip.MustParseAddr
	l := dhcp.NewLink("lan0", 0, management)
	if l.Undecided() || l.Hear(addr("192.168.99.9")) {
		t.Error("one address leaves nothing to decide")
	}
	l.Set(management, lan, second)
	if !l.Undecided() || l.Told() != addr("192.168.99.2") {
		t.Errorf("undecided %v, told %s", l.Undecided(), l.Told())
	}
	for _, step := range []struct {
		given string
		news  bool
		told  string
	}{
		{"172.16.0.9", false, "192.168.99.2"}, // of a network that we are not in
		{"10.77.1.9", true, "10.77.0.2"},
		{"10.77.1.10", false, "10.77.0.2"},
		{"192.168.99.9", true, "192.168.99.2"},
		{"10.77.1.9", true, "10.77.0.2"},
	} {
		if news := l.Hear(addr(step.given)); news != step.news || l.Told() != addr(step.told) {
			t.Errorf("%s was given out: news %v, told %s; want %+v", step.given, news, l.Told(), step)
		}
	}
	if l.Undecided() {
		t.Error("undecided still")
	}
	l.Set(second, management)
	if l.Undecided() || l.Told() != addr("10.77.0.3") {
		t.Error("what the DHCP server gives out was forgotten with our addresses")
	}
	l.Set(management, local("172.16.0.2/12"))
	if !l.Undecided() || l.Told() != addr("192.168.99.2") {
		t.Error("the DHCP server's network is none of ours any more")
	}
	if l = dhcp.NewLink("lan0", 0, lan, second); l.Undecided() {
		t.Error("two addresses in one network leave nothing to ask the DHCP server")
	}
}

// TestServer_TwoNetworksOnOneInterface: each packet is answered from our address in
// the network that its sender is in, or will be.
func TestServer_TwoNetworksOnOneInterface(t *testing.T) {
	ours, other := newLAN(t)
	ip(t, ours, "addr flush dev "+lab.Interface)
	for _, a := range []string{"192.168.99.2/24", "172.30.0.2/16", "10.77.0.2/16"} {
		ip(t, ours, "addr add "+a+" dev "+lab.Interface)
	}
	ip(t, other, "addr add 192.168.99.3/24 dev "+lab.Interface)
	// A machine has no address yet when it sends a DISCOVER: one that tells nothing.
	ip(t, other, "addr add 203.0.113.9/32 dev "+lab.Interface)
	ip(t, other, "route add 255.255.255.255 dev "+lab.Interface+" src 203.0.113.9")
	link := dhcp.NewLink(lab.Interface, 0, local("192.168.99.2/24"), local("172.30.0.2/16"), local("10.77.0.2/16"))
	s, err := dhcp.NewServer(quiet())
	if err != nil {
		t.Fatal(err)
	}
	var conns []*dhcp.Conn
	err = ours.Do(func() error {
		for service, port := range map[dhcp.Service]int{dhcp.ProxyDHCP: 67, dhcp.BootServer: 4011} {
			conn, err := dhcp.Listen(t.Context(), service, link, port)
			if err != nil {
				return err
			}
			conns = append(conns, conn)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, conns...) }()
	defer func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}()
	a := &appliance{machine: listenUDP(t, other)}

	answered := func(from string, m *dhcpv4.DHCPv4, to string) {
		t.Helper()
		a.send(t, m, netip.MustParseAddrPort(to))
		reply, peer := a.receive(t)
		if got := reply.ServerIPAddr.String(); got != from || reply.ServerIdentifier().String() != from || peer.Addr().String() != from {
			t.Errorf("siaddr %s, option 54 %s, from %s; want %s", got, reply.ServerIdentifier(), peer.Addr(), from)
		}
	}
	relayed := func(giaddr string) dhcpv4.Modifier {
		return func(m *dhcpv4.DHCPv4) { m.GatewayIPAddr = net.ParseIP(giaddr) }
	}
	answered("192.168.99.2", discover(7), "255.255.255.255:67")
	chosen := discover(7, dhcpv4.WithMessageType(dhcpv4.MessageTypeRequest), with(50, 10, 77, 1, 9))
	a.send(t, chosen, everybody) // its former address, for all we know
	answered("192.168.99.2", discover(7), "255.255.255.255:67")
	with(54, 10, 77, 0, 1)(chosen)
	a.send(t, chosen, everybody) // the DHCP server has offered it
	answered("10.77.0.2", discover(7), "255.255.255.255:67")
	answered("192.168.99.2", bootRequest(7), "192.168.99.2:4011")
	answered("10.77.0.2", bootRequest(7), "10.77.0.2:4011")

	// A relay agent gets the reply on port 67: that of the other host.
	agent, err := func() (conn *net.UDPConn, err error) {
		err = other.Do(func() error {
			conn, err = net.ListenUDP("udp4", &net.UDPAddr{Port: 67})
			return err
		})
		return conn, err
	}()
	if err != nil {
		t.Fatal(err)
	}
	defer agent.Close()
	a.machine = agent
	answered("192.168.99.2", discover(7, relayed("192.168.99.3")), "192.168.99.2:67")
	answered("10.77.0.2", discover(7, relayed("10.77.0.3")), "192.168.99.2:67")
}

// TestAsk: the LAN's DHCP server tells which network it serves, and gives out nothing.
func TestAsk(t *testing.T) {
	ours, _ := newLAN(t)
	var offered netip.Addr
	err := ours.Do(func() (err error) {
		offered, err = dhcp.Ask(t.Context(), lab.Interface)
		return err
	})
	if err != nil || !netip.MustParsePrefix("10.77.0.0/16").Contains(offered) {
		t.Errorf("offered is %s, %v", offered, err)
	}
}
