package tftp_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"farmboot/provisioning"
	"farmboot/tftp"
)

// limit is how long a test waits for what must come.
const limit = time.Minute

// files are what the server of the tests has; sizes around the edges of blocks.
func files() map[string][]byte {
	m := make(map[string][]byte)
	for name, size := range map[string]int{
		"empty": 0, "one": 1, "almost": 511, "block": 512, "more": 513, "blocks": 3 * 1428, "ipxe.efi": 600_001,
	} {
		b := make([]byte, size)
		for i := range b {
			b[i] = byte(i*7 + i>>8)
		}
		m[name] = b
	}
	return m
}

// running is a server on loopback.
type running struct {
	*tftp.Server
	address  netip.AddrPort
	registry *prometheus.Registry
	log      *strings.Builder
	stop     func()        // and wait
	recorded chan struct{} // one for each event

	mu     sync.Mutex
	events []provisioning.Event
}

// start serves files, and a few names that go wrong, on 127.0.0.1.
func start(t *testing.T, prepare ...func(*tftp.Server)) *running {
	return startOn(t, "127.0.0.1", prepare...)
}

func startOn(t *testing.T, address string, prepare ...func(*tftp.Server)) *running {
	t.Helper()
	conn, err := tftp.Listen(t.Context(), netip.MustParseAddr(address), 0)
	if err != nil {
		t.Fatal(err)
	}
	return startWith(t, conn, prepare...)
}

func startWith(t *testing.T, conn *net.UDPConn, prepare ...func(*tftp.Server)) *running {
	t.Helper()
	t.Parallel() // most tests wait for time to pass
	have := files()
	r := &running{registry: prometheus.NewRegistry(), log: new(strings.Builder), recorded: make(chan struct{}, 100)}
	var err error
	r.Server, err = tftp.NewServer(tftp.Config{
		Resolve: func(_ context.Context, name string, local netip.Addr, peer netip.AddrPort) (tftp.File, error) {
			switch name {
			case "autoexec.ipxe":
				b := []byte("#!ipxe\n# " + local.String() + " to " + peer.Addr().String() + "\n")
				return tftp.File{Name: name, Size: int64(len(b)), Data: bytes.NewReader(b)}, nil
			case "secret":
				return tftp.File{}, errors.New("open /var/lib/farmboot/secret: permission denied")
			case "revocations.efi":
				return tftp.File{}, tftp.ErrProbed
			case "panic":
				panic("on fire")
			}
			b, ok := have[name]
			if !ok {
				return tftp.File{}, provisioning.Errorf(provisioning.NotFound, "no such program")
			}
			return tftp.File{Name: name, Size: int64(len(b)), Data: bytes.NewReader(b)}, nil
		},
		MaxBlockSize: 1428,
		Record: func(e provisioning.Event) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.events = append(r.events, e)
			r.recorded <- struct{}{}
		},
		Log:     slog.New(slog.NewTextHandler(r.log, nil)),
		Now:     time.Now,
		Metrics: r.registry,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range prepare {
		p(r.Server)
	}
	r.address = conn.LocalAddr().(*net.UDPAddr).AddrPort()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Serve(ctx, conn) }()
	r.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("Serve: %v", err)
			}
		case <-time.After(limit):
			t.Error("Serve does not end with its context")
		}
	})
	t.Cleanup(r.stop)
	return r
}

// client speaks TFTP by hand.
type client struct {
	t        *testing.T
	conn     *net.UDPConn
	server   netip.AddrPort
	transfer netip.AddrPort // where the server answers from
}

func newClient(t *testing.T, server netip.AddrPort) *client {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	return newClientOn(t, conn, server)
}

func newClientOn(t *testing.T, conn *net.UDPConn, server netip.AddrPort) *client {
	t.Helper()
	if err := conn.SetReadBuffer(1 << 20); err != nil {
		t.Fatal(err)
	}
	c := &client{t: t, conn: conn, server: server}
	t.Cleanup(func() {
		if c.transfer.IsValid() { // do not let the server wait for us
			_, _ = conn.WriteToUDPAddrPort([]byte("\x00\x05\x00\x00done\x00"), c.transfer)
		}
		conn.Close()
	})
	return c
}

func (c *client) write(b []byte, to netip.AddrPort) {
	c.t.Helper()
	if _, err := c.conn.WriteToUDPAddrPort(b, to); err != nil {
		c.t.Fatal(err)
	}
}

// ask sends a read request; options are names and values.
func (c *client) ask(name string, options ...string) {
	c.t.Helper()
	b := append([]byte{0, 1}, name+"\x00octet\x00"...)
	for _, o := range options {
		b = append(append(b, o...), 0)
	}
	c.write(b, c.server)
}

func (c *client) ack(block uint16) {
	c.t.Helper()
	c.write(binary.BigEndian.AppendUint16([]byte{0, 4}, block), c.transfer)
}

// receive waits for a packet.
func (c *client) receive() []byte {
	c.t.Helper()
	buf := make([]byte, 65536)
	if err := c.conn.SetReadDeadline(time.Now().Add(limit)); err != nil {
		c.t.Fatal(err)
	}
	n, from, err := c.conn.ReadFromUDPAddrPort(buf)
	if err != nil {
		c.t.Fatalf("nothing received: %v", err)
	}
	c.transfer = from
	return buf[:n]
}

// receiveWithin takes note of where a packet comes from, if there is one in time.
func (c *client) receiveWithin(d time.Duration) {
	c.t.Helper()
	if err := c.conn.SetReadDeadline(time.Now().Add(d)); err != nil {
		c.t.Fatal(err)
	}
	if _, from, err := c.conn.ReadFromUDPAddrPort(make([]byte, 1500)); err == nil {
		c.transfer = from
	}
}

// want waits for a packet that is exactly this.
func (c *client) want(packet string) {
	c.t.Helper()
	if got := c.receive(); string(got) != packet {
		c.t.Fatalf("got %.60q, want %.60q", got, packet)
	}
}

// wantBlock waits for a data packet and returns its data.
func (c *client) wantBlock(block uint16) []byte {
	c.t.Helper()
	b := c.receive()
	if len(b) < 4 || b[1] != 3 || binary.BigEndian.Uint16(b[2:]) != block {
		c.t.Fatalf("got %.40q, want block %d", b, block)
	}
	return b[4:]
}

const notFound = "\x00\x05\x00\x01file not found\x00"
