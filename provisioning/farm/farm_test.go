package farm_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"farmboot/provisioning"
	"farmboot/provisioning/farm"
	"farmboot/provisioning/story"
)

var (
	noon = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	one  = provisioning.MAC{2, 0, 0, 0, 0, 1}
	two  = provisioning.MAC{2, 0, 0, 0, 0, 2}
)

// TestBoots: which boots there were, and how long they took.
func TestBoots(t *testing.T) {
	at := func(s float64, mac provisioning.MAC, stage provisioning.Stage, bytes ...int64) provisioning.Event {
		e := provisioning.Event{At: noon.Add(time.Duration(s * float64(time.Second))), MAC: mac, Stage: stage}
		if len(bytes) == 2 {
			e.Bytes, e.Size = bytes[0], bytes[1]
		}
		return e
	}
	const (
		discover = provisioning.StageDiscover
		script   = provisioning.StageScript
		kernel   = provisioning.StageKernel
		refused  = provisioning.StageRefused
		hold     = provisioning.StageHold
		exit     = provisioning.StageExit
	)
	for _, tt := range []struct {
		name   string
		events []provisioning.Event
		want   string // counts of started, exited, refused, held, failed
		took   float64
	}{
		{"nothing", nil, "0 0 0 0 0", 0},
		{"one boot", []provisioning.Event{at(0, one, discover), at(4, one, discover), at(7, one, script), at(8, one, kernel, 9, 9)}, "1 0 0 0 0", 8},
		{"a kernel in pieces", []provisioning.Event{at(0, one, discover), at(7, one, script), at(8, one, kernel, 4, 9), at(9, one, kernel, 9, 9)}, "1 0 0 0 0", 9},
		{"a kernel fetched twice", []provisioning.Event{at(0, one, discover), at(8, one, kernel, 9, 9), at(9, one, kernel, 9, 9)}, "1 0 0 0 0", 8},
		{"two nodes", []provisioning.Event{at(0, one, discover), at(1, two, discover), at(8, one, kernel, 9, 9), at(9, two, kernel, 9, 9)}, "2 0 0 0 0", 16},
		{"boots again at once", []provisioning.Event{at(0, one, discover), at(8, one, kernel, 9, 9), at(20, one, discover), at(25, one, kernel, 9, 9)}, "2 0 0 0 0", 13},
		{"an image, which asks for its script only", []provisioning.Event{at(0, one, script), at(2, one, kernel, 9, 9), at(60, one, script), at(63, one, kernel, 9, 9)}, "2 0 0 0 0", 5},
		{"refused again and again", []provisioning.Event{at(0, one, discover), at(1, one, refused), at(4, one, discover), at(5, one, refused)}, "0 0 1 0 0", 0},
		{"refused, and refused at its next boot", []provisioning.Event{at(0, one, discover), at(1, one, refused), at(100, one, discover), at(101, one, refused)}, "0 0 2 0 0", 0},
		{"held, then claimed", []provisioning.Event{at(0, one, discover), at(1, one, hold), at(40, one, script), at(50, one, kernel, 9, 9)}, "1 0 0 1 0", 50},
		{"failed", []provisioning.Event{at(0, one, discover), at(8, one, kernel, 9, 9), at(30, one, provisioning.StageFailed), at(30, one, discover), at(40, one, kernel, 9, 9)}, "2 0 0 0 1", 18},
		{"sent on", []provisioning.Event{at(0, one, discover), at(1, one, exit)}, "0 1 0 0 0", 0},
		{"of nobody known", []provisioning.Event{at(0, provisioning.MAC{}, kernel, 9, 9)}, "0 0 0 0 0", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			metrics := prometheus.NewRegistry()
			f := newFarm(metrics)
			for _, e := range tt.events {
				f.Hear(e)
			}
			counts := strings.Fields(tt.want)
			want := `# HELP farmboot_boots_total Boots that came to an end here, by outcome: started, exited (sent on to the next boot device), refused, held (waits to be claimed), failed (after it started).
# TYPE farmboot_boots_total counter
farmboot_boots_total{outcome="started"} ` + counts[0] + `
farmboot_boots_total{outcome="exited"} ` + counts[1] + `
farmboot_boots_total{outcome="refused"} ` + counts[2] + `
farmboot_boots_total{outcome="held"} ` + counts[3] + `
farmboot_boots_total{outcome="failed"} ` + counts[4] + "\n"
			if err := testutil.GatherAndCompare(metrics, strings.NewReader(want), "farmboot_boots_total"); err != nil {
				t.Error(err)
			}
			families, err := metrics.Gather()
			if err != nil {
				t.Fatal(err)
			}
			for _, family := range families {
				if family.GetName() == "farmboot_boot_duration_seconds" {
					if sum := family.GetMetric()[0].GetHistogram().GetSampleSum(); sum != tt.took {
						t.Errorf("boots took %v s, want %v", sum, tt.took)
					}
				}
			}
		})
	}
}

func newFarm(metrics prometheus.Registerer) *farm.Farm {
	return farm.New(farm.Config{
		Version: "v1", Now: func() time.Time { return noon }, Metrics: metrics,
		Registered: func(context.Context) (int, error) { return 43, nil },
		States: func(context.Context, time.Time) (map[story.State]int, error) {
			return map[story.State]int{story.Started: 3, story.Booted: 41, story.Stalled: 1}, nil
		},
		Kernels:        func() map[provisioning.RunMode]time.Time { return map[provisioning.RunMode]time.Time{"prod": noon} },
		CertificateEnd: func() time.Time { return noon.Add(time.Hour) },
	})
}

// TestGauges: what is looked up at each scrape.
func TestGauges(t *testing.T) {
	metrics := prometheus.NewRegistry()
	newFarm(metrics)
	want := `# HELP farmboot_certificate_expires_timestamp_seconds When the server's certificate ends, as Unix time.
# TYPE farmboot_certificate_expires_timestamp_seconds gauge
farmboot_certificate_expires_timestamp_seconds 1.7958708e+09
# HELP farmboot_kernel_modified_timestamp_seconds When the default kernel of a run mode was stored, as Unix time.
# TYPE farmboot_kernel_modified_timestamp_seconds gauge
farmboot_kernel_modified_timestamp_seconds{runmode="prod"} 1.7958672e+09
# HELP farmboot_nodes Nodes that booted here, registered or not, by the state of their last boot.
# TYPE farmboot_nodes gauge
farmboot_nodes{state="booted"} 41
farmboot_nodes{state="booting"} 0
farmboot_nodes{state="exited"} 0
farmboot_nodes{state="failed"} 0
farmboot_nodes{state="held"} 0
farmboot_nodes{state="ignored"} 0
farmboot_nodes{state="refused"} 0
farmboot_nodes{state="stalled"} 1
farmboot_nodes{state="started"} 3
# HELP farmboot_registered_nodes Registered nodes.
# TYPE farmboot_registered_nodes gauge
farmboot_registered_nodes 43
`
	if err := testutil.GatherAndCompare(metrics, strings.NewReader(want), "farmboot_certificate_expires_timestamp_seconds",
		"farmboot_kernel_modified_timestamp_seconds", "farmboot_nodes", "farmboot_registered_nodes"); err != nil {
		t.Error(err)
	}
}
