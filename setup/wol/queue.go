package wol

import (
	"context"
	"log/slog"

	"farmboot/provisioning"
)

// queueLength is how many requests may wait while machines are being woken.
const queueLength = 16

// Queue wakes machines for a daemon: [Queue.Add] takes in which, [Queue.Run] sends the
// packets, in waves.
type Queue struct {
	interfaces func() ([]string, error)
	waves      Waves
	log        *slog.Logger
	jobs       chan job
}

type job struct {
	interfaces []string
	macs       []provisioning.MAC
}

// NewQueue returns a Queue that sends into the LANs of those interfaces, which it asks
// for each time.
func NewQueue(interfaces func() ([]string, error), waves Waves, log *slog.Logger) *Queue {
	return &Queue{interfaces: interfaces, waves: waves, log: log, jobs: make(chan job, queueLength)}
}

// Add takes in machines to wake, and does not wait. The error is that of the interfaces,
// or a [provisioning.Error] with code [provisioning.Unavailable] if too much is waiting.
func (q *Queue) Add(macs []provisioning.MAC) error {
	interfaces, err := q.interfaces()
	if err != nil {
		return err
	}
	select {
	case q.jobs <- job{interfaces, macs}:
		return nil
	default:
		return provisioning.Errorf(provisioning.Unavailable, "too many nodes are being woken: try again in a minute")
	}
}

// Run sends the packets until ctx ends, and returns nil.
func (q *Queue) Run(ctx context.Context) error {
	for {
		select {
		case j := <-q.jobs:
			for _, name := range j.interfaces {
				err := Wake(ctx, name, j.macs, q.waves, func(wave []provisioning.MAC) {
					q.log.Info("wake", "iface", name, "nodes", len(wave), "first", wave[0])
				})
				if err != nil && ctx.Err() == nil {
					q.log.Warn("wake", "iface", name, "err", err)
				}
			}
		case <-ctx.Done():
			return nil
		}
	}
}
