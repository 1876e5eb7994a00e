package main

import (
	"strings"
	"testing"

	"farmboot/setup"
)

// TestDiskFull: nodes boot from a full disk, so only people are told.
func TestDiskFull(t *testing.T) {
	cfg := setup.Default()
	cfg.State, cfg.Kernel.Path = "/state", "/kernels"
	h := &health{appliance: &appliance{sources: &sources{cfg: cfg}}}
	for full, free := range map[string]map[string]int64{
		"":         {"/state": diskFull, "/kernels": diskFull},
		"/state":   {"/state": diskFull - 1, "/kernels": 1 << 40},
		"/kernels": {"/state": 1 << 40, "/kernels": 0},
	} {
		found := h.disks(func(dir string) (int64, error) { return free[dir], nil })
		if full == "" && found == nil {
			continue
		}
		if len(found) != 1 || found[0].StopsBoots || !strings.Contains(found[0].Why, "the disk of "+full+" is full") {
			t.Errorf("full %q: %+v", full, found)
		}
	}
	if n, err := freeOf(t.TempDir()); err != nil || n <= 0 {
		t.Errorf("%d bytes free, %v", n, err)
	}
}
