//go:build e2e

package e2e_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"farmboot/dhcp/fakeclient"
	"farmboot/setup/lab"
)

// TestFarmPowersOn: a farm of 256 machines, of several kinds, is switched on at
// the same moment. The appliance answers every one of their DISCOVERs, and all
// get an address and their boot file.
func TestFarmPowersOn(t *testing.T) {
	const size = 256
	kinds := []fakeclient.Persona{fakeclient.UEFI(), fakeclient.BIOS(), fakeclient.IPXEROM(), fakeclient.HTTPBoot()}
	l := newLAN(t, lab.Options{})
	a := newAppliance(t, l, settings{})
	f := newFarm(t, l, a)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()

	results := make([]fakeclient.Result, size)
	var wg sync.WaitGroup
	for i := range results {
		id := fakeclient.Identity{MAC: [6]byte{0x52, 0x54, 0, 0xfa, byte(i >> 8), byte(i)}, XID: uint32(1000 + i), Broadcast: true}
		copy(id.GUID[:], id.MAC[:])
		received := f.plug(id.MAC)
		wg.Go(func() { results[i] = f.boot(ctx, kinds[i%len(kinds)], id, received) })
	}
	wg.Wait()

	for i, r := range results {
		switch {
		case r.Err != nil:
			t.Errorf("machine %d (%s): %v; it threw away %v", i, r.Persona, r.Err, r.Ignored)
		case r.Lease != lab.ServerAddr:
			t.Errorf("machine %d (%s): has its address from %v", i, r.Persona, r.Lease)
		case r.Boot == nil || r.Boot.Server != a.host.Addr():
			t.Errorf("machine %d (%s): boots %v", i, r.Persona, r.Boot)
		}
	}
	if asked, answered := f.counts(); answered < asked {
		t.Errorf("%d DISCOVERs, of which the appliance answered %d", asked, answered)
	}
	leases, err := l.Leases()
	if err != nil {
		t.Fatal(err)
	}
	if len(leases) != size {
		t.Errorf("the DHCP server gave %d addresses, want %d", len(leases), size)
	}
	if d := l.Disturbed(); d != nil {
		t.Errorf("the DHCP server was disturbed: %q", d)
	}
}

// farm is many machines behind one pair of sockets.
type farm struct {
	client, bootServer *net.UDPConn
	appliance          netip.Addr

	mu              sync.Mutex
	machines        map[[6]byte]chan fakeclient.Packet
	asked, answered int // DISCOVERs, and the appliance's OFFERs
}

// newFarm opens the sockets on a host of its own.
func newFarm(t *testing.T, l *lab.LAN, a *appliance) *farm {
	t.Helper()
	host, err := l.Join(0)
	if err != nil {
		t.Fatal(err)
	}
	f := &farm{appliance: a.host.Addr(), machines: map[[6]byte]chan fakeclient.Packet{}}
	err = host.Do(func() (err error) {
		if f.client, err = listenWide(t.Context(), 68); err != nil {
			return err
		}
		f.bootServer, err = listenWide(t.Context(), 4011)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var readers sync.WaitGroup
	for _, conn := range []*net.UDPConn{f.client, f.bootServer} {
		readers.Go(func() { f.hand(conn) })
	}
	t.Cleanup(func() {
		f.client.Close()
		f.bootServer.Close()
		readers.Wait()
	})
	return f
}

// listenWide opens a UDP port with room for what a whole farm hears.
func listenWide(ctx context.Context, port int) (*net.UDPConn, error) {
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var err error
		e := raw.Control(func(fd uintptr) {
			err = errors.Join(
				unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20),
				unix.SetsockoptString(int(fd), unix.SOL_SOCKET, unix.SO_BINDTODEVICE, lab.Interface))
		})
		return errors.Join(e, err)
	}}
	conn, err := config.ListenPacket(ctx, "udp4", netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(port)).String())
	if err != nil {
		return nil, err
	}
	return conn.(*net.UDPConn), nil
}

// plug returns what will be received for a MAC address.
func (f *farm) plug(mac [6]byte) <-chan fakeclient.Packet {
	f.mu.Lock()
	defer f.mu.Unlock()
	received := make(chan fakeclient.Packet, 64)
	f.machines[mac] = received
	return received
}

// hand gives each packet to the machine whose MAC address (chaddr) it carries.
func (f *farm) hand(conn *net.UDPConn) {
	to := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	for {
		buf := make([]byte, 2048)
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		if n < 240 {
			continue
		}
		f.mu.Lock()
		machine := f.machines[[6]byte(buf[28:34])]
		if machine != nil && from == netip.AddrPortFrom(f.appliance, 67) {
			f.answered++
		}
		f.mu.Unlock()
		select {
		case machine <- fakeclient.Packet{From: from, To: to, Data: buf[:n]}:
		default: // nobody's, or a machine that is deaf
		}
	}
}

// boot plays one machine to its end.
func (f *farm) boot(ctx context.Context, p fakeclient.Persona, id fakeclient.Identity, received <-chan fakeclient.Packet) fakeclient.Result {
	m, step := p.Start(id)
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		for _, packet := range step.Send {
			conn := f.client
			if packet.From.Port() == 4011 {
				conn = f.bootServer
			} else if isDiscover(packet.Data) {
				f.mu.Lock()
				f.asked++
				f.mu.Unlock()
			}
			if _, err := conn.WriteToUDPAddrPort(packet.Data, packet.To); err != nil {
				r := m.GiveUp()
				r.Err = err
				return r
			}
		}
		if step.Done != nil {
			return *step.Done
		}
		if step.Wait > 0 {
			timer.Reset(step.Wait)
		}
		select {
		case packet := <-received:
			step = m.Receive(packet)
		case <-timer.C:
			step = m.Expire()
		case <-ctx.Done():
			return m.GiveUp()
		}
	}
}

// isDiscover tells whether a request's first option is 53, DISCOVER, as in all
// personas.
func isDiscover(b []byte) bool {
	return len(b) > 242 && b[240] == 53 && b[242] == 1
}

// counts returns how many DISCOVERs were sent and how many of the appliance's
// offers came back.
func (f *farm) counts() (asked, answered int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.asked, f.answered
}
