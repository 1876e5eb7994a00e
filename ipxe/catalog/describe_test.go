package catalog

import (
	"fmt"
	"testing"
)

func TestSums(t *testing.T) {
	var s sums
	computed := 0
	ask := func(n int) string {
		return s.of(fmt.Sprint("tag ", n), func() string { computed++; return fmt.Sprint("sum ", n) })
	}
	for n := range 3 * maxSums {
		for range 2 {
			if got, want := ask(n), fmt.Sprint("sum ", n); got != want {
				t.Fatalf("%s, want %s", got, want)
			}
		}
		if len(s.known) > maxSums {
			t.Fatalf("%d digests are remembered, at most %d may be", len(s.known), maxSums)
		}
	}
	if computed != 3*maxSums {
		t.Errorf("%d digests were computed for %d files", computed, 3*maxSums)
	}
}
