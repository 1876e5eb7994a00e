package provisioning_test

import (
	"context"
	"testing"

	"farmboot/provisioning"
)

// stuck is a store whose writer is busy for as long as the test wants.
type stuck struct {
	provisioning.Store
	free chan struct{}
}

// UpdateLazily does not look at its context, as a database that is locked does not.
func (s *stuck) UpdateLazily(ctx context.Context, fn func(provisioning.Tx) error) error {
	<-s.free
	return s.Store.UpdateLazily(context.WithoutCancel(ctx), fn)
}

// TestNobodyWaitsForAClaimCode longer than for a moment: it comes with a later question.
func TestNobodyWaitsForAClaimCode(t *testing.T) {
	s := &stuck{newStore(t), make(chan struct{})}
	a := provisioning.NewAssigner(s, provisioning.Unknown{Policy: provisioning.Hold}, (&clock{}).now)
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
