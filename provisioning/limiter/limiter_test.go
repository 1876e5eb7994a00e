package limiter_test

import (
	"testing"
	"time"

	"farmboot/provisioning/limiter"
)

// TestKeyed checks that each key has a limit of its own, which time gives back, and that a
// key in use is remembered while many others come and are forgotten.
func TestKeyed(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	const burst, most, stubborn = 3, 100, -1
	l := limiter.New[int](burst, time.Minute, most)
	for i := range burst {
		if l.Exhausted(stubborn, now) || !l.Allow(stubborn, now) {
			t.Fatalf("number %d of %d is refused", i+1, burst)
		}
	}
	for key := range 5 * most {
		if l.Exhausted(key, now) || !l.Allow(key, now) {
			t.Fatalf("key %d is refused its first", key)
		}
		if !l.Exhausted(stubborn, now) || l.Allow(stubborn, now) {
			t.Fatalf("the exhausted key was forgotten when key %d came", key)
		}
	}
	if later := now.Add(time.Minute); l.Exhausted(stubborn, later) || !l.Allow(stubborn, later) || l.Allow(stubborn, later) {
		t.Error("a minute does not give back exactly one")
	}
}

// TestKeyedForgets checks that keys beyond the bound are forgotten, the one that was not
// used for longest first.
func TestKeyedForgets(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	l := limiter.New[string](1, time.Hour, 2)
	for _, key := range []string{"a", "b", "c"} {
		l.Allow(key, now)
	}
	for key, want := range map[string]bool{"a": false, "b": true, "c": true} {
		if got := l.Exhausted(key, now); got != want {
			t.Errorf("Exhausted(%q) = %t, want %t", key, got, want)
		}
	}
}
