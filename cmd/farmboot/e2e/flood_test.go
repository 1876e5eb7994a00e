//go:build e2e

package e2e_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"

	"farmboot/dhcp/fakeclient"
	"farmboot/setup/lab"
)

// siege is an attacker on the LAN, and who looks what comes of it.
type siege struct {
	t         *testing.T
	ctx       context.Context // the test's, and the flood's: it is over before the clean-up
	appliance *appliance
	host      *lab.Host // the attacker's, with as many addresses as it takes
	watcher   *lab.Host
	running   sync.WaitGroup
}

func newSiege(t *testing.T, a *appliance) *siege {
	t.Helper()
	s := &siege{t: t, ctx: t.Context(), appliance: a}
	var err error
	if s.host, err = a.lan.Join(0); err == nil {
		s.watcher, err = a.lan.Join(0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.running.Wait)
	return s
}

// addresses gives the attacker so many addresses.
func (s *siege) addresses(n int) (list []netip.Addr) {
	s.t.Helper()
	var commands []string
	for i := range n {
		a := netip.AddrFrom4([4]byte{10, 77, 200, byte(1 + i)})
		list = append(list, a)
		commands = append(commands, fmt.Sprintf("addr add %s/32 dev %s", a, lab.Interface))
	}
	if err := s.host.IP(commands...); err != nil {
		s.t.Fatal(err)
	}
	return list
}

// counts sums what the appliance counts, as it tells the watcher: lines of /metrics whose
// name and labels match.
func (s *siege) counts(pattern string) (sum float64) {
	s.t.Helper()
	body := s.appliance.get(s.t, s.watcher, "/metrics")
	defer body.Close()
	text, err := io.ReadAll(body)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^`+pattern+` (\S+)$`).FindAllStringSubmatch(string(text), -1) {
		n, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			s.t.Fatal(err)
		}
		sum += n
	}
	return sum
}

// lost returns how many UDP packets the appliance's host had no room for.
func (a *appliance) lost(t *testing.T) (n string) {
	t.Helper()
	if err := a.host.Do(func() error {
		text, err := os.ReadFile("/proc/thread-self/net/snmp")
		if err != nil {
			return err
		}
		m := regexp.MustCompile(`\nUdp: \d+ \d+ \d+ \d+ (\d+) `).FindSubmatch(text)
		if m == nil {
			return fmt.Errorf("no RcvbufErrors in\n%s", text)
		}
		n = string(m[1])
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

// memory returns how much memory the daemon has held at most, in MiB.
func (a *appliance) memory(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile(filepath.Join("/proc", fmt.Sprint(a.daemon.PID()), "status"))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`VmHWM:\s*(\d+) kB`).FindSubmatch(status)
	if m == nil {
		t.Fatalf("no VmHWM in\n%s", status)
	}
	kib, err := strconv.Atoi(string(m[1]))
	if err != nil {
		t.Fatal(err)
	}
	return kib >> 10
}

// often calls f, with ever higher numbers, so many times a second, until the flood ends.
func (s *siege) often(perSecond int, f func(n uint32)) {
	const ticks = 100 // a second
	s.running.Go(func() {
		tick := time.NewTicker(time.Second / ticks)
		defer tick.Stop()
		for n := uint32(1); ; {
			select {
			case <-s.ctx.Done():
				return
			case <-tick.C:
			}
			for range perSecond / ticks {
				f(n)
				n++
			}
		}
	})
}

// socket opens a UDP socket of the attacker's. What it receives goes to take.
func (s *siege) socket(at netip.AddrPort, take func(conn *net.UDPConn, packet []byte, from netip.AddrPort)) *net.UDPConn {
	s.t.Helper()
	var conn *net.UDPConn
	if err := s.host.Do(func() (err error) {
		conn, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(at))
		return err
	}); err != nil {
		s.t.Fatal(err)
	}
	context.AfterFunc(s.ctx, func() { conn.Close() })
	s.running.Go(func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(buf)
			switch {
			case err == nil && take != nil:
				take(conn, buf[:n], from)
			case err != nil && s.ctx.Err() != nil:
				return
			}
		}
	})
	return conn
}

// dhcp sends requests of strangers: DISCOVERs of UEFI firmware, with a MAC address and a
// transaction of their own. change makes others of them, and says where they go.
func (s *siege) dhcp(perSecond int, from uint16, change func(b []byte, n uint32) netip.AddrPort) {
	s.t.Helper()
	_, step := fakeclient.UEFI().Start(fakeclient.Identity{MAC: [6]byte{2, 0xff}})
	packet := step.Send[0].Data
	conn := s.socket(netip.AddrPortFrom(netip.IPv4Unspecified(), from), nil)
	s.often(perSecond, func(n uint32) {
		binary.BigEndian.PutUint32(packet[4:], n)
		binary.BigEndian.PutUint32(packet[30:], n)
		to := change(packet, n)
		_, _ = conn.WriteToUDPAddrPort(packet, to) // the attacker's queue may be full
	})
}

// port is one of the appliance.
func (s *siege) port(n uint16) netip.AddrPort { return netip.AddrPortFrom(s.appliance.host.Addr(), n) }

// discover sends DISCOVERs of so many MAC addresses; 0: of ever new ones. Most go to the
// appliance alone: a switch carries broadcasts to all, and what those cost machines, here
// they would take from the processors that play them.
func (s *siege) discover(macs uint32) {
	const broadcasts = 60 // one in so many
	s.dhcp(12_000, 68, func(b []byte, n uint32) netip.AddrPort {
		if macs > 0 {
			binary.BigEndian.PutUint32(b[30:], n%macs)
		}
		if n%broadcasts == 0 {
			return netip.MustParseAddrPort("255.255.255.255:67")
		}
		return s.port(67)
	})
}

// relayed sends DISCOVERs by relay agents that there are not.
func (s *siege) relayed() {
	s.dhcp(12_000, 67, func(b []byte, n uint32) netip.AddrPort {
		b[3] = 1 // hops
		copy(b[24:], []byte{172, 16, byte(n >> 8), byte(n)})
		return s.port(67)
	})
}

// bootServer sends REQUESTs to port 4011.
func (s *siege) bootServer() {
	s.dhcp(12_000, 4011, func(b []byte, _ uint32) netip.AddrPort {
		b[242] = 3 // option 53 is the first one
		copy(b[12:], s.host.Addr().AsSlice())
		return s.port(4011)
	})
}

// request is a TFTP request for the boot program that is the repeat of no other, and wants
// to be waited for.
func request(n uint32) []byte {
	return fmt.Appendf(nil, "\x00\x01ipxe.efi\x00octet\x00timeout\x00255\x00n\x00%d\x00", n)
}

// tftp sends requests from five addresses, and acknowledges the first packet if so told.
func (s *siege) tftp(perSecond int, acknowledge bool) {
	s.t.Helper()
	var conns []*net.UDPConn
	for _, a := range s.addresses(5) {
		conns = append(conns, s.socket(netip.AddrPortFrom(a, 0), func(conn *net.UDPConn, packet []byte, from netip.AddrPort) {
			if acknowledge && len(packet) > 1 && packet[1] == 6 { // OACK
				_, _ = conn.WriteToUDPAddrPort([]byte{0, 4, 0, 0}, from)
			}
		}))
	}
	s.often(perSecond, func(n uint32) {
		_, _ = conns[int(n)%len(conns)].WriteToUDPAddrPort(request(n), s.port(69))
	})
}

// forgedTFTP sends requests, each from an address that nobody has.
func (s *siege) forgedTFTP(perSecond int) {
	s.t.Helper()
	raw := -1
	if err := s.host.Do(func() (err error) {
		raw, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
		return err
	}); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		s.running.Wait() // nobody uses it
		if err := unix.Close(raw); err != nil {
			s.t.Error(err)
		}
	})
	to := s.appliance.host.Addr().As4()
	s.often(perSecond, func(n uint32) {
		_ = unix.Sendto(raw, forge(n, to, request(n)), 0, &unix.SockaddrInet4{Addr: to})
	})
}

// forge makes an IPv4 packet (RFC 791, RFC 768) with a UDP datagram for port 69; the kernel
// fills in the lengths and sums that it has. Its source is one of 198.18.0.0/15.
func forge(n uint32, to [4]byte, payload []byte) []byte {
	b := make([]byte, 28, 28+len(payload))
	b[0], b[8], b[9] = 0x45, 64, unix.IPPROTO_UDP
	binary.BigEndian.PutUint16(b[2:], uint16(28+len(payload)))
	copy(b[12:], []byte{198, 18 + byte(n>>16&1), byte(n >> 8), byte(n)})
	copy(b[16:], to[:])
	binary.BigEndian.PutUint16(b[20:], uint16(1024+n%60_000))
	binary.BigEndian.PutUint16(b[22:], 69)
	binary.BigEndian.PutUint16(b[24:], uint16(8+len(payload)))
	return append(b, payload...)
}

// hold keeps so many connections open from each address, and writes to each what text says;
// one that is closed is opened anew. It returns how many are open at the moment, and how
// many have been answered.
func (s *siege) hold(hosts, perHost int, port uint16, text string) (open, answered func() float64) {
	s.t.Helper()
	const perSecond = 1000
	var now, begun atomic.Int64
	pace := rate.NewLimiter(perSecond, 10)
	for _, from := range s.addresses(hosts) {
		for range perHost {
			s.running.Go(func() {
				for pace.Wait(s.ctx) == nil {
					if conn, err := s.connect(from, s.port(port)); err == nil {
						now.Add(1)
						s.stay(conn, text, &begun)
						now.Add(-1)
					}
				}
			})
		}
	}
	count := func(n *atomic.Int64) func() float64 { return func() float64 { return float64(n.Load()) } }
	return count(&now), count(&begun)
}

// connect begins to connect from an address of the attacker's. It waits for nothing: a
// namespace has but one thread.
func (s *siege) connect(from netip.Addr, to netip.AddrPort) (net.Conn, error) {
	var file *os.File
	if err := s.host.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		file = os.NewFile(uintptr(fd), "connection")
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: from.As4()}); err != nil {
			return err
		}
		if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())}); !errors.Is(err, unix.EINPROGRESS) {
			return err
		}
		return nil
	}); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	conn, err := net.FileConn(file) // has a copy
	return conn, errors.Join(err, file.Close())
}

// stay writes to a connection, and has it until the other end closes it or the flood ends.
// Of a download it reads no more than the beginning.
func (s *siege) stay(conn net.Conn, text string, begun *atomic.Int64) {
	stop := context.AfterFunc(s.ctx, func() { conn.Close() })
	defer stop()
	defer conn.Close()
	if _, err := io.WriteString(conn, text); err != nil {
		return
	}
	if text != download {
		_, _ = io.Copy(io.Discard, conn)
		return
	}
	if _, err := io.ReadFull(conn, make([]byte, len("HTTP/1.1 200 OK"))); err != nil {
		return
	}
	begun.Add(1)
	<-s.ctx.Done()
}

const (
	halfHeader    = "GET /provision/5254000000b1 HTTP/1.1\r\nHo"
	halfBody      = "POST /provision/5254000000b1 HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\ntoken="
	halfHandshake = "\x16\x03\x01\x02\x00\x01\x00" // a TLS record, the start of a ClientHello
	// download asks for a kernel, which nobody reads.
	download = "GET /kernel/net/prod.efi HTTP/1.1\r\nHost: x\r\nUser-Agent: curl/8\r\n\r\n"
)

// files are what the appliance may open, and full are almost all the connections that one of
// its servers takes then: a sixth.
const (
	files = 20_000
	full  = 0.9 * files / 6
)

// floods are those of the field that can be made from the LAN.
var floods = []flood{
	{name: "DISCOVERs of random MAC addresses", effect: "DISCOVERs were not answered", enough: 10_000, begin: func(s *siege) func() float64 {
		s.discover(0)
		return s.unanswered("proxydhcp")
	}},
	{name: "DISCOVERs of the same MAC addresses again and again", effect: "DISCOVERs have come in", enough: 200_000, begin: func(s *siege) func() float64 {
		s.discover(10_000)
		return func() float64 { return s.counts(`farmboot_dhcp_packets_total\{result="\w+",service="proxydhcp"\}`) }
	}},
	{name: "DISCOVERs by relay agents", effect: "DISCOVERs were not answered", enough: 10_000, begin: func(s *siege) func() float64 {
		s.relayed()
		return s.unanswered("proxydhcp")
	}},
	{name: "REQUESTs to port 4011", tftp: true, effect: "REQUESTs were not answered", enough: 10_000, begin: func(s *siege) func() float64 {
		s.bootServer()
		return s.unanswered("bootserver")
	}},
	{name: "TFTP requests never acknowledged", tftp: true, effect: "transfers had to go, or were refused", enough: 1000, begin: func(s *siege) func() float64 {
		s.tftp(1000, false)
		return s.displaced
	}},
	{name: "TFTP requests acknowledged once", tftp: true, effect: "transfers had to go, or were refused", enough: 1000, begin: func(s *siege) func() float64 {
		s.tftp(1000, true)
		return s.displaced
	}},
	{name: "TFTP requests of forged addresses", tftp: true, effect: "transfers had to go, or were refused", enough: 1000, begin: func(s *siege) func() float64 {
		s.forgedTFTP(1000)
		return s.displaced
	}},
	{name: "unfinished HTTP requests of three hosts", effect: "connections are open", enough: full, full: true, stays: true, begin: func(s *siege) func() float64 {
		open, _ := s.hold(3, 1660, 80, halfHeader)
		return open
	}},
	{name: "unfinished HTTP requests of 200 hosts", effect: "connections are open", enough: full, full: true, stays: true, begin: func(s *siege) func() float64 {
		open, _ := s.hold(200, 40, 80, halfHeader)
		return open
	}},
	{name: "HTTP requests without the end of their bodies", effect: "connections are open", enough: full, full: true, stays: true, begin: func(s *siege) func() float64 {
		open, _ := s.hold(200, 40, 80, halfBody)
		return open
	}},
	{name: "unfinished TLS handshakes", effect: "connections are open", enough: full, full: true, stays: true, begin: func(s *siege) func() float64 {
		open, _ := s.hold(200, 40, 443, halfHandshake)
		return open
	}},
	{name: "downloads that nobody reads", effect: "downloads have begun", enough: 1000, stays: true, begin: func(s *siege) func() float64 {
		_, begun := s.hold(2, 500, 80, download)
		return begun
	}},
}

// flood is an attack.
type flood struct {
	name  string
	tftp  bool // machines fetch their boot programs by TFTP
	begin func(s *siege) (measure func() float64)

	effect string  // what is measured
	enough float64 // of it, before machines boot
	stays  bool    // there is as much of it at the end; else there is more and more
	full   bool    // there are as many connections as there may be
}

func (s *siege) unanswered(service string) func() float64 {
	return func() float64 {
		return s.counts(`farmboot_dhcp_packets_total\{result="flood",service="` + service + `"\}`)
	}
}

func (s *siege) displaced() float64 {
	return s.counts(`farmboot_tftp_requests_total\{result="(?:busy|displaced|silent)"\}`)
}
