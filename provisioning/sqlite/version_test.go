package sqlite_test

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"farmboot/provisioning"
	"farmboot/provisioning/boots"
	"farmboot/provisioning/storetest"
)

// TestNoAssignmentIsStale: what another process has registered is known to the very next
// question, though the same was asked before, and though we store events meanwhile, which
// is no reason to ask again.
func TestNoAssignmentIsStale(t *testing.T) {
	file := filepath.Join(t.TempDir(), "p.db")
	s := open(t, file)
	a := provisioning.NewAssigner(s, provisioning.Unknown{Policy: provisioning.Hold}, time.Now)
	writer := exec.Command(os.Args[0])
	writer.Env = append(os.Environ(), writerFile+"="+file)
	writer.Stderr = os.Stderr
	out, err := writer.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := writer.Start(); err != nil {
		t.Fatal(err)
	}
	written := make(chan struct{})
	var events sync.WaitGroup
	events.Go(func() {
		for {
			select {
			case <-written:
				return
			default:
			}
			err := s.UpdateUnsynced(t.Context(), func(tx provisioning.Tx) error {
				return boots.AddEvents(t.Context(), tx, []provisioning.Event{{At: storetest.Noon, Stage: provisioning.StageScript}})
			})
			if err != nil {
				t.Error(err)
				return
			}
		}
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		n, err := strconv.Atoi(lines.Text())
		if err != nil {
			t.Fatal(err)
		}
		for ahead := range 4 { // those that will come: they are remembered as unknown
			as, err := a.Assignment(t.Context(), storetest.MAC(n+ahead))
			if err != nil || ahead == 0 && !as.Registered {
				t.Fatalf("node %d, acknowledged: %+v, %v", n, as, err)
			}
		}
	}
	close(written)
	events.Wait()
	if err := writer.Wait(); err != nil {
		t.Fatal(err)
	}
}

// TestDecisionsVersion goes up with what changes nodes or is in the history, and only with
// that, as far as we write.
func TestDecisionsVersion(t *testing.T) {
	file := filepath.Join(t.TempDir(), "p.db")
	s, other := open(t, file), open(t, file)
	version := func() uint64 {
		t.Helper()
		v := s.DecisionsVersion()
		if v == 0 {
			t.Fatal("there is no version")
		}
		return v
	}
	put := func(tx provisioning.Tx) error {
		return tx.PutNode(t.Context(), provisioning.Node{MAC: storetest.MAC(1), RunMode: "prod"})
	}
	event := func(tx provisioning.Tx) error {
		return boots.AddEvents(t.Context(), tx, []provisioning.Event{{At: storetest.Noon, Stage: provisioning.StageScript}})
	}
	last := version()
	for _, step := range []struct {
		what    string
		do      func() error
		changes bool
	}{
		{"nothing", func() error { return nil }, false},
		{"a node, by us", func() error { return s.Update(t.Context(), put) }, true},
		{"an event, by us", func() error { return s.UpdateUnsynced(t.Context(), event) }, false},
		{"events, by us, until the log begins anew", func() error {
			for range 3000 {
				if err := s.UpdateUnsynced(t.Context(), event); err != nil {
					return err
				}
			}
			return nil
		}, false},
		{"a node, unsynced", func() error { return s.UpdateUnsynced(t.Context(), put) }, true},
		{"a line of the history", func() error {
			return s.Update(t.Context(), func(tx provisioning.Tx) error {
				return tx.AddChange(t.Context(), provisioning.Change{At: storetest.Noon, Subject: "canary prod"})
			})
		}, true},
		{"a node, by somebody else", func() error { return other.Update(t.Context(), put) }, true},
		{"a node is gone", func() error {
			return other.Update(t.Context(), func(tx provisioning.Tx) error { return tx.DeleteNode(t.Context(), storetest.MAC(1)) })
		}, true},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		now := version()
		if (now != last) != step.changes {
			t.Errorf("%s: the version was %d, and is %d", step.what, last, now)
		}
		last = now
	}
}

// TestDecisionsVersionWhileEventsAreStored: who asks at any moment of a commit of ours sees
// that no decision has changed.
func TestDecisionsVersionWhileEventsAreStored(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "p.db"))
	first := s.DecisionsVersion()
	stored := make(chan struct{})
	var asks sync.WaitGroup
	asks.Go(func() {
		for {
			select {
			case <-stored:
				return
			default:
			}
			if now := s.DecisionsVersion(); now != first {
				t.Errorf("the version was %d, and is %d", first, now)
				return
			}
		}
	})
	for range 2000 {
		err := s.UpdateUnsynced(t.Context(), func(tx provisioning.Tx) error {
			return boots.AddEvents(t.Context(), tx, []provisioning.Event{{At: storetest.Noon, Stage: provisioning.StageScript}})
		})
		if err != nil {
			t.Error(err)
			break
		}
	}
	close(stored)
	asks.Wait()
}
