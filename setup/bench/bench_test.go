package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestContendersTakeTurns(t *testing.T) {
	var turns []string
	n := 0.0
	got, err := compare(2,
		func() (sample, error) { turns = append(turns, "a"); n++; return sample{"n": n}, nil },
		func() (sample, error) { turns = append(turns, "b"); return sample{"n": 7}, nil })
	if err != nil {
		t.Fatal(err)
	}
	if order := strings.Join(turns, ""); order != "abbaab" {
		t.Errorf("took turns as %s", order)
	}
	if diff := cmp.Diff([]medians{{"n": 3}, {"n": 7}}, got); diff != "" {
		t.Errorf("medians (-want +got):\n%s", diff)
	}
}

func TestContenderFails(t *testing.T) {
	broken := errors.New("it ended")
	if _, err := compare(3, func() (sample, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Errorf("error = %v", err)
	}
}

func TestQuantile(t *testing.T) {
	values := []float64{5, 1, 4, 2, 3}
	for q, want := range map[float64]float64{0: 1, 0.5: 3, 0.99: 5, 1: 5} {
		if got := quantile(slices.Clone(values), q); got != want {
			t.Errorf("quantile %v = %v, want %v", q, got, want)
		}
	}
	if got := quantile([]float64{}, 0.5); got != 0 {
		t.Errorf("quantile of nothing = %v", got)
	}
}

func TestRemarks(t *testing.T) {
	for _, c := range []struct {
		row  row
		want string
	}{
		{row{unit: megabytesPerSecond, ours: 200, beside: 100, peer: "nginx"}, "nginx: ahead"},
		{row{unit: megabytesPerSecond, ours: 100, beside: 200, peer: "nginx"}, "nginx: behind"},
		{row{unit: micros, ours: 100, beside: 200, peer: "nginx"}, "nginx: ahead"},
		{row{unit: micros, ours: 100, beside: 102, peer: "nginx"}, "nginx: level"},
		{row{unit: micros, ours: 100}, ""},
		{row{unit: millis, ours: 100, goal: 200}, "goal 200 ms met"},
		{row{unit: millis, ours: 300, beside: 100, peer: "dnsmasq", goal: 200}, "dnsmasq: goal 200 ms MISSED"},
		{row{unit: count, ours: 1000, goal: 1000}, "goal 1000 met"},
		{row{unit: count, ours: 999, goal: 1000}, "goal 1000 MISSED"},
		{row{unit: micros, ours: 120, beside: 100, goal: 1.3, ratio: true}, "goal 1.30 met"},
		{row{unit: micros, ours: 140, beside: 100, goal: 1.3, ratio: true}, "goal 1.30 MISSED"},
	} {
		if got := c.row.remark(); got != c.want {
			t.Errorf("%+v: remark %q, want %q", c.row, got, c.want)
		}
	}
}

func TestDecimal(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.0421: "0.0421", 1: "1.00", 45.67: "45.7", 123.4: "123", 98765.4: "98765"} {
		if got := decimal(v); got != want {
			t.Errorf("decimal(%v) = %s, want %s", v, got, want)
		}
	}
}

func TestReportIsOneTable(t *testing.T) {
	var out bytes.Buffer
	r := newReport(&out)
	r.section("downloads")
	r.add(row{what: "a kernel", unit: megabytesPerSecond, ours: 3, beside: 2, peer: "nginx"})
	r.add(row{what: "an image", unit: micros, ours: 50})
	if err := r.finish(); err != nil {
		t.Fatal(err)
	}
	width := 0
	for line := range strings.Lines(out.String()) {
		if !strings.HasPrefix(line, "|") {
			continue
		}
		if n := len([]rune(line)); width == 0 {
			width = n
		} else if n != width {
			t.Errorf("%d characters, others have %d: %s", n, width, line)
		}
	}
	if !strings.Contains(out.String(), "|     3.00 MB/s |     2.00 MB/s |   1.50 | nginx: ahead ") {
		t.Errorf("no row of the kernel in:\n%s", out.String())
	}
}

func TestParseBenchmarks(t *testing.T) {
	got := parseBenchmarks([]byte("goos: linux\nBenchmarkImage/krn-generic-2  100  1500 ns/op  512 B/op  7 allocs/op\nBenchmarkTransfer/windowsize=4-2  10  2.5 ns/op  9 MB/s\nPASS\n"))
	want := []goBenchmark{{"Image/krn-generic", 1500, "7"}, {"Transfer/windowsize=4", 2.5, ""}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(goBenchmark{})); diff != "" {
		t.Errorf("parseBenchmarks (-want +got):\n%s", diff)
	}
}

func TestOfferIsKnownByItsMachine(t *testing.T) {
	m := discover(42)
	if _, ok := offered(m); ok {
		t.Error("a DISCOVER counts as an offer")
	}
	m[0], m[242] = 2, 2
	if n, ok := offered(m); !ok || n != 42 {
		t.Errorf("the offer is for machine %d, %v", n, ok)
	}
	if mac := binary.BigEndian.Uint32(m[30:]); mac != 42 {
		t.Errorf("MAC address of machine 42 ends in %x", mac)
	}
}

func TestTFTPOptions(t *testing.T) {
	o := tftpOrder{file: "ipxe.efi", block: 1428, window: 4}
	if got := string(o.request()); got != "\x00\x01ipxe.efi\x00octet\x00tsize\x000\x00blksize\x001428\x00windowsize\x004\x00" {
		t.Errorf("request %q", got)
	}
	if block, window := agreed([]byte("tsize\x0099\x00blksize\x001024\x00")); block != 1024 || window != 1 {
		t.Errorf("agreed on blocks of %d and windows of %d", block, window)
	}
}
