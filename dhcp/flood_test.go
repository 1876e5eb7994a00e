package dhcp_test

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"farmboot/dhcp"
	"farmboot/provisioning"
)

// isStranger knows the MAC addresses that the flood is made of.
func isStranger(mac provisioning.MAC) bool { return mac[0] == 2 && mac[1] == 0xff }

// TestFlood_NodesBoot: 12,000 DISCOVERs a second of addresses that nobody has seen, and
// ten nodes that are registered, seen before, in the middle of a boot or new: each gets
// its offer (reported: six of ten did).
func TestFlood_NodesBoot(t *testing.T) {
	a := startAppliance(t, func(c *dhcp.Config) {
		c.Now = time.Now
		c.Assign = func(_ context.Context, mac provisioning.MAC) (provisioning.Assignment, error) {
			as := boots
			as.Registered = mac[1] == 0x54 && mac[5]%4 == 0
			return as, nil
		}
		c.Known = func(_ context.Context, mac provisioning.MAC) bool { return mac[1] == 0x54 && mac[5]%4 == 1 }
		record := c.Record
		c.Record = func(e provisioning.Event) {
			if !isStranger(e.MAC) {
				record(e)
				return
			}
			// What an answer really costs, with all that follows from it.
			for begin := time.Now(); time.Since(begin) < 70*time.Microsecond; {
			}
		}
	})
	waiting := make(map[provisioning.MAC]bool)
	for i := range byte(10) {
		mac := provisioning.MAC{0x52, 0x54, 0, 0, 0, i}
		waiting[mac] = true
		if i%4 == 2 {
			a.Booting(mac)
		}
	}
	over := make(chan struct{})
	var flood sync.WaitGroup
	defer flood.Wait()
	defer close(over)
	flood.Go(func() {
		b := discover(7).ToBytes()
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for n := uint32(0); ; {
			select {
			case <-over:
				return
			case <-tick.C:
			}
			for range 120 {
				n++
				copy(b[28:], []byte{2, 0xff})
				binary.BigEndian.PutUint32(b[30:], n)
				binary.BigEndian.PutUint32(b[4:], n)
				_, _ = a.machine.WriteToUDPAddrPort(b, everybody)
			}
		}
	})
	buf := make([]byte, 1500)
	begin := time.Now()
	for again := begin.Add(time.Second); len(waiting) > 0; { // the flood has a second's lead
		if now := time.Now(); now.After(again) {
			again = now.Add(4 * time.Second) // as firmware
			for mac := range waiting {
				a.send(t, discover(7, func(m *dhcpv4.DHCPv4) { m.ClientHWAddr = net.HardwareAddr(mac[:]) }), everybody)
			}
		}
		if time.Since(begin) > time.Minute { // firmware gives up
			t.Fatalf("%d of 10 nodes have no offer", len(waiting))
		}
		if err := a.machine.SetReadDeadline(again); err != nil {
			t.Fatal(err)
		}
		n, _, err := a.machine.ReadFromUDPAddrPort(buf)
		var late net.Error
		switch {
		case errors.As(err, &late) && late.Timeout():
			continue
		case err != nil:
			t.Fatal(err)
		}
		if n > 240 && [4]byte(buf[16:20]) == [4]byte{} { // of ours: it assigns nothing
			delete(waiting, provisioning.MAC(buf[28:34]))
		}
	}
}

// TestUp: a machine whose kernel went out asks the LAN for an address as an ordinary
// machine: its operating system runs. That is told once; and not of its firmware, nor of
// a machine that has no kernel of ours.
func TestUp(t *testing.T) {
	now := time.Unix(1e9, 0)
	a := startAppliance(t, func(c *dhcp.Config) { c.Now = func() time.Time { return now } })
	machine := func(last byte, mods ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
		return discover(7, append(mods, func(m *dhcpv4.DHCPv4) { m.ClientHWAddr = net.HardwareAddr{0x52, 0x54, 0, 0, 0, last} })...)
	}
	linux := func(m *dhcpv4.DHCPv4) {
		for _, code := range []uint8{93, 94, 97} {
			without(code)(m)
		}
		with(60, []byte("udhcp 1.36.1")...)(m)
	}
	request := dhcpv4.WithMessageType(dhcpv4.MessageTypeRequest)
	a.Started(provisioning.MAC{0x52, 0x54, 0, 0, 0, 1}, now)
	a.Started(provisioning.MAC{0x52, 0x54, 0, 0, 0, 2}, now)
	a.Started(provisioning.MAC{0x52, 0x54, 0, 0, 0, 3}, now.Add(-2*time.Hour))
	a.Started(provisioning.MAC{0x52, 0x54, 0, 0, 0, 4}, now)
	a.send(t, machine(1, request), everybody) // firmware
	a.send(t, machine(1, linux), everybody)
	a.send(t, machine(1, linux, request), everybody)
	a.send(t, machine(2, linux, request), everybody)      // knows its address still
	a.send(t, machine(3, linux), everybody)               // that is another boot
	a.send(t, machine(5, linux), everybody)               // none of ours
	a.send(t, machine(4, linux, request), a.bootServer()) // not the LAN's DHCP server
	a.send(t, machine(9), everybody)
	for offer, _ := a.receive(t); offer.ClientHWAddr[5] != 9; offer, _ = a.receive(t) {
	}
	a.stop()
	var ups []string
	for _, s := range a.story() {
		if strings.HasPrefix(s, "up ") {
			ups = append(ups, strings.Fields(s)[1])
		}
	}
	if got := strings.Join(ups, " "); got != "52:54:00:00:00:01 52:54:00:00:00:02" && got != "52:54:00:00:00:02 52:54:00:00:00:01" {
		t.Errorf("up: %s", got)
	}
}

// TestOffers_NeedNoNeighbour: an offer leaves without an entry in the kernel's table of
// neighbours, which may be full.
func TestOffers_NeedNoNeighbour(t *testing.T) {
	a := startAppliance(t, nil)
	a.send(t, discover(7), everybody)
	a.receive(t)
	if table := ip(t, a.host, "neigh show nud all"); strings.Contains(table, "255.255.255.255") {
		t.Errorf("the table of neighbours:\n%s", table)
	}
}
