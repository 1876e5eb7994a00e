package pages_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"farmboot/provisioning"
)

// BenchmarkPages renders the pages that tell of all nodes, for a farm of 5,000 and
// for one of 100,000; as many have booted as the board remembers.
func BenchmarkPages(b *testing.B) {
	for _, nodes := range []int{5_000, 100_000} {
		b.Run(fmt.Sprint(nodes), func(b *testing.B) {
			bench := newAdminBench(b)
			bench.farm(b, nodes)
			for _, target := range []string{
				"/admin", "/admin?page=9", "/admin?state=attention", "/admin?state=quiet", "/admin?q=rack-7",
				"/admin/board/rows?mac=" + macOf(7).String(),
				"/admin/nodes", "/admin/nodes?page=25", "/admin/nodes?farmer=7", "/admin/nodes?q=rack-7", "/admin/farmers",
			} {
				b.Run(target, func(b *testing.B) {
					for b.Loop() {
						req := httptest.NewRequest("GET", "https://appliance.example"+target, nil)
						req.AddCookie(bench.cookie)
						w := httptest.NewRecorder()
						bench.plane.ServeHTTP(w, req)
						if w.Code != 200 {
							b.Fatal(w.Code)
						}
					}
				})
			}
		})
	}
}

// farm registers so many nodes of 50 farmers, and boots up to 20,000 of them.
func (b *adminBench) farm(t testing.TB, nodes int) {
	t.Helper()
	const farmers = 50
	err := b.store.Update(t.Context(), func(tx provisioning.Tx) error {
		for i := range farmers {
			if err := tx.PutFarmer(context.Background(), provisioning.Farmer{ID: provisioning.FarmerID(i + 1)}); err != nil {
				return err
			}
		}
		for i := range nodes {
			n := provisioning.Node{
				MAC: macOf(i), Farmer: provisioning.FarmerID(i%farmers + 1), RunMode: "prod", Name: fmt.Sprintf("rack-%d-%02d", i/40, i%40),
			}
			if err := tx.PutNode(context.Background(), n); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	b.bootAll(t, min(nodes, 20_000))
}

// bootAll boots so many machines, one a second ago, one two, and so on.
func (b *adminBench) bootAll(t testing.TB, nodes int) {
	t.Helper()
	now := b.now.Now()
	for i := range nodes / 100 { // as many at a time as the recorder's queue holds
		var boots []provisioning.Event
		for j := range 100 {
			k := i*100 + j
			boots = append(boots, bootOf(macOf(k), now.Add(-time.Duration(k)*time.Second), 5+k%4)...)
		}
		b.play(t, boots...)
	}
}
