package admission

import "github.com/prometheus/client_golang/prometheus"

var (
	waitingDesc   = prometheus.NewDesc("farmboot_kernel_waiting_nodes", "Nodes that wait for their turn to fetch their kernels.", nil, nil)
	downloadsDesc = prometheus.NewDesc("farmboot_kernel_downloads", "Kernels that are under way.", nil, nil)
	limitDesc     = prometheus.NewDesc("farmboot_kernel_downloads_limit", "How many nodes fetch their kernels at once when others wait: as many as fill the link, as far as that has been measured.", nil, nil)
	rateDesc      = prometheus.NewDesc("farmboot_kernel_bytes_per_second", "What all kernels under way take of the link, measured.", nil, nil)
)

// Describe implements [prometheus.Collector].
func (c *Control) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{waitingDesc, downloadsDesc, limitDesc, rateDesc} {
		to <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *Control) Collect(to chan<- prometheus.Metric) {
	s := c.State()
	for d, v := range map[*prometheus.Desc]float64{
		waitingDesc: float64(s.Waiting), downloadsDesc: float64(s.Downloads), limitDesc: float64(s.Limit), rateDesc: s.Rate,
	} {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
}
