package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	stormNodes = 1000
	// stormKernel is the size of the kernel: 16 GB for all nodes, so that it takes seconds.
	stormKernel = 16 << 20
)

// benchStorm has a farm ask for its scripts and kernels all at once, and follow the
// scripts: a node that is told to wait waits. Beside it the same daemon as a free-for-all,
// which it is for clients that do not say that they are iPXE, and nginx.
func benchStorm(ctx context.Context, s *site, rep *report) error {
	f, err := s.newFarmboot("ours", s.ours)
	if err != nil {
		return err
	}
	if err := randomFile(s.path("ours", "kernel", "net", "prod.efi"), stormKernel, rand.NewChaCha8([32]byte{2})); err != nil {
		return err
	}
	if _, err := f.serve(ctx); err != nil {
		return err
	}
	if err := s.mirror(kernelPath); err != nil {
		return err
	}
	if _, _, err := s.nginx(ctx); err != nil {
		return err
	}
	settle(ctx)
	ours, other := server{host: s.ours}, server{host: s.other}
	var m [3]sample // one round of each: they take long
	for i, run := range []contender{
		func() (sample, error) { return s.storm(ctx, ours, "iPXE/1.21.1", "/provision/") },
		func() (sample, error) { return s.storm(ctx, ours, "free-for-all", "/provision/") },
		func() (sample, error) { return s.storm(ctx, other, "free-for-all", "") },
	} {
		if m[i], err = run(); err != nil {
			return err
		}
	}
	for i, peer := range []string{"the same daemon as a free-for-all", "nginx, a free-for-all, without scripts"} {
		for _, which := range []string{"first", "median", "last"} {
			rep.add(row{
				what: fmt.Sprintf("%d nodes at once, 16 MB kernel: the %s", stormNodes, which),
				unit: millis, ours: m[0][which], beside: m[1+i][which], peer: peer,
			})
		}
	}
	return ctx.Err()
}

// storm has nodes boot all at once, from their scripts on, or from their kernels on where
// there are none. It returns when the first, the median and the last had its kernel.
func (s *site) storm(ctx context.Context, on server, agent, scripts string) (sample, error) {
	times := make([]time.Duration, stormNodes)
	errs := make([]error, stormNodes)
	var received atomic.Int64
	var all sync.WaitGroup
	begin := time.Now()
	for i := range times {
		all.Go(func() {
			path := kernelPath
			if scripts != "" {
				path = scripts + mac(i) + "?platform=efi&arch=x86_64" // as our script asks
			}
			errs[i] = s.bootOnce(ctx, on, agent, path, &received)
			times[i] = time.Since(begin)
		})
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	if want := int64(stormNodes * stormKernel); received.Load() != want {
		return nil, fmt.Errorf("%d bytes of kernels arrived, want %d", received.Load(), want)
	}
	return sample{
		"first": inMillis(quantile(times, 0)), "median": inMillis(quantile(times, 0.5)), "last": inMillis(quantile(times, 1)),
	}, nil
}

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
