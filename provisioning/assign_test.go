package provisioning_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"farmboot/provisioning"
	"farmboot/provisioning/sqlite"
	"farmboot/provisioning/storetest"
)

// stuck is a store whose writer is busy for as long as the test wants.
type stuck struct {
	provisioning.Store
	free chan struct{}
}

// UpdateUnsynced does not look at its context, as a database that is locked does not.
func (s *stuck) UpdateUnsynced(ctx context.Context, fn func(provisioning.Tx) error) error {
	<-s.free
	return s.Store.UpdateUnsynced(context.WithoutCancel(ctx), fn)
}

// TestNobodyWaitsForAClaimCode longer than for a moment: it comes with a later question.
func TestNobodyWaitsForAClaimCode(t *testing.T) {
	s := &stuck{storetest.SQLite(t), make(chan struct{})}
	a := provisioning.NewAssigner(s, provisioning.Unknown{Policy: provisioning.Hold}, time.Now)
	mac := provisioning.MAC{2, 0, 0, 0, 0, 1}
	as, err := a.Admit(t.Context(), mac) // hangs if it waits
	if err != nil || as.Policy != provisioning.Hold || as.Code != "" {
		t.Errorf("while nothing can be written: %+v, %v", as, err)
	}
	close(s.free)
	for as.Code == "" {
		if as, err = a.Admit(t.Context(), mac); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAssignment(t *testing.T) {
	s, ctx := storetest.SQLite(t), t.Context()
	n := provisioning.Node{MAC: storetest.MAC(1), RunMode: "prod", Name: "one", Created: storetest.Noon, Updated: storetest.Noon}
	if err := s.Update(ctx, func(tx provisioning.Tx) error { return tx.PutNode(ctx, n) }); err != nil {
		t.Fatal(err)
	}
	for _, policy := range []provisioning.Policy{provisioning.Boot, provisioning.Hold, provisioning.Exit, provisioning.Ignore} {
		a := provisioning.NewAssigner(s, provisioning.Unknown{Policy: policy, RunMode: "test", Farmer: 9, Args: "x"}, time.Now)
		got, err := a.Assignment(ctx, storetest.MAC(1))
		want := provisioning.Assignment{Policy: provisioning.Boot, Registered: true, Node: n}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: registered, %v (-want +got):\n%s", policy, err, diff)
		}
		got, err = a.Assignment(ctx, storetest.MAC(2))
		want = provisioning.Assignment{Policy: policy, Node: provisioning.Node{MAC: storetest.MAC(2)}}
		if policy == provisioning.Boot {
			want.Node.RunMode, want.Node.Farmer, want.Node.Args = "test", 9, "x"
		}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: unregistered, %v (-want +got):\n%s", policy, err, diff)
		}
	}
}

// TestRecall: what was looked up is known at once until a node changes, and what is then
// recalled is what a look-up would find.
func TestRecall(t *testing.T) {
	s, ctx := storetest.SQLite(t), t.Context()
	a := provisioning.NewAssigner(s, provisioning.Unknown{Policy: provisioning.Hold}, time.Now)
	put := func(mode provisioning.RunMode) {
		t.Helper()
		if err := s.Update(ctx, func(tx provisioning.Tx) error {
			return tx.PutNode(ctx, provisioning.Node{MAC: storetest.MAC(1), RunMode: mode})
		}); err != nil {
			t.Fatal(err)
		}
	}
	for _, mode := range []provisioning.RunMode{"prod", "test"} {
		put(mode)
		for _, mac := range []provisioning.MAC{storetest.MAC(1), storetest.MAC(2)} {
			if as, ok := a.Recall(mac); ok {
				t.Errorf("%s: nobody looked %s up, and it gets %+v", mode, mac, as)
			}
			want, err := a.Assignment(ctx, mac)
			if err != nil {
				t.Fatal(err)
			}
			got, ok := a.Recall(mac)
			if diff := cmp.Diff(want, got); diff != "" || !ok {
				t.Errorf("%s: %s, %t (-want +got):\n%s", mode, mac, ok, diff)
			}
		}
	}
	a.SetUnknown(provisioning.Unknown{Policy: provisioning.Exit})
	if got, ok := a.Recall(storetest.MAC(2)); !ok || got.Policy != provisioning.Exit {
		t.Errorf("an unknown one gets %s, %t", got.Policy, ok)
	}
}

// TestAFloodPushesNoNodeOut: nodes get what they got last when the store fails, however
// many made-up MAC addresses were asked for in between.
func TestAFloodPushesNoNodeOut(t *testing.T) {
	s, ctx := storetest.SQLite(t), t.Context()
	n := provisioning.Node{MAC: storetest.MAC(1), RunMode: "prod"}
	if err := s.Update(ctx, func(tx provisioning.Tx) error { return tx.PutNode(ctx, n) }); err != nil {
		t.Fatal(err)
	}
	a := provisioning.NewAssigner(s, provisioning.Unknown{Policy: provisioning.Hold}, time.Now)
	for i := range 25_000 {
		if _, err := a.Assignment(ctx, storetest.MAC(1+i)); err != nil {
			t.Fatal(err)
		}
	}
	if got := a.LastKnown(n.MAC); !got.Registered || got.Node.RunMode != "prod" {
		t.Errorf("the node gets %+v", got)
	}
}

func TestAssignmentTellsOfAFailingStore(t *testing.T) {
	s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "p.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	a := provisioning.NewAssigner(s, provisioning.Unknown{Policy: provisioning.Boot}, time.Now)
	if got, err := a.Assignment(t.Context(), storetest.MAC(1)); err == nil {
		t.Errorf("a closed store says %+v", got)
	}
}
