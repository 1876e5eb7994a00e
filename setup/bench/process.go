package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// family returns a process and its children, which is all that servers have.
func family(pid int) []int {
	pids := []int{pid}
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			continue // the thread has ended
		}
		for field := range strings.FieldsSeq(string(text)) {
			if child, err := strconv.Atoi(field); err == nil {
				pids = append(pids, child)
			}
		}
	}
	return pids
}

// cpuTime returns how long a process and its children have run, in both modes.
func cpuTime(pid int) time.Duration {
	var total time.Duration
	for _, p := range family(pid) {
		files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", p))
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				continue
			}
			if running, _, ok := strings.Cut(string(text), " "); ok {
				n, _ := strconv.ParseInt(running, 10, 64)
				total += time.Duration(n)
			}
		}
	}
	return total
}

// memory returns the megabytes that a process and its children hold: a field of
// smaps_rollup, such as Rss, or Pss, which counts shared pages once.
func memory(pid int, field string) (float64, error) {
	total := 0.0
	for _, p := range family(pid) {
		mb, err := megabytesIn(fmt.Sprintf("/proc/%d/smaps_rollup", p), field)
		if err != nil {
			return 0, err
		}
		total += mb
	}
	return total, nil
}

// peakRSS returns the most megabytes that a process has held since [resetPeak].
func peakRSS(pid int) (float64, error) {
	return megabytesIn(fmt.Sprintf("/proc/%d/status", pid), "VmHWM")
}

// resetPeak makes the peak start from what the process holds now (proc(5)).
func resetPeak(pid int) error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
}

func megabytesIn(path, field string) (float64, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		rest, ok := strings.CutPrefix(line, field+":")
		if !ok {
			continue
		}
		kb, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 64)
		return kb / 1024, err
	}
	return 0, fmt.Errorf("%s: no %s", path, field)
}
