package recorder_test

import (
	"testing"

	"farmboot/provisioning"
	"farmboot/provisioning/storetest"
)

// TestMachineWithoutUUID: iPXE says zeros of a machine that has none.
func TestMachineWithoutUUID(t *testing.T) {
	const none = "00000000-0000-0000-0000-000000000000"
	s, c := storetest.SQLite(t), &clock{storetest.Noon}
	r := run(t, s, c.now)
	r.Record(provisioning.Event{MAC: storetest.MAC(1), Stage: provisioning.StageScript, Machine: provisioning.Machine{Arch: "BIOS", UUID: none}})
	r.Record(provisioning.Event{MAC: storetest.MAC(2), Stage: provisioning.StageDiscover, Machine: provisioning.Machine{UUID: "4c4c4544"}})
	r.Record(provisioning.Event{MAC: storetest.MAC(2), Stage: provisioning.StageScript, Machine: provisioning.Machine{UUID: none}})
	r.stop()
	for n, want := range map[int]string{1: "", 2: "4c4c4544"} {
		if d, err := s.Seen(t.Context(), storetest.MAC(n)); err != nil || d.UUID != want {
			t.Errorf("machine %d has UUID %q, %v; want %q", n, d.UUID, err, want)
		}
	}
}
