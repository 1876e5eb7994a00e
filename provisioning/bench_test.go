package provisioning_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"farmboot/provisioning"
	"farmboot/provisioning/storetest"
)

// BenchmarkRecord is what a boot pays for an event, whether or not the queue has
// room.
func BenchmarkRecord(b *testing.B) {
	r := provisioning.NewRecorder(nil, provisioning.Retention{}, slog.New(slog.DiscardHandler), prometheus.NewRegistry(), time.Now)
	e := provisioning.Event{MAC: storetest.MAC(1), Peer: peer7, Stage: provisioning.StageKernel, Detail: "prod.efi"}
	for b.Loop() {
		r.Record(e)
	}
}

// BenchmarkTell tells the story of a boot with as many events as node show reads.
func BenchmarkTell(b *testing.B) {
	var events []provisioning.Event
	for i := range 500 {
		events = append(events, provisioning.Event{ID: int64(i), At: storetest.Noon.Add(time.Duration(i) * time.Second), MAC: storetest.MAC(1), Stage: provisioning.StageDiscover})
	}
	for b.Loop() {
		provisioning.Tell(events, storetest.Noon)
	}
}
