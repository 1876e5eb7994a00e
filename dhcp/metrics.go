package dhcp

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts. Its labels are few: never a MAC address, never what a stranger
// sent.
type metrics struct {
	packets *prometheus.CounterVec // by service and result
	replies *prometheus.CounterVec // by service and platform
}

// tally counts for one service, by one more label. It is not safe for concurrent use: it
// remembers the counters, which takes a fifth of the time of finding them (measured).
type tally struct {
	all     *prometheus.CounterVec
	service Service
	by      map[string]prometheus.Counter
}

func newTally(all *prometheus.CounterVec, service Service) tally {
	return tally{all, service, make(map[string]prometheus.Counter)}
}

func (t tally) inc(label string) {
	c, ok := t.by[label]
	if !ok {
		c = t.all.WithLabelValues(string(t.service), label)
		t.by[label] = c
	}
	c.Inc()
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		packets: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "farmboot_dhcp_packets_total",
			Help: "Packets received on the proxyDHCP and PXE boot server ports, by what became of them.",
		}, []string{"service", "result"}),
		replies: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "farmboot_dhcp_replies_total",
			Help: "Offers (proxydhcp) and acknowledgements (bootserver) sent, by the client's platform.",
		}, []string{"service", "platform"}),
	}
	return m, errors.Join(reg.Register(m.packets), reg.Register(m.replies))
}

// The results of a packet besides those of [errorResult].
const (
	resultAnswered = "answered"
	resultPanic    = "panic"
)

// errorResult names an error as a label.
func errorResult(err error) string {
	if r, ok := errors.AsType[*Refusal](err); ok {
		return r.label
	}
	return "error"
}
