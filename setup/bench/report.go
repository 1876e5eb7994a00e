package main

import (
	"fmt"
	"io"
	"math"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// unit is what a row is measured in, and which way is better.
type unit struct {
	name string
	more bool // more is better
}

var (
	megabytesPerSecond = unit{"MB/s", true}
	perSecond          = unit{"/s", true}
	count              = unit{"", true}
	micros             = unit{"µs", false}
	millis             = unit{"ms", false}
	megabytes          = unit{"MB", false}
	kilobytes          = unit{"KB", false}
	cpuPerGB           = unit{"CPU ms/GB", false}
)

// row is one line of the report: what was measured, of us and of another.
type row struct {
	what   string
	unit   unit
	ours   float64
	beside float64 // 0: nothing to compare with
	peer   string  // what beside is
	goal   float64 // of ours, or of the ratio with goalIsRatio; 0: none
	ratio  bool    // goal is one for the ratio
}

// report prints rows as a table, each as soon as it is known.
type report struct {
	out   io.Writer
	begun time.Time
	err   error
}

const layout = "| %-54s | %13s | %13s | %6s | %-42s |\n"

func newReport(out io.Writer) *report {
	r := &report{out: out, begun: time.Now()}
	r.printf("Farmboot, %s, %d cores, %s/%s\n\n", r.begun.Format(time.DateOnly), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH)
	r.printf(layout, "measured (medians)", "farmboot", "beside", "ratio", "beside what, and who is ahead")
	r.printf("|%s|\n", strings.Join([]string{dashes(56), dashes(14) + ":", dashes(14) + ":", dashes(7) + ":", dashes(44)}, "|"))
	return r
}

func dashes(n int) string { return strings.Repeat("-", n) }

func (r *report) printf(format string, args ...any) {
	if _, err := fmt.Fprintf(r.out, format, args...); err != nil && r.err == nil {
		r.err = err
	}
}

func (r *report) section(name string) { r.printf(layout, "**"+name+"**", "", "", "", "") }

// add prints a row.
func (r *report) add(w row) {
	beside, ratio := "", ""
	if w.beside != 0 {
		beside, ratio = quantity(w.beside, w.unit), decimal(w.ours/w.beside)
	}
	r.printf(layout, w.what, quantity(w.ours, w.unit), beside, ratio, w.remark())
}

func (r *report) finish() error {
	r.printf("\n%d s. The ratio is farmboot's number divided by the other one.\n", int(time.Since(r.begun).Seconds()))
	return r.err
}

// remark says in words what the numbers are beside, and how they compare.
func (w row) remark() string {
	var parts []string
	if w.peer != "" {
		parts = append(parts, w.peer)
	}
	switch {
	case w.goal != 0:
		parts = append(parts, w.verdict())
	case w.beside != 0:
		parts = append(parts, w.comparison())
	}
	return strings.Join(parts, ": ")
}

// verdict holds a row against its goal.
func (w row) verdict() string {
	value, goal := w.ours, fmt.Sprintf("goal %s", quantity(w.goal, w.unit))
	if w.ratio {
		value, goal = w.ours/w.beside, fmt.Sprintf("goal %s", decimal(w.goal))
	}
	if value == w.goal || value > w.goal == w.unit.more {
		return goal + " met"
	}
	return goal + " MISSED"
}

// comparison says who is ahead; a twentieth is noise.
func (w row) comparison() string {
	gain := w.ours / w.beside
	if !w.unit.more {
		gain = 1 / gain
	}
	switch {
	case gain > 1.05:
		return "ahead"
	case gain < 1/1.05:
		return "behind"
	}
	return "level"
}

func quantity(v float64, u unit) string { return strings.TrimSpace(decimal(v) + " " + u.name) }

// decimal writes three significant digits, and never an exponent.
func decimal(v float64) string {
	digits := 0
	if v != 0 {
		digits = min(max(2-int(math.Floor(math.Log10(math.Abs(v)))), 0), 4)
	}
	return strconv.FormatFloat(v, 'f', digits, 64)
}
