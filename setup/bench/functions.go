package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// goBenchmark is a line that "go test -bench -benchmem" printed.
type goBenchmark struct {
	name   string
	nanos  float64
	allocs string
}

// benchFunctions runs the Go benchmarks of what is done for a node, without any
// network, and shows time and allocations.
func benchFunctions(ctx context.Context, _ *site, rep *report) error {
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^Benchmark(Image|Offer|OfferWithLibrary)$",
		"-benchmem", "-benchtime", "200ms", "./ipxe/catalog", "./dhcp")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("go test: %w: %s", err, out)
	}
	found := parseBenchmarks(out)
	var library goBenchmark
	for _, b := range found {
		if b.name == "OfferWithLibrary" {
			library = b
		}
	}
	for _, b := range found {
		switch b.name {
		case "OfferWithLibrary":
		case "Offer":
			rep.add(row{what: "DISCOVER to OFFER, bytes to bytes", unit: micros, ours: b.nanos / 1000, beside: library.nanos / 1000, peer: "insomniacslk/dhcp's codec"})
		default:
			rep.add(row{what: b.name, unit: micros, ours: b.nanos / 1000, peer: b.allocs + " allocations"})
		}
	}
	return nil
}

// parseBenchmarks reads lines such as
//
//	BenchmarkImage/iso-2   120   9876 ns/op   512 B/op   7 allocs/op
func parseBenchmarks(out []byte) []goBenchmark {
	var all []goBenchmark
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		b := goBenchmark{name: strings.TrimPrefix(fields[0], "Benchmark")}
		if at := strings.LastIndexByte(b.name, '-'); at > 0 {
			b.name = b.name[:at]
		}
		for i := 2; i+1 < len(fields); i += 2 {
			switch fields[i+1] {
			case "ns/op":
				b.nanos, _ = strconv.ParseFloat(fields[i], 64)
			case "allocs/op":
				b.allocs = fields[i]
			}
		}
		all = append(all, b)
	}
	return all
}
