package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"time"

	"farmboot/setup/lab"
)

// benchDHCP measures how fast machines are offered a boot program, one by one and
// when a farm powers on. DISCOVERs are sent to the server's address, so that the
// LAN's DHCP server, which is neither of the two, takes no part.
func benchDHCP(ctx context.Context, s *site, rep *report) error {
	ours, other, err := s.withDnsmasq(ctx)
	if err != nil {
		return err
	}
	const peer = "dnsmasq as proxyDHCP"
	m, err := compare(5,
		func() (sample, error) { return s.offersOneByOne(ours, 300) },
		func() (sample, error) { return s.offersOneByOne(other, 300) })
	if err != nil {
		return err
	}
	rep.add(row{what: "DISCOVER to OFFER, one by one, median", unit: micros, ours: m[0]["p50"], beside: m[1]["p50"], peer: peer})
	rep.add(row{what: "DISCOVER to OFFER, one by one, 99th percentile", unit: micros, ours: m[0]["p99"], beside: m[1]["p99"], peer: peer})
	if m, err = compare(11,
		func() (sample, error) { return s.waiting(ours, 32, 10_000) },
		func() (sample, error) { return s.waiting(other, 32, 10_000) }); err != nil {
		return err
	}
	const line = "10,000 machines, 32 wait at a time: "
	rep.add(row{what: line + "offers", unit: perSecond, ours: m[0]["offers/s"], beside: m[1]["offers/s"], peer: peer, goal: 1, ratio: true})
	rep.add(row{what: line + "99th percentile", unit: micros, ours: m[0]["p99"], beside: m[1]["p99"], peer: peer, goal: 1.5, ratio: true})
	rep.add(row{what: line + "CPU per offer", unit: micros, ours: m[0]["CPU µs"], beside: m[1]["CPU µs"], peer: peer, goal: 1.2, ratio: true})
	for _, n := range []int{256, 1024} {
		m, err := compare(5,
			func() (sample, error) { return s.burst(ours, n) },
			func() (sample, error) { return s.burst(other, n) })
		if err != nil {
			return err
		}
		rep.add(row{what: fmt.Sprintf("%d DISCOVERs at once: answered", n), unit: count, ours: m[0]["answered"], beside: m[1]["answered"], peer: peer})
		rep.add(row{what: fmt.Sprintf("%d DISCOVERs at once: offers", n), unit: perSecond, ours: m[0]["offers/s"], beside: m[1]["offers/s"], peer: peer})
		rep.add(row{what: fmt.Sprintf("%d DISCOVERs at once: CPU per offer", n), unit: micros, ours: m[0]["CPU µs"], beside: m[1]["CPU µs"], peer: peer})
	}
	return ctx.Err()
}

// withDnsmasq starts an appliance and dnsmasq.
func (s *site) withDnsmasq(ctx context.Context) (ours, other server, err error) {
	f, err := s.newFarmboot("ours", s.ours)
	if err != nil {
		return ours, other, err
	}
	if _, err := f.serve(ctx); err != nil {
		return ours, other, err
	}
	ours = server{s.ours, f.PID()}
	if s.beside != "" {
		other, err = s.serveBeside(ctx)
	} else {
		other.host = s.other
		other.pid, err = s.dnsmasq(ctx)
	}
	settle(ctx)
	return ours, other, err
}

func dhcpServer(h *lab.Host) netip.AddrPort { return netip.AddrPortFrom(h.Addr(), 67) }

// offersOneByOne measures the way from DISCOVER to OFFER of so many machines.
func (s *site) offersOneByOne(on server, machines int) (sample, error) {
	conn, err := s.firmware()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	var times []time.Duration
	first := rand.Uint32()
	for i := range machines {
		begin := time.Now()
		if _, err := conn.WriteToUDPAddrPort(discover(first+uint32(i)), dhcpServer(on.host)); err != nil {
			return nil, err
		}
		got, _, err := offers(conn, first+uint32(i), 1, time.Second)
		if err != nil {
			return nil, err
		}
		if got == 1 {
			times = append(times, time.Since(begin))
		}
	}
	if len(times) == 0 {
		return nil, errors.New("no DISCOVER was answered")
	}
	return sample{"p50": inMicros(quantile(times, 0.5)), "p99": inMicros(quantile(times, 0.99))}, nil
}

// waiting has machines ask one after the other, so many of them at a time: each time one
// is answered, or has waited for half a second, the next one asks. They are the same
// machines in each round, as in a farm. The CPU time is taken a second later, for what the
// server has put off.
func (s *site) waiting(on server, atATime, machines int) (sample, error) {
	conn, err := s.firmware()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	const first = 0x10000
	var times []time.Duration
	asked := make(map[uint32]time.Time) // of those that wait
	next := uint32(0)
	begin, used := time.Now(), cpuTime(on.pid)
	buf := make([]byte, 1500)
	for {
		for len(asked) < atATime && next < uint32(machines) {
			asked[next] = time.Now()
			if _, err := conn.WriteToUDPAddrPort(discover(first+next), dhcpServer(on.host)); err != nil {
				return nil, err
			}
			next++
		}
		if len(asked) == 0 {
			break
		}
		if err := conn.SetReadDeadline(time.Now().Add(500 * time.Millisecond)); err != nil {
			return nil, err
		}
		n, _, err := conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			clear(asked)
			continue
		}
		if err != nil {
			return nil, err
		}
		machine, ok := offered(buf[:n])
		if since, waits := asked[machine-first]; ok && waits {
			times = append(times, time.Since(since))
			delete(asked, machine-first)
		}
	}
	took := time.Since(begin)
	if len(times) == 0 {
		return nil, errors.New("no DISCOVER was answered")
	}
	time.Sleep(time.Second)
	return sample{
		"offers/s": float64(len(times)) / took.Seconds(),
		"p99":      inMicros(quantile(times, 0.99)),
		"CPU µs":   inMicros(cpuTime(on.pid)-used) / float64(len(times)),
	}, nil
}

// burst has so many machines ask as fast as one wire carries it.
func (s *site) burst(on server, machines int) (sample, error) {
	conn, err := s.firmware()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	first := rand.Uint32()
	packets := make([][]byte, machines)
	for i := range packets {
		packets[i] = discover(first + uint32(i))
	}
	begin, used := time.Now(), cpuTime(on.pid)
	for _, p := range packets {
		if _, err := conn.WriteToUDPAddrPort(p, dhcpServer(on.host)); err != nil {
			return nil, err
		}
	}
	got, last, err := offers(conn, first, machines, 500*time.Millisecond)
	if err != nil {
		return nil, err
	}
	return sample{
		"answered": float64(got),
		"offers/s": float64(got) / last.Sub(begin).Seconds(),
		"CPU µs":   inMicros(cpuTime(on.pid)-used) / float64(max(got, 1)),
	}, nil
}

// offers counts the machines from first on that get an offer, until all have one
// or nothing came for the time quiet, and says when the last one did.
func offers(conn *net.UDPConn, first uint32, machines int, quiet time.Duration) (got int, last time.Time, err error) {
	seen := make([]bool, machines)
	buf := make([]byte, 1500)
	last = time.Now()
	for got < machines {
		if err := conn.SetReadDeadline(time.Now().Add(quiet)); err != nil {
			return got, last, err
		}
		n, _, err := conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return got, last, nil
		}
		if err != nil {
			return got, last, err
		}
		machine, ok := offered(buf[:n])
		if i := machine - first; ok && i < uint32(machines) && !seen[i] {
			seen[i] = true
			got++
			last = time.Now()
		}
	}
	return got, last, nil
}
