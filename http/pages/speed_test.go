package pages_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"farmboot/provisioning"
)

// BenchmarkPages renders the board and the list of a farm of 5,000 nodes, each of
// which has booted.
func BenchmarkPages(b *testing.B) {
	bench := newAdminBench(b)
	const nodes = 5000
	now := bench.now.Now()
	err := bench.store.Update(b.Context(), func(tx provisioning.Tx) error {
		for i := range nodes {
			n := provisioning.Node{MAC: macOf(i), Farmer: 0, RunMode: "prod", Name: fmt.Sprintf("rack-%d-%02d", i/40, i%40)}
			if err := tx.PutNode(context.Background(), n); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	for i := range nodes / 100 { // as many at a time as the recorder's queue holds
		var boots []provisioning.Event
		for j := range 100 {
			k := i*100 + j
			boots = append(boots, bootOf(macOf(k), now.Add(-time.Duration(k)*time.Second), 5+k%4)...)
		}
		bench.play(b, boots...)
	}
	for _, target := range []string{"/admin", "/admin?state=attention", "/admin/board/rows?mac=" + macOf(7).String(), "/admin/nodes"} {
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
}
