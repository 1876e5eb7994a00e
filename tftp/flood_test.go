package tftp_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	pin "github.com/pin/tftp/v3"

	"farmboot/setup/lab"
	"farmboot/tftp"
)

// flood sends requests from each of five addresses, as in the field: none is the repeat of another one, and each wants to be waited for for
// 255 s. What comes back is read, and acknowledged if ack says so.
func flood(t *testing.T, to netip.AddrPort, requests int, ack bool) {
	t.Helper()
	for host := range 5 {
		conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 1, byte(host+1))})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		go func() {
			buf := make([]byte, 1500)
			for {
				_, from, err := conn.ReadFromUDPAddrPort(buf)
				if errors.Is(err, net.ErrClosed) {
					return
				}
				if err == nil && ack && buf[1] == 6 {
					_, _ = conn.WriteToUDPAddrPort([]byte{0, 4, 0, 0}, from)
				}
			}
		}()
		for i := range requests {
			request := fmt.Sprintf("\x00\x01ipxe.efi\x00octet\x00timeout\x00255\x00n\x00%d\x00", i)
			if _, err := conn.WriteToUDPAddrPort([]byte(request), to); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// fetch gets a file as a node does: it asks again when nothing comes, five times.
func fetch(to netip.AddrPort, node byte, name string) ([]byte, error) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 2, node)})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	buf := make([]byte, 1500)
	for range 5 {
		if _, err := conn.WriteToUDPAddrPort([]byte("\x00\x01"+name+"\x00octet\x00blksize\x001428\x00"), to); err != nil {
			return nil, err
		}
		var data []byte
		for {
			if err := conn.SetReadDeadline(time.Now().Add(3 * time.Second)); err != nil {
				return nil, err
			}
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				break
			}
			block := uint16(0)
			if buf[1] == 3 {
				block = binary.BigEndian.Uint16(buf[2:])
				if int(block) == len(data)/1428+1 {
					data = append(data, buf[4:n]...)
				}
			}
			if _, err := conn.WriteToUDPAddrPort(binary.BigEndian.AppendUint16([]byte{0, 4}, block), from); err != nil {
				return nil, err
			}
			if buf[1] == 3 && n < 4+1428 {
				return data, nil
			}
		}
	}
	return nil, errors.New("no answer to five requests")
}

// TestFlood_NodesBoot: requests that nobody means, thousands of them, do not keep
// machines from booting (reported: TFTP was silent for
// everybody for 60 s).
func TestFlood_NodesBoot(t *testing.T) {
	for name, ack := range map[string]bool{"never acknowledged": false, "acknowledged once": true} {
		t.Run(name, func(t *testing.T) {
			r := start(t)
			flood(t, r.address, 520, ack)
			want := files()["ipxe.efi"]
			var nodes sync.WaitGroup
			for node := range 10 {
				nodes.Go(func() {
					got, err := fetch(r.address, byte(node+1), "ipxe.efi")
					if err != nil || !bytes.Equal(got, want) {
						t.Errorf("node %d: %d bytes of %d: %v", node, len(got), len(want), err)
					}
				})
			}
			flood(t, r.address, 520, ack) // and it goes on
			nodes.Wait()
		})
	}
}

// TestFlood_SilentClientsAreSoonForgotten, whatever time they ask for.
func TestFlood_SilentClientsAreSoonForgotten(t *testing.T) {
	r := start(t, func(s *tftp.Server) { s.SetSilentLimit(time.Second) })
	c := newClient(t, r.address)
	c.ask("ipxe.efi", "timeout", "255")
	c.receive()
	first := c.transfer
	for c.transfer == first { // until our place is free: then the same request is a new one
		c.ask("ipxe.efi", "timeout", "255")
		c.receiveWithin(100 * time.Millisecond)
	}
}

// newLAN makes a LAN with two hosts.
func newLAN(t *testing.T) (ours, other *lab.Host) {
	t.Helper()
	lan, err := lab.New(lab.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := lan.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, host := range []**lab.Host{&ours, &other} {
		if *host, err = lan.Join(0); err != nil {
			t.Fatal(err)
		}
	}
	return ours, other
}

// serveOn serves on a host.
func serveOn(t *testing.T, host *lab.Host, prepare ...func(*tftp.Server)) *running {
	t.Helper()
	var conn *net.UDPConn
	err := host.Do(func() (err error) {
		conn, err = tftp.Listen(t.Context(), host.Addr(), 0)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return startWith(t, conn, append(prepare, func(s *tftp.Server) { s.OpenSocketsIn(host.Do) })...)
}

// get fetches a file as pin/tftp's client does, on a host.
func get(host *lab.Host, from netip.AddrPort, name string, prepare func(*pin.Client)) ([]byte, error) {
	var got bytes.Buffer
	err := host.Do(func() error {
		c, err := pin.NewClient(from.String())
		if err != nil {
			return err
		}
		prepare(c)
		wt, err := c.Receive(name, "octet")
		if err != nil {
			return err
		}
		_, err = wt.WriteTo(&got)
		return err
	})
	return got.Bytes(), err
}

// TestFilter_DropsCountAsLost: a packet filter of this host that drops every fifth packet
// makes write fail with EPERM. That is a lost packet, not the end of a transfer.
func TestFilter_DropsCountAsLost(t *testing.T) {
	ours, other := newLAN(t)
	err := ours.Do(func() error {
		filter := exec.Command("nft", "-f", "-")
		filter.Stdin = strings.NewReader(`
table ip lossy {
	chain out {
		type filter hook output priority 0
		udp sport != 69 numgen inc mod 5 0 drop
	}
}
`)
		if out, err := filter.CombinedOutput(); err != nil {
			return fmt.Errorf("nft: %w: %s", err, out)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	r := serveOn(t, ours)
	got, err := get(other, r.address, "blocks", func(c *pin.Client) {
		c.SetTimeout(20 * time.Second) // we send again, not the client
		c.SetBlockSize(1428)
	})
	if err != nil || !bytes.Equal(got, files()["blocks"]) {
		t.Errorf("got %d bytes: %v", len(got), err)
	}
}

// TestWindow_LargerThanTheCard: where neither kernel nor card can cut a window into
// packets, here because those are larger than the interface takes, it leaves packet by
// packet.
func TestWindow_LargerThanTheCard(t *testing.T) {
	ours, other := newLAN(t)
	var log strings.Builder
	r := serveOn(t, ours, func(s *tftp.Server) {
		s.MaxBlockSize = 4000
		s.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	var conn *net.UDPConn
	err := other.Do(func() (err error) {
		conn, err = net.ListenUDP("udp4", nil)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	c := newClientOn(t, conn, r.address)
	c.ask("ipxe.efi", "blksize", "4000", "windowsize", "4")
	c.receive()
	c.ack(0)
	want := files()["ipxe.efi"]
	var got []byte
	for block := uint16(1); len(got) < len(want); block++ {
		got = append(got, c.wantBlock(block)...)
		if block%4 == 0 || len(got) == len(want) {
			c.ack(block)
		}
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes differ from the %d wanted", len(got), len(want))
	}
	r.stop()
	if strings.Count(log.String(), "windows are sent packet by packet") != 1 {
		t.Errorf("the log says:\n%s", log.String())
	}
}
