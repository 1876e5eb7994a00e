package doctor

import (
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"farmboot/dhcp/persona"
	"farmboot/provisioning"
	"farmboot/setup"
)

// hearing is how long a machine is played on a LAN: firmware collects offers for
// 4 seconds, and BIOS ROMs for 8 more.
const hearing = 15 * time.Second

// played are the machines that are played on a LAN: what most farms have. Their MAC
// addresses are locally administered and always the same, by which daemons know them.
var played = []struct {
	mac  provisioning.MAC
	play func() persona.Persona
}{
	{provisioning.MAC{0x02, 'd', 'o', 'c', 't', 1}, persona.BIOS},
	{provisioning.MAC{0x02, 'd', 'o', 'c', 't', 2}, persona.UEFI},
}

// Plays tells whether mac is a machine that a doctor plays: one to be answered like any
// other, but nobody's node, so that nothing is to be recorded of it.
func Plays(mac provisioning.MAC) bool {
	for _, p := range played {
		if p.mac == mac {
			return true
		}
	}
	return false
}

// listen plays machines on each LAN and returns what they met.
func listen(ctx context.Context, lans []setup.Interface) []LAN {
	all := make([]LAN, len(lans))
	var listening sync.WaitGroup
	for n, i := range lans {
		listening.Go(func() { all[n] = listenOn(ctx, i) })
	}
	listening.Wait()
	return all
}

func listenOn(ctx context.Context, i setup.Interface) LAN {
	ctx, cancel := context.WithTimeout(ctx, hearing)
	defer cancel()
	l := LAN{Interface: i, Results: make([]persona.Result, len(played))}
	heard := make([][]Offer, len(played))
	errs := make([]error, len(played))
	var playing sync.WaitGroup
	for n, p := range played {
		// One after the other, so that they share port 4011 in the same way always.
		sockets, err := persona.Listen(ctx, i.Name)
		if err != nil {
			errs[n] = err
			continue
		}
		tap := &tap{PacketConn: sockets.Client, mac: p.mac}
		sockets.Client = tap
		id := persona.Identity{MAC: p.mac, XID: rand.Uint32(), Address: i.Addr(), Broadcast: true}
		playing.Go(func() {
			defer sockets.Close()
			l.Results[n], errs[n] = persona.Run(ctx, p.play(), id, sockets)
			heard[n] = tap.offers
		})
	}
	playing.Wait()
	for n, err := range errs {
		if err != nil && l.Err == nil {
			l.Err = err
		}
		for _, o := range heard[n] {
			if !slices.Contains(l.Offers, o) {
				l.Offers = append(l.Offers, o)
			}
		}
	}
	if l.Err != nil {
		l.Results = nil
	}
	return l
}

// tap is a socket that notes the offers that come in for a machine.
type tap struct {
	net.PacketConn
	mac    [6]byte
	offers []Offer // of the one goroutine that reads
}

// ReadFrom reads and notes.
func (t *tap) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := t.PacketConn.ReadFrom(b)
	if err == nil {
		if o, ok := parseOffer(b[:n], t.mac); ok {
			t.offers = append(t.offers, o)
		}
	}
	return n, from, err
}

// parseOffer reads an OFFER for a machine.
func parseOffer(b []byte, mac [6]byte) (Offer, bool) {
	p, err := dhcpv4.FromBytes(b)
	if err != nil || p.OpCode != dhcpv4.OpcodeBootReply || p.MessageType() != dhcpv4.MessageTypeOffer || !slices.Equal(p.ClientHWAddr, mac[:]) {
		return Offer{}, false
	}
	server, ok := netip.AddrFromSlice(p.ServerIdentifier().To4())
	if !ok {
		server, ok = netip.AddrFromSlice(p.ServerIPAddr.To4())
	}
	file := p.BootFileNameOption()
	if file == "" {
		file = p.BootFileName
	}
	return Offer{
		Server:  server,
		Assigns: !p.YourIPAddr.IsUnspecified(),
		Class:   p.ClassIdentifier(),
		File:    file,
	}, ok
}
