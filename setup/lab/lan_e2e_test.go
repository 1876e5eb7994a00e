//go:build e2e

package lab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"testing"
	"time"
)

// limit is far beyond what a case takes on a slow machine.
const limit = 4 * time.Minute

// TestPlainLAN proves that machines wake up and find nothing to boot on a LAN
// where nobody speaks PXE. (edk2 does not even ask for the address then.)
func TestPlainLAN(t *testing.T) {
	for _, c := range []struct {
		name     string
		isolated bool
		machine  Machine
		shows    string
		leases   int
	}{
		{"bios", false, Machine{Firmware: BIOS, NICs: []NIC{{MAC: "52:54:00:00:00:b1"}}}, `Nothing to boot|No filename or root path`, 1},
		{"bios, no gateway", true, Machine{Firmware: BIOS, NICs: []NIC{{MAC: "52:54:00:00:00:b1"}}}, `Nothing to boot|No filename or root path`, 1},
		{"uefi", false, Machine{Firmware: UEFI, NICs: []NIC{{MAC: "52:54:00:00:00:b1", NoROM: true}}}, `Start PXE over IPv4`, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			l, err := New(Options{Dir: t.ArtifactDir(), Isolated: c.isolated, Capture: true})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := l.Close(); err != nil {
					t.Error(err)
				}
			}()
			c.machine.Name = "node"
			vm, err := l.PowerOn(c.machine)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := vm.Expect(ctx, regexp.MustCompile(c.shows)); err != nil {
				t.Fatal(err)
			}
			leases, err := l.Leases()
			if err != nil {
				t.Fatal(err)
			}
			if len(leases) != c.leases || c.leases > 0 && leases[0].MAC != c.machine.NICs[0].MAC {
				t.Errorf("leases %v, want %d for the machine", leases, c.leases)
			}
			if d := l.Disturbed(); d != nil {
				t.Errorf("DHCP was disturbed: %q", d)
			}
			if err := vm.PowerOff(); err != nil {
				t.Error(err)
			}
		})
	}
}

// framesUntil counts the frames that arrive before a mark, which is sent until it does:
// so nobody waits for one that is lost.
func framesUntil(t *testing.T, mark string, from, to net.PacketConn) (frames int) {
	t.Helper()
	done := make(chan struct{})
	defer close(done)
	go func() {
		for {
			select {
			case <-done:
				return
			case <-time.After(10 * time.Millisecond):
				_, _ = from.WriteTo([]byte(mark), to.LocalAddr())
			}
		}
	}()
	for b := make([]byte, 32); ; {
		n, _, err := to.ReadFrom(b)
		if err != nil {
			t.Fatal(err)
		}
		switch string(b[:n]) {
		case mark:
			return frames
		case "frame":
			frames++
		}
	}
}

// TestLossyCable proves that a host behind a lossy cable is reachable, and that
// the cable does lose.
func TestLossyCable(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	l, err := New(Options{Dir: t.ArtifactDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}()
	const rounds, perRound = 10, 100
	from, to := listen(t, l, 0.2), listen(t, l, 0)
	stop := context.AfterFunc(ctx, func() { to.Close() })
	defer stop()
	received := 0
	for round := range rounds { // each as large as every queue on the way can hold
		for range perRound {
			if _, err := from.WriteTo([]byte("frame"), to.LocalAddr()); err != nil {
				t.Fatal(err)
			}
		}
		received += framesUntil(t, fmt.Sprintf("end of round %d", round), from, to)
	}
	const sent = rounds * perRound
	if received < sent/2 || received > sent*9/10 {
		t.Errorf("%d of %d datagrams arrived, want about four fifths", received, sent)
	}
}

// listen opens a UDP socket on a new host.
func listen(t *testing.T, l *LAN, loss float64) net.PacketConn {
	t.Helper()
	host, err := l.Join(loss)
	if err != nil {
		t.Fatal(err)
	}
	var conn net.PacketConn
	err = host.Do(func() (err error) {
		conn, err = net.ListenPacket("udp4", netip.AddrPortFrom(host.Addr(), 0).String())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}
