package tftp

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts; its labels are few.
type metrics struct {
	requests *prometheus.CounterVec // by result
	bytes    prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, active func() int) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "farmboot_tftp_requests_total",
			Help: "TFTP requests, by what became of them.",
		}, []string{"result"}),
		bytes: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "farmboot_tftp_sent_bytes_total",
			Help: "Bytes of files that clients have acknowledged.",
		}),
	}
	gauge := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "farmboot_tftp_active_transfers",
		Help: "TFTP transfers under way.",
	}, func() float64 { return float64(active()) })
	return m, errors.Join(reg.Register(m.requests), reg.Register(m.bytes), reg.Register(gauge))
}

// The results of a request that does not become a transfer; the others are those of an
// [ending].
const (
	resultNotFound  = "not_found"
	resultWrite     = "write"
	resultDuplicate = "duplicate"
	resultBusy      = "busy"
	resultMalformed = "malformed"
	resultError     = "error"
	resultPanic     = "panic"
)
