package main

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"farmboot/setup/lab"
)

// server is where a load goes: a host and the program on it.
type server struct {
	host *lab.Host
	pid  int
}

// load is a number of clients that ask for the same file, over and over.
type load struct {
	path    string
	clients int
	secure  bool
	time    time.Duration
}

// put puts the load on a server and measures what it delivers: MB/s, requests/s
// and the CPU time of the server for each GB and each request.
func (s *site) put(l load, on server) (sample, error) {
	clients := make([]*client, l.clients)
	for i := range clients {
		var err error
		if clients[i], err = s.connect(on.host, l.secure); err != nil {
			return nil, err
		}
		defer clients[i].close()
	}
	var received, requests atomic.Int64
	failed := make(chan error, l.clients)
	var group sync.WaitGroup
	req := request(l.path)
	begin, used := time.Now(), cpuTime(on.pid)
	end := begin.Add(l.time)
	for _, c := range clients {
		_ = c.conn.SetDeadline(end)
		group.Go(func() {
			for time.Now().Before(end) {
				if err := c.get(req, &received); errors.Is(err, os.ErrDeadlineExceeded) {
					return
				} else if err != nil {
					failed <- err
					return
				}
				requests.Add(1)
			}
		})
	}
	group.Wait()
	took, busy := time.Since(begin), cpuTime(on.pid)-used
	select {
	case err := <-failed:
		return nil, err
	default:
	}
	gb := float64(received.Load()) / 1e9
	return sample{
		"MB/s":       gb * 1000 / took.Seconds(),
		"requests/s": float64(requests.Load()) / took.Seconds(),
		"CPU ms/GB":  inMillis(busy) / gb,
		"CPU µs":     inMicros(busy) / float64(max(requests.Load(), 1)),
	}, nil
}
