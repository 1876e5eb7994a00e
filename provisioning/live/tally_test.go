package live_test

import (
	"errors"
	"maps"
	"testing"

	"farmboot/provisioning"
	"farmboot/provisioning/live"
	"farmboot/provisioning/story"
)

// TestTally counts what happened since it was asked last, and subscribes to nothing.
func TestTally(t *testing.T) {
	s := &source{}
	tally := live.NewTally(s.events)
	wants := func(second int, want map[story.State]int) {
		t.Helper()
		got, err := tally.States(t.Context(), at(second))
		if err != nil || !maps.Equal(got, want) {
			t.Errorf("after %d s: %v, %v, want %v", second, got, err, want)
		}
	}
	one, two := provisioning.MAC{2, 0, 0, 0, 0, 1}, provisioning.MAC{2, 0, 0, 0, 0, 2}
	wants(0, map[story.State]int{})
	s.add(false, provisioning.Event{At: at(1), MAC: one, Stage: provisioning.StageDiscover})
	s.add(false, provisioning.Event{At: at(1), MAC: two, Stage: provisioning.StageDiscover})
	wants(2, map[story.State]int{story.Booting: 2})
	s.add(false, provisioning.Event{At: at(3), MAC: one, Stage: provisioning.StageKernel, File: "net/prod.efi", Bytes: 9, Size: 9})
	wants(4, map[story.State]int{story.Booting: 1, story.Started: 1})
	s.failing = errors.New("the store is away")
	if _, err := tally.States(t.Context(), at(5)); !errors.Is(err, s.failing) {
		t.Errorf("without a store: %v", err)
	}
	s.failing = nil
	s.add(false, provisioning.Event{At: at(6), MAC: one, Stage: provisioning.StageUp})
	wants(7, map[story.State]int{story.Booting: 1, story.Booted: 1})
	if s.watched != 0 || s.news != nil {
		t.Error("it follows events")
	}
}
