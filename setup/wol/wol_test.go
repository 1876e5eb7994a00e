package wol_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"farmboot/provisioning"
	"farmboot/setup/lab"
	"farmboot/setup/needs"
	"farmboot/setup/wol"
)

var macs = []provisioning.MAC{{0x52, 0x54, 0, 0, 0, 1}, {0x52, 0x54, 0, 0, 0, 2}, {0x52, 0x54, 0, 0, 0, 3}}

// TestWake: every machine of the LAN hears the packets, in waves.
func TestWake(t *testing.T) {
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
	ours, err := lan.Join(0)
	if err != nil {
		t.Fatal(err)
	}
	other, err := lan.Join(0)
	if err != nil {
		t.Fatal(err)
	}
	var heard net.PacketConn
	err = other.Do(func() (err error) {
		heard, err = net.ListenPacket("udp4", ":9")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer heard.Close()
	var waves [][]provisioning.MAC
	err = ours.Do(func() error {
		return wol.Wake(t.Context(), lab.Interface, macs, wol.Waves{Size: 2, Pause: time.Millisecond}, func(wave []provisioning.MAC) {
			waves = append(waves, wave)
		})
	})
	if err != nil || len(waves) != 2 || len(waves[0]) != 2 || len(waves[1]) != 1 {
		t.Fatalf("waves %v, %v", waves, err)
	}
	if err := heard.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	left := map[provisioning.MAC]bool{macs[0]: true, macs[1]: true, macs[2]: true}
	for b := make([]byte, 200); len(left) > 0; {
		n, _, err := heard.ReadFrom(b)
		if err != nil {
			t.Fatalf("%v were not heard: %v", left, err)
		}
		for mac := range left {
			if bytes.Equal(b[:n], wol.Packet(mac)) {
				delete(left, mac)
			}
		}
	}
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
