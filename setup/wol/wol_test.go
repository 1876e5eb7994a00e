package wol_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"testing"
	"time"

	"farmboot/provisioning"
	"farmboot/setup/lab"
	"farmboot/setup/needs"
	"farmboot/setup/wol"
)

var macs = []provisioning.MAC{{0x52, 0x54, 0, 0, 0, 1}, {0x52, 0x54, 0, 0, 0, 2}, {0x52, 0x54, 0, 0, 0, 3}}

// newLAN makes a LAN with two hosts, and listens on the second for magic packets.
func newLAN(t *testing.T) (ours *lab.Host, heard net.PacketConn) {
	t.Helper()
	needs.Root(t)
	needs.Program(t, "dnsmasq", "dnsmasq-base")
	lan, err := lab.New(lab.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lan.Close(); err != nil {
			t.Error(err)
		}
	})
	if ours, err = lan.Join(0); err != nil {
		t.Fatal(err)
	}
	other, err := lan.Join(0)
	if err != nil {
		t.Fatal(err)
	}
	err = other.Do(func() (err error) {
		heard, err = net.ListenPacket("udp4", ":9")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = heard.Close() })
	return ours, heard
}

// hear waits until each of the machines was called.
func hear(t *testing.T, heard net.PacketConn, macs ...provisioning.MAC) {
	t.Helper()
	if err := heard.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	macs = slices.Clone(macs)
	for b := make([]byte, 200); len(macs) > 0; {
		n, _, err := heard.ReadFrom(b)
		if err != nil {
			t.Fatalf("%v were not heard: %v", macs, err)
		}
		macs = slices.DeleteFunc(macs, func(mac provisioning.MAC) bool { return bytes.Equal(b[:n], wol.Packet(mac)) })
	}
}

// TestQueue: what a daemon is asked to wake it wakes, one request after the other, and it
// refuses what would wait for too long.
func TestQueue(t *testing.T) {
	ours, heard := newLAN(t)
	gone := errors.New("no interface")
	var missing error
	q := wol.NewQueue(func() ([]string, error) { return []string{"none0", lab.Interface}, missing }, wol.Waves{Size: 20, Pause: time.Hour}, slog.New(slog.DiscardHandler))
	missing = gone
	if err := q.Add(macs[:1]); !errors.Is(err, gone) {
		t.Errorf("without an interface: %v", err)
	}
	missing = nil
	if err := errors.Join(q.Add(macs[:2]), q.Add(macs[2:])); err != nil {
		t.Fatal(err)
	}
	var full error
	for range 100 {
		full = errors.Join(full, q.Add(macs[2:]))
	}
	if provisioning.ErrorCode(full) != provisioning.Unavailable {
		t.Errorf("too many requests: %v", full)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- ours.Do(func() error { return q.Run(ctx) }) }()
	hear(t, heard, macs...)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestWake: every machine of the LAN hears the packets, in waves.
func TestWake(t *testing.T) {
	ours, heard := newLAN(t)
	var waves [][]provisioning.MAC
	err := ours.Do(func() error {
		return wol.Wake(t.Context(), lab.Interface, macs, wol.Waves{Size: 2, Pause: time.Millisecond}, func(wave []provisioning.MAC) {
			waves = append(waves, wave)
		})
	})
	if err != nil || len(waves) != 2 || len(waves[0]) != 2 || len(waves[1]) != 1 {
		t.Fatalf("waves %v, %v", waves, err)
	}
	hear(t, heard, macs...)
	err = ours.Do(func() error {
		return wol.Wake(t.Context(), "none0", macs, wol.Waves{Size: 1}, func([]provisioning.MAC) {})
	})
	if err == nil {
		t.Error("an interface that is not there gives no error")
	}
	// Whoever interrupts it in a pause stops it there.
	ctx, cancel := context.WithCancel(t.Context())
	err = ours.Do(func() error {
		return wol.Wake(ctx, lab.Interface, macs, wol.Waves{Size: 1, Pause: time.Hour}, func([]provisioning.MAC) { cancel() })
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

func TestPacket(t *testing.T) {
	p := wol.Packet(macs[0])
	if len(p) != 102 || !bytes.Equal(p[:6], bytes.Repeat([]byte{0xff}, 6)) || !bytes.Equal(p[96:], macs[0][:]) {
		t.Errorf("%x", p)
	}
}
