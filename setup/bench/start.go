package main

import (
	"context"
	"os"
	"time"
)

// benchStart measures how soon the daemon is ready, and what it holds when it has
// nothing to do, beside the two servers in whose place it stands.
func benchStart(ctx context.Context, s *site, rep *report) error {
	if err := os.RemoveAll(s.path("ours")); err != nil { // what earlier sections have stored
		return err
	}
	f, err := s.newFarmboot("ours", s.ours)
	if err != nil {
		return err
	}
	if _, err := f.serve(ctx); err != nil { // makes its certificate authority
		return err
	}
	m, err := compare(5,
		func() (sample, error) {
			if err := s.stopAll(); err != nil {
				return nil, err
			}
			took, err := f.serve(ctx)
			return sample{"ms": inMillis(took)}, err
		},
		func() (sample, error) {
			if err := s.stopAll(); err != nil {
				return nil, err
			}
			begin := time.Now()
			if _, err := s.dnsmasq(ctx); err != nil {
				return nil, err
			}
			_, _, err := s.nginx(ctx)
			return sample{"ms": inMillis(time.Since(begin))}, err
		})
	if err != nil {
		return err
	}
	const peer = "dnsmasq + nginx"
	rep.add(row{what: "start to ready", unit: millis, ours: m[0]["ms"], beside: m[1]["ms"], peer: peer, goal: 200})
	return s.idleMemory(ctx, rep, peer)
}

// idleMemory compares what the servers hold when they have settled.
func (s *site) idleMemory(ctx context.Context, rep *report, peer string) error {
	if err := s.stopAll(); err != nil {
		return err
	}
	ours, other, err := s.withDnsmasq(ctx)
	if err != nil {
		return err
	}
	nginx, _, err := s.nginx(ctx)
	if err != nil {
		return err
	}
	settle(ctx)
	var held [3]float64
	for i, pid := range []int{ours.pid, other.pid, nginx} {
		if held[i], err = memory(pid, "Rss"); err != nil {
			return err
		}
	}
	rep.add(row{what: "idle, resident memory", unit: megabytes, ours: held[0], beside: held[1] + held[2], peer: peer, goal: 40})
	return s.ownMemory(ctx, rep, ours)
}

// ownMemory is what is not in files: when idle, after a farm of ten thousand machines has
// powered on, and after a start with all of them in the database.
func (s *site) ownMemory(ctx context.Context, rep *report, on server) error {
	held := func(when string, goal float64) error {
		settle(ctx)
		m, err := memory(on.pid, "Anonymous")
		rep.add(row{what: "anonymous memory " + when, unit: megabytes, ours: m, goal: goal})
		return err
	}
	if err := held("when idle", 12); err != nil {
		return err
	}
	if _, err := s.waiting(on, 32, 10_000); err != nil {
		return err
	}
	if err := held("after 10,000 machines have powered on", 45); err != nil {
		return err
	}
	if err := s.stopAll(); err != nil {
		return err
	}
	again, err := s.newFarmboot("ours", s.ours)
	if err != nil {
		return err
	}
	if _, err := again.serve(ctx); err != nil {
		return err
	}
	on.pid = again.pid()
	if err := held("after a start with them in the database", 45); err != nil {
		return err
	}
	return ctx.Err()
}
