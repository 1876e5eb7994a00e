package main

import (
	"slices"
	"time"
)

// contender is one of the programs that take turns.
type contender func() (sample, error)

// sample is what a round gives: any number of named measurements.
type sample map[string]float64

// medians are those of each measurement over all rounds.
type medians map[string]float64

// compare lets contenders take turns for so many rounds, after one that does not
// count, and returns the medians of each. Who begins changes from round to round.
func compare(rounds int, contenders ...contender) ([]medians, error) {
	all := make([]map[string][]float64, len(contenders))
	for i := range all {
		all[i] = make(map[string][]float64)
	}
	for round := range rounds + 1 {
		for turn := range contenders {
			i := (turn + round) % len(contenders)
			got, err := contenders[i]()
			if err != nil {
				return nil, err
			}
			if round == 0 {
				continue
			}
			for name, v := range got {
				all[i][name] = append(all[i][name], v)
			}
		}
	}
	result := make([]medians, len(contenders))
	for i, measurements := range all {
		result[i] = make(medians)
		for name, values := range measurements {
			result[i][name] = quantile(values, 0.5)
		}
	}
	return result, nil
}

// quantile returns the value below which the fraction q of all values lies. It
// sorts them.
func quantile[T ~int64 | ~float64](values []T, q float64) T {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[min(int(q*float64(len(values))), len(values)-1)]
}

func inMicros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func inMillis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
