package boots_test

import (
	"testing"
	"time"

	"farmboot/provisioning"
	"farmboot/provisioning/boots"
	"farmboot/provisioning/storetest"
)

// BenchmarkAdd is what an event of a farm that powers on costs: a DISCOVER and an OFFER of
// each of 10,000 machines, in turns.
func BenchmarkAdd(b *testing.B) {
	open := boots.NewOpen(4096)
	const batch, machines = 2048, 10000
	id, events := int64(0), make([]provisioning.Event, batch)
	for b.Loop() {
		for i := range events {
			id++
			e := provisioning.Event{ID: id, At: storetest.Noon.Add(time.Duration(id) * time.Millisecond), MAC: storetest.MAC(int(id/2) % machines), Stage: provisioning.StageDiscover, Detail: "BIOS, PXEClient"}
			if id%2 == 1 {
				e.Stage, e.Detail, e.File = provisioning.StageOffer, "", "undionly.kpxe"
			}
			events[i] = e
		}
		open.Keep(open.Add(boots.Pack(events)))
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch), "ns/event")
}
