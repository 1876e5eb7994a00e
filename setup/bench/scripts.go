package main

import (
	"context"
	"time"
)

// benchScripts measures what a boot script costs, beside nginx that sends the same bytes
// as a file. Sixteen nodes ask over and over, each on its own connection.
func benchScripts(ctx context.Context, s *site, rep *report) error {
	const path = "/provision/52:54:00:00:00:01"
	ours, other, err := s.withNginx(ctx, path)
	if err != nil {
		return err
	}
	settle(ctx)
	l := load{path: path, clients: 16, time: time.Second}
	m, err := compare(5,
		func() (sample, error) { return s.put(l, ours) },
		func() (sample, error) { return s.put(l, other) })
	if err != nil {
		return err
	}
	rep.add(row{what: "GET /provision/MAC, 16 at once", unit: perSecond, ours: m[0]["requests/s"], beside: m[1]["requests/s"], peer: nginxFile})
	rep.add(row{what: "GET /provision/MAC, 16 at once: CPU time of one", unit: micros, ours: m[0]["CPU µs"], beside: m[1]["CPU µs"], peer: nginxFile, goal: 1.1, ratio: true})
	return ctx.Err()
}
