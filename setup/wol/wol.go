// Package wol wakes machines by Wake-on-LAN: it sends magic packets into a LAN.
//
// A magic packet is six bytes of 0xff and sixteen times the MAC address (AMD, Magic
// Packet Technology, publication 20213). It goes as a UDP broadcast to port 9
// (discard), which no program of the LAN answers. It is sent through the interface
// that is named and no other, whatever the routes say.
package wol

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"farmboot/provisioning"
	"farmboot/provisioning/pause"
)

// Packet is the magic packet that wakes mac.
func Packet(mac provisioning.MAC) []byte {
	return append(bytes.Repeat([]byte{0xff}, 6), bytes.Repeat(mac[:], 16)...)
}

// Waves says how many machines are woken at a time, and how long after that the next: a
// rack that starts all at once takes its fuse with it.
type Waves struct {
	Size  int
	Pause time.Duration
}

// repeats is how often each packet is sent: it is not acknowledged.
const repeats = 3

// Wake sends a magic packet for each of the machines into the LAN of an interface, in
// waves, and tells woken of each wave that is out. It ends when all are, or with ctx.
func Wake(ctx context.Context, iface string, macs []provisioning.MAC, waves Waves, woken func([]provisioning.MAC)) error {
	conn, err := open(ctx, iface)
	if err != nil {
		return fmt.Errorf("open a socket on %s: %w", iface, err)
	}
	defer conn.Close()
	to := net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.AddrFrom4([4]byte{255, 255, 255, 255}), 9))
	first := true
	for wave := range slices.Chunk(macs, waves.Size) {
		if !first {
			if err := pause.For(ctx, waves.Pause); err != nil {
				return err
			}
		}
		first = false
		for range repeats {
			for _, mac := range wave {
				if _, err := conn.WriteTo(Packet(mac), to); err != nil {
					return fmt.Errorf("wake %s on %s: %w", mac, iface, err)
				}
			}
		}
		woken(wave)
	}
	return nil
}

// open opens a socket that sends through one interface only.
func open(ctx context.Context, iface string) (net.PacketConn, error) {
	lc := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var bound error
		err := raw.Control(func(fd uintptr) { bound = unix.BindToDevice(int(fd), iface) })
		if err != nil {
			return err
		}
		return bound
	}}
	return lc.ListenPacket(ctx, "udp4", "0.0.0.0:0") // net sets SO_BROADCAST
}
