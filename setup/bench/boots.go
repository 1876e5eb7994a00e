package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"farmboot/dhcp/fakeclient"
	"farmboot/setup/lab"
)

// bootKind is a kind of machine that boots to its script.
type bootKind struct {
	what     string
	persona  fakeclient.Persona
	asks4011 bool // before it fetches its program
	order    tftpOrder
	waits    []time.Duration // for a reply, before it asks again
	goal     float64         // of the ratio of nodes a second
}

// benchBoots has machines boot as far as their scripts, many at once: DISCOVER, the boot
// server on port 4011 for UEFI, the program by TFTP, the script by HTTP. Beside it dnsmasq,
// and nginx with the script as a file.
func benchBoots(ctx context.Context, s *site, rep *report) error {
	script := "/provision/" + mac(1)
	ours, other, others, err := s.withOthers(ctx, []string{"undionly.kpxe", "ipxe.efi"}, script)
	if err != nil {
		return err
	}
	settle(ctx)
	for _, k := range []bootKind{
		{"BIOS", fakeclient.BIOS(), false, tftpOrder{file: "undionly.kpxe", block: 1456}, eachSecond, 1},
		{"UEFI, lock step", fakeclient.UEFI(), true, tftpOrder{file: "ipxe.efi", block: 1468}, eachSecond, 1},
		{"UEFI, windowsize 4", fakeclient.UEFI(), true, tftpOrder{file: "ipxe.efi", block: 1468, window: 4}, eachSecond, 1.5},
	} {
		m, err := compare(11,
			func() (sample, error) { return s.farmBoots(k, ours.host, script, ours.pid) },
			func() (sample, error) { return s.farmBoots(k, other.host, script, others...) })
		if err != nil {
			return fmt.Errorf("%s: %w", k.what, err)
		}
		const peer = "dnsmasq and nginx"
		what := fmt.Sprintf("%s, %d at once to their scripts: ", k.what, farm)
		rep.add(row{what: what + "nodes", unit: perSecond, ours: m[0]["nodes/s"], beside: m[1]["nodes/s"], peer: peer, goal: k.goal, ratio: true})
		rep.add(row{what: what + "CPU of one", unit: micros, ours: m[0]["CPU µs"], beside: m[1]["CPU µs"], peer: peer})
	}
	return ctx.Err()
}

// withOthers starts an appliance, and dnsmasq and nginx with the same programs and paths, of
// which it returns the process ids.
func (s *site) withOthers(ctx context.Context, programs []string, paths ...string) (ours, other server, pids []int, err error) {
	if ours, other, err = s.withDnsmasq(ctx); err != nil || s.beside != "" {
		return ours, other, []int{other.pid}, err
	}
	for _, file := range programs {
		if err := s.copyProgram(file); err != nil {
			return ours, other, nil, err
		}
	}
	for _, path := range paths {
		if err := s.mirror(path); err != nil {
			return ours, other, nil, err
		}
	}
	pid, _, err := s.nginx(ctx)
	return ours, other, []int{other.pid, pid}, err
}

// copyProgram has dnsmasq's TFTP server serve what ours does.
func (s *site) copyProgram(file string) error {
	data, err := s.tftp(s.nodes.Addr(), s.ours, tftpOrder{file: file, block: 1428})
	if err != nil {
		return err
	}
	return os.WriteFile(s.path("tftp", file), data, 0o644)
}

// rebooted numbers the machines, so that each boot is of one that has just been switched on.
var rebooted atomic.Uint32

// machines are switched on together. What servers reply comes in at one socket.
type machines struct {
	conn    *net.UDPConn
	first   uint32      // number of the first
	replies []chan byte // to each: message types
}

// switchOn returns so many machines that have just been switched on.
func (s *site) switchOn(n int) (*machines, error) {
	conn, err := s.firmware()
	if err != nil {
		return nil, err
	}
	m := &machines{conn, rebooted.Add(uint32(n)) - uint32(n), make([]chan byte, n)}
	for i := range m.replies {
		m.replies[i] = make(chan byte, 8)
	}
	go m.deliver()
	return m, nil
}

// farmBoots switches on as many machines as a farm has, and waits for the last one's script.
func (s *site) farmBoots(k bootKind, on *lab.Host, script string, pids ...int) (sample, error) {
	m, err := s.switchOn(farm)
	if err != nil {
		return nil, err
	}
	defer m.conn.Close()
	used := make([]time.Duration, len(pids))
	for i, pid := range pids {
		used[i] = cpuTime(pid)
	}
	times, errs := atOnce(farm, func(i int) error { return s.bootToScript(k, on, m, i, script) })
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	time.Sleep(time.Second) // for what a server has put off
	var cpu time.Duration
	for i, pid := range pids {
		cpu += cpuTime(pid) - used[i]
	}
	return sample{"nodes/s": farm / slices.Max(times).Seconds(), "CPU µs": inMicros(cpu) / farm}, nil
}

// atOnce boots so many machines at the same time. It returns after what time each was done,
// and why it did not boot.
func atOnce(n int, boot func(i int) error) (times []time.Duration, errs []error) {
	times, errs = make([]time.Duration, n), make([]error, n)
	var all sync.WaitGroup
	begin := time.Now()
	for i := range n {
		all.Go(func() {
			errs[i] = boot(i)
			times[i] = time.Since(begin)
		})
	}
	all.Wait()
	return times, errs
}

// deliver hands replies to the machines that they are for, until the socket is closed.
func (m *machines) deliver() {
	buf := make([]byte, 1500)
	for {
		n, _, err := m.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		// RFC 2131 section 2: both servers put the message type first.
		if n < 243 || buf[0] != 2 || buf[240] != 53 {
			continue
		}
		if i := binary.BigEndian.Uint32(buf[4:]) - firstXID - m.first; i < uint32(len(m.replies)) {
			select {
			case m.replies[i] <- buf[242]:
			default: // a repeat
			}
		}
	}
}

// bootToScript boots one machine.
func (s *site) bootToScript(k bootKind, on *lab.Host, m *machines, i int, script string) error {
	if err := s.bootToProgram(k, on, m, i); err != nil {
		return err
	}
	c, err := s.connect(on, false)
	if err != nil {
		return err
	}
	defer c.close()
	_, err = c.fetch(request(script))
	return err
}

// eachSecond is when machines ask again where it is not to be measured how they lose heart.
var eachSecond = slices.Repeat([]time.Duration{time.Second}, 10)

// bootToProgram boots one machine up to its boot program.
func (s *site) bootToProgram(k bootKind, on *lab.Host, m *machines, i int) error {
	const offer, requests, ack = 2, 3, 5 // message types
	n := m.first + uint32(i)
	packet := firmwarePacket(k.persona, n)
	ask := func(port uint16, want byte) error {
		for _, wait := range k.waits {
			if _, err := m.conn.WriteToUDPAddrPort(packet, netip.AddrPortFrom(on.Addr(), port)); err != nil {
				return err
			}
			again := time.After(wait)
			for waits := true; waits; {
				select {
				case got := <-m.replies[i]:
					if got == want {
						return nil
					}
				case <-again:
					waits = false
				}
			}
		}
		return fmt.Errorf("machine %d: no answer on port %d", n, port)
	}
	if err := ask(67, offer); err != nil {
		return err
	}
	from := s.nodeIPs[int(n)%len(s.nodeIPs)]
	if k.asks4011 {
		packet[242] = requests
		ip := from.As4()
		copy(packet[12:], ip[:]) // ciaddr
		if err := ask(4011, ack); err != nil {
			return err
		}
	}
	_, err := s.tftp(from, on, k.order)
	return err
}
