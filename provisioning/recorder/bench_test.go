package recorder_test

import (
	"log/slog"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"farmboot/provisioning"
	"farmboot/provisioning/recorder"
	"farmboot/provisioning/storetest"
)

// BenchmarkRecord is what a boot pays for an event, whether or not the queue has
// room.
func BenchmarkRecord(b *testing.B) {
	r := recorder.New(nil, recorder.Retention{}, slog.New(slog.DiscardHandler), prometheus.NewRegistry(), time.Now)
	e := provisioning.Event{MAC: storetest.MAC(1), Peer: peer7, Stage: provisioning.StageKernel, Detail: "prod.efi"}
	for b.Loop() {
		r.Record(e)
	}
}

// BenchmarkStore is what it costs to store an event: of machines that ask again and again,
// all at once, each of which is answered.
func BenchmarkStore(b *testing.B) {
	for _, machines := range []int{64, 256, 10_000} {
		b.Run(strconv.Itoa(machines), func(b *testing.B) {
			r := recorder.New(storetest.SQLite(b), recorder.Retention{}, slog.New(slog.DiscardHandler), prometheus.NewRegistry(), time.Now)
			const batch = 2048
			n, began := 0, cpuTime(b)
			for b.Loop() {
				for range batch / 2 {
					n++
					e := provisioning.Event{At: storetest.Noon.Add(time.Duration(n) * 100 * time.Microsecond), MAC: storetest.MAC(n % machines), Stage: provisioning.StageDiscover, Detail: "BIOS, PXEClient"}
					r.Record(e)
					e.Stage, e.Detail, e.File = provisioning.StageOffer, "", "undionly.kpxe"
					r.Record(e)
				}
				r.Flush(b.Context())
			}
			b.ReportMetric(float64((cpuTime(b)-began).Nanoseconds())/float64(b.N*batch), "cpu-ns/event")
		})
	}
}

// cpuTime is how long this process has computed, in all threads.
func cpuTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
