package lan

import (
	"context"
	"log/slog"
	"runtime"
	"testing"

	"farmboot/setup"
)

// slowToTell is a context whose functions of [context.AfterFunc] do not run: for a moment
// after its end every context is like that.
type slowToTell struct{ context.Context }

func (slowToTell) AfterFunc(func()) (stop func() bool) { return func() bool { return true } }

// Value hides that it is another context, which would be asked in its place.
func (slowToTell) Value(any) any { return nil }

// TestWatcherStops: whatever else learns of it, and when.
func TestWatcherStops(t *testing.T) {
	w, err := Open(setup.Default(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- w.Run(slowToTell{ctx}) }()
	w.changes <- struct{}{}
	for len(w.changes) > 0 { // until it runs
		runtime.Gosched()
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
