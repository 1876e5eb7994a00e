package lru_test

import (
	"math/rand/v2"
	"slices"
	"testing"

	"farmboot/provisioning/lru"
)

// TestMap does at random what a map does that is as simple as can be, and finds the same.
func TestMap(t *testing.T) {
	const most = 8
	m := lru.New[int, int](most)
	values, order := map[int]int{}, []int{} // last used at the end
	use := func(key int) {
		order = append(slices.DeleteFunc(order, func(k int) bool { return k == key }), key)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for step := range 100_000 {
		key := random.IntN(2 * most)
		switch random.IntN(4) {
		case 0:
			m.Delete(key)
			delete(values, key)
			order = slices.DeleteFunc(order, func(k int) bool { return k == key })
		case 1:
			m.Put(key, step)
			values[key] = step
			use(key)
			if len(order) > most {
				delete(values, order[0])
				order = order[1:]
			}
		default:
			got, ok := m.Get(key)
			want, is := values[key]
			if got != want || ok != is {
				t.Fatalf("step %d: Get(%d) = %d, %t, want %d, %t", step, key, got, ok, want, is)
			}
			if is {
				use(key)
			}
		}
	}
}

func TestPuttingAgainTakesNoMemory(t *testing.T) {
	m := lru.New[int, [4]int](100)
	next := 0
	if n := testing.AllocsPerRun(1000, func() { m.Put(next%100, [4]int{next}); next++ }); n > 0.5 {
		t.Errorf("a Put takes %.1f pieces of memory", n)
	}
}
