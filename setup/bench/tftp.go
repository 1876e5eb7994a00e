package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// farm is how many nodes fetch at once.
const farm = 64

// benchTFTP measures how long ipxe.efi takes to a node. On a real wire the round
// trips decide: one of a millisecond is played by a client that waits so long
// before each acknowledgement.
func benchTFTP(ctx context.Context, s *site, rep *report) error {
	ours, other, err := s.withDnsmasq(ctx)
	if err != nil {
		return err
	}
	program, err := s.tftp(s.nodes.Addr(), ours.host, tftpOrder{file: "ipxe.efi", block: 1428})
	if err != nil {
		return err
	}
	if s.beside == "" {
		if err := os.WriteFile(s.path("tftp", "ipxe.efi"), program, 0o644); err != nil {
			return err
		}
	}
	for _, c := range []struct {
		what   string
		order  tftpOrder
		nodes  int
		rounds int
	}{
		{"ipxe.efi, blksize 1428", tftpOrder{block: 1428}, 1, 7},
		{"ipxe.efi, blksize 1468", tftpOrder{block: 1468}, 1, 7},
		{"ipxe.efi, blksize 1428, windowsize 4", tftpOrder{block: 1428, window: 4}, 1, 7},
		{"ipxe.efi, blksize 1428, windowsize 16", tftpOrder{block: 1428, window: 16}, 1, 7},
		{"same, round trip 1 ms, blksize 1428", tftpOrder{block: 1428, delay: time.Millisecond}, 1, 3},
		{"same, round trip 1 ms, windowsize 4", tftpOrder{block: 1428, window: 4, delay: time.Millisecond}, 1, 3},
		{"ipxe.efi to 16 nodes at once, the last one", tftpOrder{block: 1428}, 16, 15},
		{"ipxe.efi to 128 nodes at once, the last one", tftpOrder{block: 1428}, 128, 5},
		{fmt.Sprintf("ipxe.efi to %d nodes at once, the last one", farm), tftpOrder{block: 1428}, farm, 7},
		{fmt.Sprintf("same, windowsize 4, to %d nodes at once", farm), tftpOrder{block: 1428, window: 4}, farm, 7},
	} {
		c.order.file = "ipxe.efi"
		m, err := compare(c.rounds,
			func() (sample, error) { return s.boot(ours, c.order, c.nodes, len(program)) },
			func() (sample, error) { return s.boot(other, c.order, c.nodes, len(program)) })
		if err != nil {
			return fmt.Errorf("%s: %w", c.what, err)
		}
		peer := "dnsmasq"
		if c.order.window > 0 {
			peer = "dnsmasq, without windows"
		}
		rep.add(row{what: c.what, unit: millis, ours: m[0]["ms"], beside: m[1]["ms"], peer: peer})
		if c.order.delay == 0 {
			rep.add(row{what: strings.TrimSuffix(c.what, ", the last one") + ": CPU time of one", unit: micros, ours: m[0]["CPU µs"], beside: m[1]["CPU µs"], peer: peer, goal: 1, ratio: true})
		}
	}
	return ctx.Err()
}

// boot has nodes fetch a file at once and measures when the last one has it.
func (s *site) boot(from server, o tftpOrder, nodes, size int) (sample, error) {
	failed := make(chan error, nodes)
	var group sync.WaitGroup
	begin, used := time.Now(), cpuTime(from.pid)
	for i := range nodes {
		group.Go(func() {
			data, err := s.tftp(s.nodeIPs[i%len(s.nodeIPs)], from.host, o)
			if err == nil && len(data) != size {
				err = fmt.Errorf("got %d bytes of %d", len(data), size)
			}
			failed <- err
		})
	}
	group.Wait()
	took := time.Since(begin)
	for range nodes {
		if err := <-failed; err != nil {
			return nil, err
		}
	}
	return sample{"ms": inMillis(took), "CPU µs": inMicros(cpuTime(from.pid)-used) / float64(nodes)}, nil
}
