package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"sync/atomic"
	"time"

	"farmboot/dhcp/fakeclient"
)

const (
	stormNodes = 1000
	stormLimit = 3 * time.Minute // for one request
)

// stormNode boots as edk2 does, which gives up in the end.
var stormNode = bootKind{
	what: "UEFI", persona: fakeclient.UEFI(), asks4011: true,
	order: tftpOrder{file: "ipxe.efi", block: 1468, window: 4, again: 4 * time.Second, tries: 6, drop: true},
	waits: []time.Duration{4 * time.Second, 8 * time.Second, 16 * time.Second, 32 * time.Second},
}

// benchStorm switches a farm on all at once, as after a power cut. Each node boots from its
// DISCOVER to the last byte of a kernel of 64 MB, and follows its scripts: one that is told
// to wait waits. Beside it dnsmasq and nginx, and the same daemon as a free-for-all, which it
// is for clients that do not say that they are iPXE.
func benchStorm(ctx context.Context, s *site, rep *report) error {
	ours, other, _, err := s.withOthers(ctx, []string{"ipxe.efi"}, "/provision/"+mac(1), kernelPath)
	if err != nil {
		return err
	}
	settle(ctx)
	byName := func(i int) string { return "/provision/" + mac(i) + "?platform=efi&arch=x86_64" } // as our script asks
	theirs := byName
	if s.beside == "" {
		theirs = func(int) string { return "/provision/" + mac(1) }
	}
	single, err := s.put(load{path: kernelPath, clients: 1, time: 2 * time.Second}, other)
	if err != nil {
		return err
	}
	var m [3]sample // one round of each: they take long
	for i, run := range []contender{
		func() (sample, error) { return s.storm(ctx, ours, "iPXE/1.21.1", byName) },
		func() (sample, error) { return s.storm(ctx, other, "iPXE/1.21.1", theirs) },
		func() (sample, error) { return s.storm(ctx, ours, "free-for-all", byName) },
	} {
		if m[i], err = run(); err != nil {
			return err
		}
	}
	const what = "1,000 nodes at once, 64 MB kernel: "
	for i, peer := range []string{"dnsmasq and nginx", "the same daemon as a free-for-all"} {
		rep.add(row{what: what + "booted", unit: count, ours: m[0]["booted"], beside: m[1+i]["booted"], peer: peer, goal: stormNodes})
		for _, which := range []string{"first", "half", "all"} {
			rep.add(row{what: what + which, unit: millis, ours: m[0][which], beside: m[1+i][which], peer: peer})
		}
	}
	rep.add(row{what: what + "kernels", unit: megabytesPerSecond, ours: m[0]["MB/s"], beside: single["MB/s"], peer: "nginx, to one node alone", goal: 0.9, ratio: true})
	return ctx.Err()
}

// storm boots nodes all at once. It returns how many booted, after what time the first,
// half of all and all had (0: never), and at what rate their kernels came in by then.
func (s *site) storm(ctx context.Context, on server, agent string, script func(i int) string) (sample, error) {
	machines, err := s.switchOn(stormNodes)
	if err != nil {
		return nil, err
	}
	defer machines.conn.Close()
	var received atomic.Int64
	times, errs := atOnce(stormNodes, func(i int) error {
		if err := s.bootToProgram(stormNode, on.host, machines, i); err != nil {
			return err
		}
		return s.bootOnce(ctx, on, agent, script(i), &received)
	})
	var booted []time.Duration
	why := map[string]int{}
	for i, err := range errs {
		if err != nil {
			why[unnumbered.ReplaceAllString(err.Error(), "…")]++
			continue
		}
		booted = append(booted, times[i])
	}
	for words, n := range why {
		fmt.Fprintf(os.Stderr, "bench: %d nodes of %s did not boot: %s\n", n, on.host.Addr(), words)
	}
	if len(booted) == 0 {
		return nil, errors.New("no node booted")
	}
	if whole := int64(len(booted) * kernelSize); received.Load() < whole {
		return nil, fmt.Errorf("%d bytes of kernels arrived, want %d", received.Load(), whole)
	}
	result := sample{
		"booted": float64(len(booted)), "first": inMillis(quantile(booted, 0)),
		"MB/s": float64(len(booted)*kernelSize) / 1e6 / quantile(booted, 1).Seconds(),
	}
	for which, n := range map[string]int{"half": stormNodes / 2, "all": stormNodes} {
		if len(booted) >= n {
			result[which] = inMillis(booted[n-1]) // quantile has sorted them
		}
	}
	return result, nil
}

// unnumbered finds what differs from node to node.
var unnumbered = regexp.MustCompile(`[0-9]+`)

var (
	nextKernel = regexp.MustCompile(`(?m)^imgfetch http://[^/]+(/kernel/\S+) `)
	nextScript = regexp.MustCompile(`(?m)^chain \S+ \S+ http://[^/]+(/provision/\S+?)\$\{others\} `)
	firstSleep = regexp.MustCompile(`(?m)^:ask\nsleep (\d+)$`)
)

// bootOnce boots one node; like iPXE it has a connection for each request.
func (s *site) bootOnce(ctx context.Context, on server, agent, path string, received *atomic.Int64) error {
	for {
		c, err := s.connect(on.host, false)
		if err != nil {
			return err
		}
		if err := c.conn.SetDeadline(time.Now().Add(stormLimit)); err != nil {
			return err
		}
		req := bytes.Replace(request(path), []byte("iPXE/1.21.1"), []byte(agent), 1)
		if !bytes.HasPrefix([]byte(path), []byte("/provision/")) {
			err := c.get(req, received)
			c.close()
			return err
		}
		script, err := c.fetch(req)
		c.close()
		if err != nil {
			return err
		}
		if m := nextKernel.FindSubmatch(script); m != nil {
			path = string(m[1])
			continue
		}
		m := nextScript.FindSubmatch(script)
		if m == nil {
			return fmt.Errorf("a script that neither boots nor waits:\n%s", script)
		}
		path = string(m[1])
		if pause := firstSleep.FindSubmatch(script); pause != nil {
			seconds, err := strconv.Atoi(string(pause[1]))
			if err != nil {
				return err
			}
			select {
			case <-time.After(time.Duration(seconds) * time.Second):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
}
