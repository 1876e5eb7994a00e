package sqlite_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"farmboot/provisioning"
	"farmboot/provisioning/storetest"
)

// BenchmarkNode looks a node up by MAC address, as every boot does. Compare the
// sizes: the look-up among a million should take at most 1.3 times as long.
//
//	go test -bench Node -benchtime 2s ./provisioning/sqlite
func BenchmarkNode(b *testing.B) {
	for _, size := range []int{1_000, 1_000_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			ctx := b.Context()
			s := open(b, filepath.Join(b.TempDir(), "provisioning.db"))
			err := s.UpdateUnsynced(ctx, func(tx provisioning.Tx) error {
				for i := range size {
					if err := tx.PutNode(ctx, provisioning.Node{MAC: storetest.MAC(i), RunMode: "prod"}); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
			i := 0
			for b.Loop() {
				i = (i + 7919) % size
				if _, err := s.Node(ctx, storetest.MAC(i)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
