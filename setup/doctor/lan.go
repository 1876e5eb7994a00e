package doctor

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"golang.org/x/sys/unix"

	"farmboot/dhcp"
	"farmboot/dhcp/fakeclient"
	"farmboot/setup"
)

// How long a machine is played. Firmware asks for a minute (PXE 2.1 section 2.2.2: 4, 8,
// 16 and 32 seconds) and then asks the boot server. Once it has been offered an address,
// and nothing tells it what to boot for 15 seconds, nothing will.
const (
	askingLimit     = 66 * time.Second
	leasedLimit     = 15 * time.Second
	bootServerLimit = 6 * time.Second
)

// turnLimit is how long the machine before is waited for: its first three waits.
const turnLimit = 28 * time.Second

// played are the machines that are played on a LAN: what most farms have.
func played(c setup.Config) []fakeclient.Persona {
	all := []fakeclient.Persona{fakeclient.BIOS(), fakeclient.UEFI(), fakeclient.HTTPBoot(), fakeclient.IPXEROM()}
	if c.SecureBoot.Enabled {
		all = append(all, fakeclient.SecureBoot())
	}
	return all
}

// listen plays machines on each LAN and returns what they met.
func listen(ctx context.Context, c setup.Config, lans []setup.Interface) []LAN {
	all := make([]LAN, len(lans))
	var listening sync.WaitGroup
	for n, i := range lans {
		listening.Go(func() { all[n] = listenOn(ctx, i, played(c)) })
	}
	listening.Wait()
	return all
}

// listenOn plays machines on a LAN. Each begins when the one before has been offered an
// address: servers that look whether an address is in use answer one machine after the
// other (dnsmasq: 3 seconds each), and machines that ask at once wait for one another.
func listenOn(ctx context.Context, i setup.Interface, played []fakeclient.Persona) LAN {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l := listener{lan: LAN{Interface: i, Machines: make([]Machine, len(played))}}
	var playing sync.WaitGroup
	turn := turnLimit
	for n, p := range played {
		id := fakeclient.Identity{MAC: dhcp.ProbeMAC(byte(n + 1)), XID: rand.Uint32(), Address: i.Addr(), Broadcast: true}
		offered, ended := make(chan struct{}), make(chan struct{})
		asking, enough := context.WithTimeout(ctx, askingLimit)
		defer enough()
		begun := time.Now()
		sockets, ear, err := listenAs(asking, i, id, func(o Offer) {
			o.After = time.Since(begun)
			if l.note(o) && isOpen(offered) {
				time.AfterFunc(playedFor(p, o.After), enough)
				close(offered)
			}
		})
		if err != nil {
			l.fail(err)
			break
		}
		playing.Go(func() {
			defer close(ended)
			defer sockets.Close()
			result, err := fakeclient.Run(asking, p, id, sockets)
			l.fail(err)
			l.lan.Machines[n] = weigh(p, id, result, ear.offers)
			l.lan.Machines[n].Took = time.Since(begun)
			if n == 0 && !l.addressed() {
				cancel() // it has been listened for a minute, and that does for the others
			}
		})
		select {
		case <-offered:
		case <-ended:
		case <-time.After(turn):
			if !l.addressed() {
				turn = 0 // no server gives addresses: nobody waits for another
			}
		}
	}
	playing.Wait()
	if l.lan.Err != nil {
		l.lan.Machines = nil
	}
	for n, o := range l.lan.Offers {
		l.lan.Offers[n].NoRoute = o.Network.IsValid() && !routed(ctx, o.Network.Addr().Next())
	}
	slices.SortStableFunc(l.lan.Offers, func(a, b Offer) int { return a.Server.Compare(b.Server) })
	return l.lan
}

// isOpen tells whether a channel that carries nothing has not been closed.
func isOpen(c <-chan struct{}) bool {
	select {
	case <-c:
		return false
	default:
		return true
	}
}

// playedFor is how long a machine is played on once it has been offered an address, some
// time after it began. What comes in just before firmware counts may be counted late.
func playedFor(p fakeclient.Persona, offered time.Duration) time.Duration {
	return max(leasedLimit, p.DecidesBy(offered+time.Second)+bootServerLimit-offered)
}

// listener keeps what machines on a LAN hear.
type listener struct {
	mu  sync.Mutex
	lan LAN
}

// note keeps an offer, at its fastest, and tells whether it assigns an address.
func (l *listener) note(o Offer) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := slices.IndexFunc(l.lan.Offers, o.same); n < 0 {
		l.lan.Offers = append(l.lan.Offers, o)
	} else {
		l.lan.Offers[n].After = min(l.lan.Offers[n].After, o.After)
	}
	return o.Assigns
}

// addressed tells whether a machine has been offered an address.
func (l *listener) addressed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.lan.assigning()) > 0
}

// fail keeps the first error.
func (l *listener) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lan.Err == nil {
		l.lan.Err = err
	}
}

// listenAs opens the sockets of a machine.
func listenAs(ctx context.Context, i setup.Interface, id fakeclient.Identity, note func(Offer)) (fakeclient.Sockets, *ear, error) {
	sockets, err := fakeclient.Listen(ctx, i.Name)
	if err != nil {
		return sockets, nil, err
	}
	ear, err := newEar(sockets.Client, i, id, note)
	if err != nil {
		return sockets, nil, errors.Join(err, sockets.Close())
	}
	sockets.Client = ear
	if sockets.BootServer == nil {
		// The daemon has port 4011. It answers other ports as well, and what this host
		// says to itself never becomes a frame.
		var config net.ListenConfig
		if sockets.BootServer, err = config.ListenPacket(ctx, "udp4", netip.AddrPortFrom(i.Addr(), 0).String()); err != nil {
			return sockets, nil, errors.Join(err, sockets.Close())
		}
	}
	return sockets, ear, nil
}

// routed tells whether this host knows a way to an address. Nothing is sent.
func routed(ctx context.Context, to netip.Addr) bool {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "udp4", netip.AddrPortFrom(to, 68).String())
	if err != nil {
		return !errors.Is(err, unix.ENETUNREACH) && !errors.Is(err, unix.EHOSTUNREACH)
	}
	conn.Close()
	return true
}

// weigh finds out what a machine would do with the same offers in other orders: which
// of two servers is faster is chance, and what chance decides is to be known.
func weigh(p fakeclient.Persona, id fakeclient.Identity, result fakeclient.Result, heard []fakeclient.Packet) Machine {
	m := Machine{Result: result}
	byServer := make(map[netip.Addr][]fakeclient.Packet)
	var leases []fakeclient.Packet
	assigns := make(map[netip.Addr]bool)
	for _, packet := range heard {
		o, ok := parseOffer(packet.Data, id)
		if !ok {
			continue
		}
		if !slices.ContainsFunc(byServer[o.Server], func(q fakeclient.Packet) bool { return slices.Equal(q.Data, packet.Data) }) {
			byServer[o.Server] = append(byServer[o.Server], packet)
			if o.Assigns {
				leases = append(leases, packet)
				assigns[o.Server] = true
			}
		}
	}
	servers := slices.SortedFunc(maps.Keys(byServer), netip.Addr.Compare)
	for n := range servers {
		order := append(slices.Clone(servers[n:]), servers[:n]...)
		for range 2 {
			var offers []fakeclient.Packet
			for _, s := range order {
				offers = append(offers, byServer[s]...)
			}
			m.Choices = append(m.Choices, p.Choose(id, offers...))
			slices.Reverse(order)
		}
	}
	for _, s := range servers {
		var offers []fakeclient.Packet
		if !assigns[s] {
			offers = append(offers, leases...)
		}
		m.Alone = append(m.Alone, Alone{Server: s, Choice: p.Choose(id, append(offers, byServer[s]...)...)})
	}
	return m
}

// parseOffer reads an OFFER for a machine, in its transaction.
func parseOffer(b []byte, id fakeclient.Identity) (Offer, bool) {
	p, err := dhcpv4.FromBytes(b)
	if err != nil || p.OpCode != dhcpv4.OpcodeBootReply || p.MessageType() != dhcpv4.MessageTypeOffer ||
		!slices.Equal(p.ClientHWAddr, id.MAC[:]) || binary.BigEndian.Uint32(p.TransactionID[:]) != id.XID {
		return Offer{}, false
	}
	server, ok := netip.AddrFromSlice(p.ServerIdentifier().To4())
	if !ok {
		server, ok = netip.AddrFromSlice(p.ServerIPAddr.To4())
	}
	o := Offer{Server: server, Class: p.ClassIdentifier(), File: cmp.Or(p.BootFileNameOption(), p.BootFileName)}
	if addr, ok := netip.AddrFromSlice(p.YourIPAddr.To4()); ok && !addr.IsUnspecified() {
		o.Assigns, o.Gateway = true, len(p.Router()) > 0
		if mask := p.SubnetMask(); mask != nil {
			bits, _ := mask.Size()
			o.Network = netip.PrefixFrom(addr, bits).Masked()
		}
	}
	if next, ok := netip.AddrFromSlice(p.ServerIPAddr.To4()); ok && !next.IsUnspecified() {
		o.Next = next
	}
	o.NoProxy = forbidsProxy(p.Options.Get(dhcpv4.GenericOptionCode(175)))
	return o, ok
}

// forbidsProxy tells whether option 175 has a sub-option 176 (iPXE's no-pxedhcp) that is
// not 0: iPXE in a ROM then ignores every proxyDHCP server.
func forbidsProxy(encapsulated []byte) bool {
	const noPXEDHCP = 176
	for b := encapsulated; len(b) >= 2 && len(b) >= 2+int(b[1]); b = b[2+int(b[1]):] {
		if b[0] == noPXEDHCP {
			return slices.ContainsFunc(b[2:2+int(b[1])], func(c byte) bool { return c != 0 })
		}
	}
	return false
}
