//go:build e2e

package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"farmboot/setup/lab"
)

// limit bounds one machine's boot. It is many times what one takes, for slow
// and busy test machines; nothing waits for it on a good day.
const limit = 5 * time.Minute

// place is where the things under test are; TestMain has checked them.
type place struct {
	bin      string // the program
	template string // iPXE's binaries
	kernels  string // Linux kernels
}

func places() (place, error) {
	p := place{
		bin:      env("FARMBOOT_BIN", "../../../bin/farmboot"),
		template: env("FARMBOOT_TEMPLATE", "/opt/ipxe-template"),
		kernels:  env("FARMBOOT_TEST_KERNELS", "/var/cache/farmboot-test"),
	}
	bin, err := filepath.Abs(p.bin)
	if err != nil {
		return p, err
	}
	p.bin = bin
	for _, need := range []struct{ file, get string }{
		{p.bin, "make build"},
		{filepath.Join(p.template, "undionly.kpxe"), "make template"},
		{filepath.Join(p.kernels, "vmlinuz-amd64"), "make testkernels"},
		{filepath.Join(p.kernels, "vmlinuz-arm64"), "make testkernels"},
		{filepath.Join(p.kernels, "system-amd64.efi"), "make testkernels"},
	} {
		if _, err := os.Stat(need.file); err != nil {
			return p, fmt.Errorf("%w (%s)", err, need.get)
		}
	}
	return p, nil
}

func env(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

func TestMain(m *testing.M) {
	if _, err := places(); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		os.Exit(1)
	}
	// Say all that is missing before the first test runs, not one thing each.
	if missing := lab.Needs("ip", "dnsmasq", "qemu-system-x86_64", "qemu-system-aarch64",
		"nft", "genisoimage", "mkfs.fat", "mcopy", "mmd", "sqlite3"); missing != nil {
		fmt.Fprintln(os.Stderr, "e2e:", missing)
		os.Exit(1)
	}
	os.Exit(m.Run())
}
