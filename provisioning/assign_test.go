package provisioning_test

import (
	"context"
	"testing"
	"time"

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

// TestNobodyWaitsForHisUseToBeNoted: while something long is written, whoever has a token
// gets in, and so does the next one.
func TestNobodyWaitsForHisUseToBeNoted(t *testing.T) {
	real := newStore(t)
	_, secret, err := provisioning.NewRegistry(real, provisioning.Rules{}, time.Now).AddToken(t.Context(), admin, provisioning.RoleAdmin, 0)
	if err != nil {
		t.Fatal(err)
	}
	s := &stuck{real, make(chan struct{})}
	r := provisioning.NewRegistry(s, provisioning.Rules{}, time.Now)
	for range 2 { // hangs if it waits
		if by, err := r.Authenticate(t.Context(), secret, "10.0.0.1"); err != nil || by.Role != provisioning.RoleAdmin {
			t.Errorf("%+v, %v", by, err)
		}
	}
	close(s.free)
}
