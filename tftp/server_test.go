package tftp_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	pin "github.com/pin/tftp/v3"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"farmboot/provisioning"
	"farmboot/tftp"
)

func TestServer_WithPinsClient(t *testing.T) {
	r := start(t)
	for _, blockSize := range []int{0, 512, 1024, 1428, 8192} {
		for name, want := range files() {
			c, err := pin.NewClient(r.address.String())
			if err != nil {
				t.Fatal(err)
			}
			c.RequestTSize(true)
			if blockSize > 0 {
				c.SetBlockSize(blockSize)
			}
			w, err := c.Receive(name, "octet")
			if err != nil {
				t.Fatalf("%s in blocks of %d: %v", name, blockSize, err)
			}
			if n, ok := w.(pin.IncomingTransfer).Size(); !ok || n != int64(len(want)) {
				t.Errorf("%s: tsize %d, %v, want %d", name, n, ok, len(want))
			}
			var got bytes.Buffer
			if _, err := w.WriteTo(&got); err != nil {
				t.Fatalf("%s in blocks of %d: %v", name, blockSize, err)
			}
			if !bytes.Equal(got.Bytes(), want) {
				t.Errorf("%s in blocks of %d: %d bytes differ from the %d wanted", name, blockSize, got.Len(), len(want))
			}
		}
	}
}

func TestRule_OAckKeepsTheClientsOrder(t *testing.T) {
	r := start(t)
	values := map[string][2]string{"tsize": {"0", "513"}, "blksize": {"1428", "1428"}, "timeout": {"3", "3"}, "windowsize": {"4", "4"}}
	for _, order := range []string{
		"tsize blksize timeout windowsize", "windowsize timeout blksize tsize", "blksize tsize",
		"tsize blksize", "timeout tsize windowsize blksize", "blksize windowsize tsize timeout",
	} {
		var ask []string
		want := "\x00\x06"
		for name := range strings.FieldsSeq(order) {
			ask = append(ask, name, values[name][0])
			want += name + "\x00" + values[name][1] + "\x00"
		}
		for range 3 {
			c := newClient(t, r.address)
			c.ask("more", ask...)
			c.want(want)
		}
	}
}

func TestRule_BlockSizeIsClamped(t *testing.T) {
	r := start(t)
	for asked, want := range map[string]string{
		"512": "512", "1428": "1428", "1429": "1428", "1468": "1428", "65464": "1428", "65465": "1428", "8": "8",
	} {
		c := newClient(t, r.address)
		c.ask("ipxe.efi", "blksize", asked)
		c.want("\x00\x06blksize\x00" + want + "\x00")
		c.ack(0)
		if got := c.wantBlock(1); fmt.Sprint(len(got)) != want {
			t.Errorf("blksize %s: block of %d bytes", asked, len(got))
		}
	}
}

func TestRule_OptionsWeDoNotKnowAreLeftOut(t *testing.T) {
	r := start(t)
	c := newClient(t, r.address)
	c.ask("more", "multicast", "", "TSIZE", "0", "blksize", "7", "timeout", "256", "windowsize", "0", "rollover", "0", "tsize", "0")
	c.want("\x00\x06tsize\x00513\x00")
	for _, bad := range [][]string{{"blksize", "7"}, {"blksize", "-1"}, {"blksize", "x"}, {"timeout", "0"}, {"tsize", "-5"}, {"blksize"}} {
		c := newClient(t, r.address)
		c.ask("more", bad...)
		if got := c.wantBlock(1); len(got) != 512 {
			t.Errorf("%q: %d bytes, want a plain RFC 1350 transfer", bad, len(got))
		}
	}
}

func TestRule_TSizeProbeAndAbortIsNoError(t *testing.T) {
	r := start(t)
	c := newClient(t, r.address)
	c.ask("ipxe.efi", "tsize", "0", "blksize", "1428")
	c.want("\x00\x06tsize\x00600001\x00blksize\x001428\x00")
	c.write([]byte("\x00\x05\x00\x08User aborted the transfer\x00"), c.transfer)
	gone := newClient(t, r.address)
	gone.ask("ipxe.efi", "tsize", "0")
	gone.receive()
	gone.conn.Close() // other firmware just closes its port
	r.stop()
	if len(r.events) != 0 || r.log.Len() != 0 {
		t.Errorf("events %v, log %s", r.events, r.log)
	}
	wantRequests(t, r, "aborted 2")
}

func TestRule_NamesComeInManyForms(t *testing.T) {
	r := start(t)
	for _, name := range []string{"one", "/one", "\\one", "//one", "boot/one", "/boot/one", "\\boot\\one", "/boot//one", "one\xff", "/one\xff\xff"} {
		c := newClient(t, r.address)
		c.ask(name)
		if got := c.wantBlock(1); len(got) != 1 {
			t.Errorf("%q: %d bytes", name, len(got))
		}
	}
	for _, name := range []string{"ONE", "two", "../one", "boot/../one", "one/", "/etc/passwd", "..\\one", "o\x01ne", "\xff", strings.Repeat("a", 300)} {
		c := newClient(t, r.address)
		c.ask(name)
		c.want(notFound)
	}
}

func TestRule_ErrorsTellNothing(t *testing.T) {
	r := start(t)
	for _, name := range []string{"secret", "panic", "unknown"} {
		c := newClient(t, r.address)
		c.ask(name)
		c.want(notFound)
	}
	c := newClient(t, r.address)
	c.write([]byte("\x00\x02ipxe.efi\x00octet\x00"), r.address)
	c.want(notFound)
	// And after all that it still serves.
	c = newClient(t, r.address)
	c.ask("one")
	c.wantBlock(1)
	c.ack(1)
	r.stop()
	wantRequests(t, r, "completed 1", "error 1", "not_found 1", "panic 1", "write 1")
	for _, s := range []string{"permission denied", "on fire"} {
		if !strings.Contains(r.log.String(), s) {
			t.Errorf("the log does not say %q: %s", s, r.log)
		}
	}
}

// wantRequests compares the counters of requests, as "result count".
func wantRequests(t *testing.T, r *running, counts ...string) {
	t.Helper()
	text := "# HELP farmboot_tftp_requests_total TFTP requests, by what became of them.\n# TYPE farmboot_tftp_requests_total counter\n"
	for _, c := range counts {
		result, n, _ := strings.Cut(c, " ")
		text += fmt.Sprintf("farmboot_tftp_requests_total{result=%q} %s\n", result, n)
	}
	if err := testutil.GatherAndCompare(r.registry, strings.NewReader(text), "farmboot_tftp_requests_total"); err != nil {
		t.Error(err)
	}
}

// TestServer_ProbesAreNoEvents: shim asks for files that need not be there, at each boot.
func TestServer_ProbesAreNoEvents(t *testing.T) {
	r := start(t)
	c := newClient(t, r.address)
	c.ask("revocations.efi", "blksize", "512", "windowsize", "4")
	c.want(notFound)
	r.stop()
	wantRequests(t, r, "not_found 1")
	if len(r.events) != 0 || r.log.Len() != 0 {
		t.Errorf("events %v, log %s", r.events, r.log)
	}
}

func TestServer_EventsTellWhatWentOut(t *testing.T) {
	r := start(t)
	c := newClient(t, r.address)
	c.ask("/blocks", "blksize", "1428")
	c.receive()
	for block := range uint16(5) {
		c.ack(block)
		if block < 4 {
			c.wantBlock(block + 1)
		}
	}
	other := newClient(t, r.address)
	other.ask("pxelinux.0")
	other.receive()
	r.stop()
	peer := netip.MustParseAddr("127.0.0.1")
	want := []provisioning.Event{
		{Stage: provisioning.StageNBP, Peer: peer, File: "blocks", Via: "TFTP", Bytes: 3 * 1428, Size: 3 * 1428},
		{Stage: provisioning.StageRefused, Peer: peer, Cause: provisioning.Cause{ID: provisioning.CauseFileUnknown, File: "pxelinux.0", Server: "TFTP"}},
	}
	for i := range r.events {
		if r.events[i].At.IsZero() {
			t.Error("event without a time")
		}
		r.events[i].At, r.events[i].Duration = time.Time{}, 0
	}
	if len(r.events) == 2 && r.events[0].Stage != provisioning.StageNBP {
		r.events[0], r.events[1] = r.events[1], r.events[0]
	}
	if diff := cmp.Diff(want, r.events, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
}

func TestServer_AutoexecIsJustAName(t *testing.T) {
	r := startOn(t, "127.0.0.7")
	c := newClient(t, r.address)
	c.ask("autoexec.ipxe")
	if got := c.wantBlock(1); string(got) != "#!ipxe\n# 127.0.0.7 to 127.0.0.1\n" {
		t.Errorf("got %q", got)
	}
	if c.transfer.Addr() != r.address.Addr() {
		t.Errorf("transfer comes from %s, the request went to %s", c.transfer, r.address)
	}
	if c.transfer.Port() == r.address.Port() {
		t.Error("transfer has no port of its own (RFC 1350 section 4)")
	}
}

func TestServer_NetASCII(t *testing.T) {
	r := start(t)
	c := newClient(t, r.address)
	c.write([]byte("\x00\x01autoexec.ipxe\x00NetASCII\x00tsize\x000\x00"), r.address)
	const want = "#!ipxe\r\n# 127.0.0.1 to 127.0.0.1\r\n"
	c.want(fmt.Sprintf("\x00\x06tsize\x00%d\x00", len(want)))
	c.ack(0)
	if got := c.wantBlock(1); string(got) != want {
		t.Errorf("got %q", got)
	}
}

func TestTransfer_LostPacketsAreSentAgain(t *testing.T) {
	r := start(t)
	c := newClient(t, r.address)
	c.ask("more", "blksize", "512")
	c.receive() // the OACK is "lost"
	c.receive() // and comes again
	c.ack(0)
	c.wantBlock(1)
	c.wantBlock(1) // again, for nobody acknowledged it
	c.ack(1)
	if got := c.wantBlock(2); len(got) != 1 {
		t.Errorf("last block has %d bytes", len(got))
	}
	c.ack(2)
	r.stop()
	wantRequests(t, r, "completed 1")
}

// TestTransfer_ManyAndFew: packets that are lost are sent again and transfers go on when many
// are under way, which are waited for in another way, and when few are left, and again.
func TestTransfer_ManyAndFew(t *testing.T) {
	r := start(t)
	const oack = "\x00\x06timeout\x001\x00"
	await := func(c *client, begin string) { // whatever is sent again before
		for !strings.HasPrefix(string(c.receive()), begin) {
		}
	}
	for round := range 2 {
		many := make([]*client, 12)
		for i := range many {
			many[i] = newClient(t, r.address)
			many[i].ask("more", "timeout", "1")
			many[i].want(oack)
		}
		for _, c := range many {
			c.want(oack) // again, for it was not acknowledged
		}
		for _, c := range many {
			c.ack(0)
			await(c, "\x00\x03\x00\x01")
			c.ack(1)
			await(c, "\x00\x03\x00\x02")
			c.ack(2)
		}
		for i := range many {
			select {
			case <-r.recorded:
			case <-time.After(limit):
				t.Fatalf("round %d: %d of %d transfers have ended", round, i, len(many))
			}
		}
	}
}

func TestTransfer_LastAckIsLost(t *testing.T) {
	r := start(t)
	c := newClient(t, r.address)
	c.ask("more")
	c.wantBlock(1)
	c.ack(1)
	c.wantBlock(2)
	c.conn.Close() // it has everything
	select {
	case <-r.recorded:
	case <-time.After(limit):
		t.Fatal("nothing is reported")
	}
	r.stop()
	if e := r.events[0]; e.Stage != provisioning.StageNBP || e.Bytes != e.Size {
		t.Errorf("got %+v", e)
	}
	wantRequests(t, r, "completed 1")
}

func TestTransfer_DuplicateAcksAreNotAnswered(t *testing.T) {
	r := start(t)
	c := newClient(t, r.address)
	c.ask("ipxe.efi")
	c.wantBlock(1)
	for range 5 {
		c.ack(1) // five times: the sorcerer's apprentice (RFC 1123 section 4.2.3.1)
	}
	c.wantBlock(2)
	c.ack(2)
	c.wantBlock(3) // not block 2 again
	c.ack(65000)   // nonsense
	c.ack(3)
	c.wantBlock(4)
}

func TestTransfer_OthersCannotMeddle(t *testing.T) {
	r := start(t)
	c := newClient(t, r.address)
	c.ask("ipxe.efi")
	c.wantBlock(1)
	stranger := newClient(t, r.address)
	stranger.transfer = c.transfer
	stranger.ack(1)
	stranger.write([]byte("\x00\x05\x00\x00stop\x00"), c.transfer)
	c.write([]byte{0}, c.transfer) // and garbage of the client's own is skipped
	c.write([]byte{0, 9, 0, 0}, c.transfer)
	c.ack(1)
	c.wantBlock(2)
}

func TestTransfer_Window(t *testing.T) {
	r := start(t)
	c := newClient(t, r.address)
	c.ask("ipxe.efi", "windowsize", "4", "blksize", "1428")
	c.want("\x00\x06windowsize\x004\x00blksize\x001428\x00")
	c.ack(0)
	window := func(first uint16) {
		t.Helper()
		for i := range uint16(4) {
			c.wantBlock(first + i)
		}
	}
	window(1)
	c.ack(4)
	window(5)
	c.ack(6) // 7 is lost: RFC 7440 section 4, go on from there
	window(7)
	c.ack(6) // 7 is lost again, the first of its window
	window(7)
	c.ack(6) // a late duplicate must not start yet another round…
	c.ack(10)
	window(11) // …so this comes next
}

func TestTransfer_WindowIsClamped(t *testing.T) {
	r := start(t)
	c := newClient(t, r.address)
	c.ask("ipxe.efi", "windowsize", "64")
	c.want("\x00\x06windowsize\x0016\x00")
}

func TestTransfer_BlockNumbersWrapAround(t *testing.T) {
	r := start(t)
	want := files()["ipxe.efi"] // 75,001 blocks of 8 bytes
	c := newClient(t, r.address)
	c.ask("ipxe.efi", "blksize", "8", "windowsize", "16")
	c.receive()
	c.ack(0)
	var got []byte
	for block := 1; ; block++ {
		data := c.wantBlock(uint16(block))
		got = append(got, data...)
		if block%16 == 0 || len(data) < 8 {
			c.ack(uint16(block))
		}
		if len(data) < 8 {
			break
		}
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes differ from the %d wanted", len(got), len(want))
	}
}

func TestServer_RepeatedRequestsAreOneTransfer(t *testing.T) {
	r := start(t)
	c := newClient(t, r.address)
	for range 5 {
		c.ask("ipxe.efi", "timeout", "255")
	}
	c.want("\x00\x06timeout\x00255\x00")
	c.ack(0)
	c.wantBlock(1) // and not another OACK
	c.ack(1)
	c.wantBlock(2)
	r.stop()
	wantRequests(t, r, "duplicate 4", "stopped 1")
}

// TestServer_TheSamePortAsksAnew: firmware asks for the size, breaks off, and asks for
// the file from the same port; and a ROM that starts anew asks the same once more.
func TestServer_TheSamePortAsksAnew(t *testing.T) {
	var late atomic.Bool
	r := start(t, func(s *tftp.Server) {
		s.Now = func() time.Time {
			if late.Load() {
				return time.Now().Add(time.Minute)
			}
			return time.Now()
		}
	})
	c := newClient(t, r.address)
	c.ask("more", "tsize", "0")
	c.want("\x00\x06tsize\x00513\x00")
	first := c.transfer
	c.ask("more", "blksize", "1428") // before the server knows that the other is over
	c.want("\x00\x06blksize\x001428\x00")
	c.write([]byte("\x00\x05\x00\x08no\x00"), first)
	c.ack(0)
	c.wantBlock(1)
	late.Store(true)
	c.ask("more", "blksize", "1428")
	c.want("\x00\x06blksize\x001428\x00")
	c.ack(0)
	c.wantBlock(1)
	c.ack(1)
	r.stop()
	wantRequests(t, r, "aborted 1", "completed 1", "stopped 1")
}

// TestServer_StalledClientsMakeRoom, however long they ask to be waited for.
func TestServer_StalledClientsMakeRoom(t *testing.T) {
	r := start(t, func(s *tftp.Server) { s.SetStallLimit(2 * time.Second) })
	c := newClient(t, r.address)
	c.ask("ipxe.efi", "timeout", "255")
	c.receive()
	c.ack(0)
	c.wantBlock(1)
	c.ack(1)
	c.wantBlock(2)
	select {
	case <-r.recorded:
	case <-time.After(limit):
		t.Fatal("nothing is reported")
	}
	r.stop()
	wantRequests(t, r, "stalled 1")
}

// TestRule_NameMayEndInNUL of its own: the options behind it count.
func TestRule_NameMayEndInNUL(t *testing.T) {
	r := start(t)
	c := newClient(t, r.address)
	c.write([]byte("\x00\x01more\x00\x00octet\x00tsize\x000\x00blksize\x001428\x00"), r.address)
	c.want("\x00\x06tsize\x00513\x00blksize\x001428\x00")
}

func TestServer_OnePeerCannotTakeAll(t *testing.T) {
	r := start(t)
	for range 512 {
		c := newClient(t, r.address)
		c.ask("ipxe.efi", "timeout", "255")
		c.receive()
	}
	c := newClient(t, r.address) // takes the place of the oldest one
	c.ask("one")
	c.receive()
	other, err := net.DialUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 2)}, net.UDPAddrFromAddrPort(r.address))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := other.Write([]byte("\x00\x01pxelinux.0\x00octet\x00")); err != nil {
		t.Fatal(err)
	}
	// The request of another address is answered, and so is everything before it
	// counted: then the event says so.
	select {
	case <-r.recorded:
	case <-time.After(limit):
		t.Fatal("no answer to another address")
	}
	r.stop()
	wantRequests(t, r, "displaced 1", "not_found 1", "stopped 512")
}

func TestServer_StopsAlthoughClientsStall(t *testing.T) {
	r := start(t)
	c := newClient(t, r.address)
	c.ask("ipxe.efi", "timeout", "255") // would be waited for for minutes
	c.receive()
	c.ack(0)
	c.wantBlock(1)
	r.stop()
	c.want("\x00\x05\x00\x00server is stopping\x00")
	wantRequests(t, r, "stopped 1")
}

func TestServer_GarbageIsIgnored(t *testing.T) {
	r := start(t)
	c := newClient(t, r.address)
	for _, b := range []string{"", "\x00", "\x00\x01", "\x00\x01one", "\x00\x01one\x00octet", "\x00\x03\x00\x01data", "\x00\x04\x00\x00", "\x00\x05\x00\x00oh\x00", "\xff\xff"} {
		c.write([]byte(b), r.address)
	}
	c.ask("one")
	c.wantBlock(1)
	c.ack(1)
	r.stop()
	wantRequests(t, r, "completed 1", "malformed 9")
}

// TestServer_NoNameIsNoFile: a request is answered even where its name is empty.
func TestServer_NoNameIsNoFile(t *testing.T) {
	r := start(t)
	c := newClient(t, r.address)
	c.ask("")
	c.want("\x00\x05\x00\x01file not found\x00")
	r.stop()
	wantRequests(t, r, "not_found 1")
}

func TestServe_WantsAnAddress(t *testing.T) {
	s, err := tftp.NewServer(tftp.Config{Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.ListenUDP("udp4", nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(t.Context(), conn); err == nil || !strings.Contains(err.Error(), "not to an address of ours") {
		t.Errorf("got %v", err)
	}
}

func TestListen_ErrorsSayWhatToDo(t *testing.T) {
	local := netip.MustParseAddr("127.0.0.1")
	conn, err := tftp.Listen(t.Context(), local, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	port := conn.LocalAddr().(*net.UDPAddr).Port
	_, err = tftp.Listen(t.Context(), local, port)
	want := fmt.Sprintf(`port %d of 127.0.0.1 is in use: is another TFTP server (dnsmasq, tftpd-hpa?) running on this host? "ss -lunp sport = :%d" names it`, port, port)
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v", err)
	}
	if _, err = tftp.Listen(t.Context(), netip.MustParseAddr("192.0.2.1"), 0); err == nil {
		t.Error("listens on an address that is not ours")
	}
}

// BenchmarkTransfer sends a megabyte, as firmware asks for it, over loopback.
func BenchmarkTransfer(b *testing.B) {
	for _, window := range []string{"", "4", "16"} {
		b.Run("windowsize="+window, func(b *testing.B) {
			data := make([]byte, 1<<20)
			s, err := tftp.NewServer(tftp.Config{
				Resolve: func(context.Context, string, netip.Addr, netip.AddrPort) (tftp.File, error) {
					return tftp.File{Name: "ipxe.efi", Size: int64(len(data)), Data: bytes.NewReader(data)}, nil
				},
				MaxBlockSize: 1428, Record: func(provisioning.Event) {}, Log: slog.New(slog.DiscardHandler),
				Now: time.Now, Metrics: prometheus.NewRegistry(),
			})
			if err != nil {
				b.Fatal(err)
			}
			conn, err := tftp.Listen(b.Context(), netip.MustParseAddr("127.0.0.1"), 0)
			if err != nil {
				b.Fatal(err)
			}
			go func() { _ = s.Serve(b.Context(), conn) }()
			to := conn.LocalAddr().(*net.UDPAddr).AddrPort()
			request := "\x00\x01ipxe.efi\x00octet\x00blksize\x001428\x00"
			every := uint16(1)
			if window != "" {
				request += "windowsize\x00" + window + "\x00"
				_, _ = fmt.Sscan(window, &every)
			}
			buf := make([]byte, 1500)
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				client, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := client.WriteToUDPAddrPort([]byte(request), to); err != nil {
					b.Fatal(err)
				}
				for n := 1432; n == 1432 || buf[1] == 6; {
					var from netip.AddrPort
					if n, from, err = client.ReadFromUDPAddrPort(buf); err != nil {
						b.Fatal(err)
					}
					block := uint16(0)
					if buf[1] == 3 {
						block = binary.BigEndian.Uint16(buf[2:])
					}
					if block%every == 0 || n < 1432 {
						if _, err := client.WriteToUDPAddrPort(binary.BigEndian.AppendUint16([]byte{0, 4}, block), from); err != nil {
							b.Fatal(err)
						}
					}
				}
				client.Close()
			}
		})
	}
}
