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

// errorResult names an error of this package as a label.
func errorResult(err error) string {
	for _, r := range []struct {
		err  error
		name string
	}{
		{ErrNotNetboot, "not_netboot"},
		{ErrNotForUs, "not_for_us"},
		{ErrNotEthernet, "not_ethernet"},
		{ErrBadGUID, "bad_guid"},
		{ErrUnknownArch, "unknown_arch"},
		{ErrRaspberryPi, "raspberry_pi"},
		{ErrFlood, "flood"},
		{ErrIgnored, "ignored"},
		{ErrNoTFTP, "no_tftp"},
		{ErrNoRoom, "no_room"},
		{errShort, "malformed"},
		{errCookie, "malformed"},
		{errOption, "malformed"},
	} {
		if errors.Is(err, r.err) {
			return r.name
		}
	}
	return "error"
}
