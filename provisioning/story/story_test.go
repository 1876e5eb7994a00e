package story_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"farmboot/provisioning"
	"farmboot/provisioning/storetest"
	"farmboot/provisioning/story"
)

var update = flag.Bool("update", false, "write golden files anew")

// TestStories tells the stories in testdata. A file has a heading, events, one
// a line (time, stage, and where it matters what it tells, bytes/size, duration and how
// many were held back, between bars), the line "now <time>", and below the line of dashes what is told of them.
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 20 {
		t.Fatalf("found %d stories, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			input, want, _ := strings.Cut(string(text), "----\n")
			events, now, err := parseStory(input)
			if err != nil {
				t.Fatal(err)
			}
			s := story.Tell(events, now)
			got := fmt.Sprintf("%s\n%s", s.State, s.Format(time.UTC))
			if *update {
				if err := os.WriteFile(file, []byte(input+"----\n"+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("story (-want +got):\n%s", diff)
			}
		})
	}
}

// parseStory reads the upper part of a file.
func parseStory(input string) (events []provisioning.Event, now time.Time, err error) {
	at := func(s string) (time.Time, error) {
		return time.Parse("2006-01-02 15:04:05", "2026-11-23 "+s)
	}
	for line := range strings.Lines(input) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		head, rest, _ := strings.Cut(line, "|")
		words := strings.Fields(head)
		if len(words) != 2 {
			return nil, now, fmt.Errorf("line %q is neither an event nor a time", line)
		}
		if words[0] == "now" {
			if now, err = at(words[1]); err != nil {
				return nil, now, err
			}
			continue
		}
		e := provisioning.Event{ID: int64(len(events) + 1), Stage: provisioning.Stage(words[1])}
		if e.At, err = at(words[0]); err != nil {
			return nil, now, err
		}
		fields := append(strings.Split(rest, "|"), "", "", "")
		if err := say(&e, strings.TrimSpace(fields[0])); err != nil {
			return nil, now, fmt.Errorf("line %q: %w", line, err)
		}
		if s := strings.TrimSpace(fields[1]); s != "" {
			if _, err := fmt.Sscanf(s, "%d/%d", &e.Bytes, &e.Size); err != nil {
				return nil, now, fmt.Errorf("line %q: %w", line, err)
			}
		}
		if s := strings.TrimSpace(fields[2]); s != "" {
			if e.Duration, err = time.ParseDuration(s); err != nil {
				return nil, now, err
			}
		}
		if s := strings.TrimSpace(fields[3]); s != "" {
			if e.Held, err = strconv.Atoi(s); err != nil {
				return nil, now, err
			}
		}
		events = append(events, e)
	}
	return events, now, nil
}

// say gives an event what it tells: a cause as JSON, a file, or words.
func say(e *provisioning.Event, text string) error {
	switch e.Stage {
	case provisioning.StageOffer, provisioning.StageBootServer, provisioning.StageNBP, provisioning.StageLoading, provisioning.StageKernel:
		e.File = text
	case provisioning.StageRefused, provisioning.StageFailed, provisioning.StageHold, provisioning.StageWait, provisioning.StageExit:
		return json.Unmarshal([]byte(text), &e.Cause)
	case provisioning.StageClaim:
		if strings.HasPrefix(text, "{") {
			return json.Unmarshal([]byte(text), &e.Cause)
		}
		e.Detail = text
	default:
		e.Detail, e.IPXE = text, strings.Contains(text, "iPXE")
	}
	return nil
}

// TestRepeats: what is one step, told several times, is decided by what events are, not by
// what is said of them.
func TestRepeats(t *testing.T) {
	at := storetest.Noon
	kernel := provisioning.Event{Stage: provisioning.StageKernel, File: "net/prod.efi", SHA256: "a", Bytes: 1, Size: 1, MAC: storetest.MAC(1)}
	other := kernel
	other.SHA256 = "b"
	var events []provisioning.Event
	for i, e := range []provisioning.Event{kernel, kernel, other} {
		e.ID, e.At = int64(i+1), at.Add(time.Duration(i)*time.Second)
		events = append(events, e)
	}
	steps := story.Tell(events, at.Add(time.Minute)).Steps
	if len(steps) != 2 || steps[0].Times != 2 || steps[1].Times != 1 {
		t.Errorf("%+v", steps)
	}
}

// TestStoryOfEventsInAnyOrder tells the same story of a boot's events backwards.
func TestStoryOfEventsInAnyOrder(t *testing.T) {
	text, err := os.ReadFile("testdata/uefi-booted.txt")
	if err != nil {
		t.Fatal(err)
	}
	input, _, _ := strings.Cut(string(text), "----\n")
	events, now, err := parseStory(input)
	if err != nil {
		t.Fatal(err)
	}
	var backwards []provisioning.Event
	for i := range events {
		backwards = append(backwards, events[len(events)-1-i])
	}
	if diff := cmp.Diff(story.Tell(events, now), story.Tell(backwards, now)); diff != "" {
		t.Errorf("story (-forwards +backwards):\n%s", diff)
	}
}

// BenchmarkTell tells the story of a boot with as many events as node show reads.
func BenchmarkTell(b *testing.B) {
	var events []provisioning.Event
	for i := range 500 {
		events = append(events, provisioning.Event{ID: int64(i), At: storetest.Noon.Add(time.Duration(i) * time.Second), MAC: storetest.MAC(1), Stage: provisioning.StageDiscover})
	}
	for b.Loop() {
		story.Tell(events, storetest.Noon)
	}
}
