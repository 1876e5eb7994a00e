// Package oracle asks other programs what they think of an image, for tests.
package oracle

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"farmboot/ipxe/segment"
	"farmboot/setup/needs"
)

// T is what a test and a rapid check have in common.
type T interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

// Write writes an image to a file in folder dir and returns its path.
func Write(t T, dir string, f *segment.File) string {
	t.Helper()
	path := filepath.Join(dir, "image")
	if err := os.WriteFile(path, f.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// packages are where programs come from.
var packages = map[string]string{
	"fsck.fat": "dosfstools", "mtype": "mtools", "mdir": "mtools", "sgdisk": "gdisk",
	"xorriso": "xorriso", "isoinfo": "genisoimage",
}

// Need leaves a test out if one of the programs that it asks is not installed.
func Need(t testing.TB, programs ...string) {
	t.Helper()
	for _, p := range programs {
		needs.Program(t, p, packages[p])
	}
}

// Run runs a program, which must succeed, and returns what it prints.
func Run(t T, program string, args ...string) string {
	t.Helper()
	path, err := needs.Find(program)
	if err != nil {
		t.Fatalf("%s, of package %s: %v", program, packages[program], err)
	}
	cmd := exec.Command(path, args...)
	// mtools: do not insist on the geometry of floppies, and on a time zone.
	cmd.Env = append(os.Environ(), "MTOOLS_SKIP_CHECK=1", "TZ=UTC", "LC_ALL=C")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s%s", cmd, err, out, &stderr)
	}
	return string(out)
}
