// Package farm tells Prometheus of a farm: boots by outcome and duration, nodes by the
// state of their last boot, what they boot and how old that is, and when the server's
// certificate ends.
//
// Labels are bounded: states, outcomes and run modes, never a MAC address. How a boot
// ended is decided by a pure function of its events; [Farm.Hear] feeds it.
package farm

import (
	"context"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"farmboot/provisioning"
	"farmboot/provisioning/lru"
	"farmboot/provisioning/story"
)

// Config is what a [Farm] looks at. All fields are required but those that say
// otherwise.
type Config struct {
	Version string // of the program
	Now     func() time.Time
	Metrics prometheus.Registerer

	// Registered counts the registered nodes.
	Registered func(context.Context) (int, error)
	// States counts the nodes by the state of their last boot, as far as it is
	// remembered.
	States func(ctx context.Context, now time.Time) (map[story.State]int, error)
	// Kernels tells when the default kernel of each run mode that has one was stored.
	Kernels func() map[provisioning.RunMode]time.Time
	// CertificateEnd is when the server's certificate ends; the zero time: not known.
	CertificateEnd func() time.Time
}

// Farm is a [prometheus.Collector]. What it counts itself it is told by [Farm.Hear].
type Farm struct {
	Config
	boots    *prometheus.CounterVec
	duration prometheus.Histogram

	mu   sync.Mutex
	ways *lru.Map[provisioning.MAC, way]
}

// Outcome is how a boot ended.
type Outcome string

// The outcomes.
const (
	Started Outcome = "started" // its kernel went out whole
	Exited  Outcome = "exited"  // it was sent on to its next boot device
	Refused Outcome = "refused" // we refused what it asked for
	Held    Outcome = "held"    // it waits to be claimed
	Failed  Outcome = "failed"  // it netbooted again soon after its kernel, without having been up
)

// waysKept is how many nodes may be on their way at once; a node takes some 100 bytes.
const waysKept = 16384

// scrapeLimit is how long a scrape waits for the store.
const scrapeLimit = 2 * time.Second

var (
	registeredDesc  = prometheus.NewDesc("farmboot_registered_nodes", "Registered nodes.", nil, nil)
	nodesDesc       = prometheus.NewDesc("farmboot_nodes", "Nodes that booted here, registered or not, by the state of their last boot.", []string{"state"}, nil)
	kernelDesc      = prometheus.NewDesc("farmboot_kernel_modified_timestamp_seconds", "When the default kernel of a run mode was stored, as Unix time.", []string{"runmode"}, nil)
	certificateDesc = prometheus.NewDesc("farmboot_certificate_expires_timestamp_seconds", "When the server's certificate ends, as Unix time.", nil, nil)
	buildDesc       = prometheus.NewDesc("farmboot_build_info", "The program: always 1.", []string{"version", "goversion"}, nil)
)

// states are those that a node which booted here can be in.
var states = []story.State{story.Booting, story.Stalled, story.Refused, story.Ignored, story.Held, story.Exited, story.Started, story.Booted, story.Failed}

// New returns a Farm, registered with c.Metrics; [Farm.Hear] has it count boots.
func New(c Config) *Farm {
	f := &Farm{
		Config: c, ways: lru.New[provisioning.MAC, way](waysKept),
		boots: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "farmboot_boots_total", Help: "Boots that came to an end here, by outcome: started, exited (sent on to the next boot device), refused, held (waits to be claimed), failed (after it started).",
		}, []string{"outcome"}),
		duration: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "farmboot_boot_duration_seconds", Help: "From a node's first request to its kernel, of boots that started.",
			Buckets: []float64{2, 5, 10, 20, 30, 60, 120, 300, 600},
		}),
	}
	for _, o := range []Outcome{Started, Exited, Refused, Held, Failed} {
		f.boots.WithLabelValues(string(o))
	}
	c.Metrics.MustRegister(f.boots, f.duration, f)
	return f
}

// Describe implements [prometheus.Collector].
func (f *Farm) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{registeredDesc, nodesDesc, kernelDesc, certificateDesc, buildDesc} {
		to <- d
	}
}

// Collect implements [prometheus.Collector]. What cannot be told is left out.
func (f *Farm) Collect(to chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	ctx, cancel := context.WithTimeout(context.Background(), scrapeLimit)
	defer cancel()
	if n, err := f.Registered(ctx); err == nil {
		gauge(registeredDesc, float64(n))
	}
	if count, err := f.States(ctx, f.Now()); err == nil {
		for _, s := range states {
			gauge(nodesDesc, float64(count[s]), string(s))
		}
	}
	kernels := f.Kernels()
	for _, mode := range slices.Sorted(maps.Keys(kernels)) {
		gauge(kernelDesc, float64(kernels[mode].Unix()), string(mode))
	}
	if end := f.CertificateEnd(); !end.IsZero() {
		gauge(certificateDesc, float64(end.Unix()))
	}
	gauge(buildDesc, 1, f.Version, runtime.Version())
}

// Hear takes in an event of this appliance, and counts the boot that ends with it.
func (f *Farm) Hear(e provisioning.Event) {
	if e.MAC.IsZero() {
		return
	}
	f.mu.Lock()
	old, _ := f.ways.Get(e.MAC)
	now, outcome := old.on(e)
	f.ways.Put(e.MAC, now)
	f.mu.Unlock()
	if outcome == "" {
		return
	}
	f.boots.WithLabelValues(string(outcome)).Inc()
	if outcome == Started {
		f.duration.Observe(e.At.Sub(now.began).Seconds())
	}
}

// way is how far a node's boot has come.
type way struct {
	began, last time.Time
	outcome     Outcome // "": under way
}

// on returns how far a boot has come with its next event, and its outcome if that is the
// end of it.
func (w way) on(e provisioning.Event) (way, Outcome) {
	discover := e.Stage == provisioning.StageDiscover
	over := w.outcome == Started || w.outcome == Exited
	if w.began.IsZero() || discover && (over || e.At.Sub(w.last) > provisioning.BootGap) || (e.Stage == provisioning.StageScript || e.Stage == provisioning.StageWait) && over {
		w = way{began: e.At}
	}
	w.last = e.At
	var outcome Outcome
	switch e.Stage {
	case provisioning.StageKernel:
		if e.Bytes >= e.Size {
			outcome = Started
		}
	case provisioning.StageExit:
		outcome = Exited
	case provisioning.StageHold:
		outcome = Held
	case provisioning.StageRefused:
		if e.Cause.ID != provisioning.CauseIgnored {
			outcome = Refused
		}
	}
	if e.Stage == provisioning.StageFailed { // of the boot before
		return w, Failed
	}
	if outcome == "" || outcome == w.outcome || over && w.outcome != "" {
		return w, ""
	}
	w.outcome = outcome
	return w, outcome
}
