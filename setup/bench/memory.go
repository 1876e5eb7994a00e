package main

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// benchMemory measures the daemon's peak memory while many download an image, and
// while one does.
func benchMemory(ctx context.Context, s *site, rep *report) error {
	ours, other, err := s.withNginx(ctx, imagePath)
	if err != nil {
		return err
	}
	settle(ctx)
	one, _, err := s.peak(ours, 1)
	if err != nil {
		return err
	}
	many, took, err := s.peak(ours, 1000)
	if err != nil {
		return err
	}
	_, nginxTook, err := s.peak(other, 1000)
	if err != nil {
		return err
	}
	rep.add(row{what: "peak memory, 1,000 downloads at once", unit: megabytes, ours: many, beside: one, peer: "1 download"})
	rep.add(row{what: "of that, for each further download", unit: kilobytes, ours: (many - one) * 1024 / 999})
	rep.add(row{what: "1,000 downloads at once, time of all", unit: millis, ours: inMillis(took), beside: inMillis(nginxTook), peer: "nginx"})
	return ctx.Err()
}

// settle waits until a daemon that just started has done its background work.
func settle(ctx context.Context) {
	select {
	case <-time.After(5 * time.Second): // half a second of work, on a machine that is not busy
	case <-ctx.Done():
	}
}

// peak has clients download an image at the same time: none goes on before each
// has got the beginning. It returns the peak memory of the server and how long all
// took together.
func (s *site) peak(on server, clients int) (mb float64, took time.Duration, err error) {
	if err := resetPeak(on.pid); err != nil {
		return 0, 0, err
	}
	conns := make([]*client, clients)
	for i := range conns {
		if conns[i], err = s.connect(on.host, false); err != nil {
			return 0, 0, err
		}
		defer conns[i].close()
	}
	req := request(imagePath)
	var received atomic.Int64
	failed := make(chan error, clients)
	var begun, group sync.WaitGroup
	begun.Add(clients)
	begin := time.Now()
	for _, c := range conns {
		group.Go(func() {
			length, err := c.ask(req)
			begun.Done()
			if err == nil {
				begun.Wait()
				err = c.drain(length, &received)
			}
			failed <- err
		})
	}
	group.Wait()
	took = time.Since(begin)
	for range clients {
		if err := <-failed; err != nil {
			return 0, 0, err
		}
	}
	mb, err = peakRSS(on.pid)
	return mb, took, err
}
