package recorder_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

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
