package main

import (
	"context"
	"sync/atomic"
	"time"
)

// benchImages measures the whole request for one image of each kind, one after the
// other on one connection.
func benchImages(ctx context.Context, s *site, rep *report) error {
	paths := []string{
		"/ipxe/prod/1234", "/iso/prod/1234", imagePath, "/uefi/prod/1234", "/uefimg/prod/1234", "/krn/prod/1234", "/snponly/prod/1234",
		"/krn-generic", "/uefi-generic", "/krn-provision", "/uefi-provision",
	}
	ours, other, err := s.withNginx(ctx, paths...)
	if err != nil {
		return err
	}
	for _, path := range paths {
		m, err := compare(5,
			func() (sample, error) { return s.oneByOne(path, ours) },
			func() (sample, error) { return s.oneByOne(path, other) })
		if err != nil {
			return err
		}
		rep.add(row{what: "GET " + path, unit: micros, ours: m[0]["µs"], beside: m[1]["µs"], peer: nginxFile})
	}
	return ctx.Err()
}

// oneByOne measures the median time of a request and its answer.
func (s *site) oneByOne(path string, on server) (sample, error) {
	c, err := s.connect(on.host, false)
	if err != nil {
		return nil, err
	}
	defer c.close()
	var received atomic.Int64
	var times []time.Duration
	req := request(path)
	for end := time.Now().Add(80 * time.Millisecond); time.Now().Before(end); {
		begin := time.Now()
		if err := c.get(req, &received); err != nil {
			return nil, err
		}
		times = append(times, time.Since(begin))
	}
	return sample{"µs": inMicros(quantile(times, 0.5))}, nil
}
