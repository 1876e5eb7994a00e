package doctor

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"farmboot/dhcp"
	"farmboot/dhcp/persona"
	"farmboot/setup"
)

// How long a machine is played. Firmware that is offered an address, and told what to
// boot, has decided within 12 seconds. Else it goes on asking for a minute (PXE 2.1
// section 2.2.2: 4, 8, 16 and 32 seconds), and servers that are slow are heard.
const (
	leasedLimit = 15 * time.Second
	askingLimit = 62 * time.Second
)

// played are the machines that are played on a LAN: what most farms have.
func played(c setup.Config) []persona.Persona {
	all := []persona.Persona{persona.BIOS(), persona.UEFI(), persona.HTTPBoot(), persona.IPXEROM()}
	if c.SecureBoot.Enabled {
		all = append(all, persona.SecureBoot())
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

func listenOn(ctx context.Context, i setup.Interface, played []persona.Persona) LAN {
	ctx, cancel := context.WithTimeout(ctx, askingLimit)
	defer cancel()
	begun := time.Now()
	var mu sync.Mutex
	l := LAN{Interface: i}
	note := func(o Offer) {
		mu.Lock()
		defer mu.Unlock()
		o.After = time.Since(begun)
		if !slices.ContainsFunc(l.Offers, o.same) {
			l.Offers = append(l.Offers, o)
		}
	}
	machines := make([]Machine, len(played))
	errs := make([]error, len(machines))
	var playing sync.WaitGroup
	for n, p := range played {
		id := persona.Identity{MAC: dhcp.ProbeMAC(byte(n + 1)), XID: rand.Uint32(), Address: i.Addr(), Broadcast: true}
		// One after the other, so that they share port 4011 in the same way always.
		ctx, enough := context.WithCancel(ctx)
		defer enough()
		sockets, ear, err := listenAs(ctx, i, id, func(o Offer) {
			note(o)
			if o.Assigns {
				time.AfterFunc(leasedLimit, enough)
			}
		})
		if err != nil {
			errs[n] = err
			break
		}
		playing.Go(func() {
			defer sockets.Close()
			result, err := persona.Run(ctx, p, id, sockets)
			machines[n], errs[n] = weigh(p, id, result, ear.offers), err
		})
	}
	playing.Wait()
	for _, err := range errs {
		if err != nil {
			l.Err = err
			return l
		}
	}
	l.Machines = machines
	slices.SortStableFunc(l.Offers, func(a, b Offer) int { return a.Server.Compare(b.Server) })
	return l
}

// listenAs opens the sockets of a machine.
func listenAs(ctx context.Context, i setup.Interface, id persona.Identity, note func(Offer)) (persona.Sockets, *ear, error) {
	sockets, err := persona.Listen(ctx, i.Name)
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

// weigh finds out what a machine would do with the same offers in other orders: which
// of two servers is faster is chance, and what chance decides is to be known.
func weigh(p persona.Persona, id persona.Identity, result persona.Result, heard []persona.Packet) Machine {
	m := Machine{Result: result}
	byServer := make(map[netip.Addr][]persona.Packet)
	var leases []persona.Packet
	assigns := make(map[netip.Addr]bool)
	for _, packet := range heard {
		o, ok := parseOffer(packet.Data, id)
		if !ok {
			continue
		}
		if !slices.ContainsFunc(byServer[o.Server], func(q persona.Packet) bool { return slices.Equal(q.Data, packet.Data) }) {
			byServer[o.Server] = append(byServer[o.Server], packet)
			if o.Assigns {
				leases = append(leases, packet)
				assigns[o.Server] = true
			}
		}
	}
	var servers []netip.Addr
	for s := range byServer {
		servers = append(servers, s)
	}
	slices.SortFunc(servers, netip.Addr.Compare)
	for n := range servers {
		order := append(slices.Clone(servers[n:]), servers[:n]...)
		for range 2 {
			var offers []persona.Packet
			for _, s := range order {
				offers = append(offers, byServer[s]...)
			}
			m.Choices = append(m.Choices, p.Choose(id, offers...))
			slices.Reverse(order)
		}
	}
	for _, s := range servers {
		var offers []persona.Packet
		if !assigns[s] {
			offers = append(offers, leases...)
		}
		m.Alone = append(m.Alone, Alone{Server: s, Choice: p.Choose(id, append(offers, byServer[s]...)...)})
	}
	return m
}

// parseOffer reads an OFFER for a machine, in its transaction.
func parseOffer(b []byte, id persona.Identity) (Offer, bool) {
	p, err := dhcpv4.FromBytes(b)
	if err != nil || p.OpCode != dhcpv4.OpcodeBootReply || p.MessageType() != dhcpv4.MessageTypeOffer ||
		!slices.Equal(p.ClientHWAddr, id.MAC[:]) || binary.BigEndian.Uint32(p.TransactionID[:]) != id.XID {
		return Offer{}, false
	}
	server, ok := netip.AddrFromSlice(p.ServerIdentifier().To4())
	if !ok {
		server, ok = netip.AddrFromSlice(p.ServerIPAddr.To4())
	}
	o := Offer{Server: server, Class: p.ClassIdentifier(), File: p.BootFileNameOption()}
	if o.File == "" {
		o.File = p.BootFileName
	}
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
