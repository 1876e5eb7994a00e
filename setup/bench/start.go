package main

import (
	"context"
	"time"
)

// benchStart measures how soon the daemon is ready, and what it holds when it has
// nothing to do, beside the two servers in whose place it stands.
func benchStart(ctx context.Context, s *site, rep *report) error {
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
	return ctx.Err()
}
