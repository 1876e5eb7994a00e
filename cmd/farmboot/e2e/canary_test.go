//go:build e2e

package e2e_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"farmboot/setup/lab"
)

// TestCanaryThatCrashes: a kernel is tried on one node, crashes there again and again, and
// is taken back by itself. That node boots what it booted before, at its next boot; the
// rest of the farm never gets the kernel.
func TestCanaryThatCrashes(t *testing.T) {
	l := newLAN(t, lab.Options{})
	a := newAppliance(t, l, settings{})
	file, err := os.ReadFile(filepath.Join(a.kernels, "vmlinuz-amd64"))
	if err != nil {
		t.Fatal(err)
	}
	a.write(t, "state/kernel/bad.efi", string(file)+"another build")
	tried, other := mac(1), mac(2)
	for _, m := range []string{tried, other} {
		a.farmboot(t, "node", "add", m, "--args", "panic=1") // it has no root file system, and panics
	}
	a.farmboot(t, "kernel", "use", "prod", "bad.efi", "--canary", tried)

	machine := biosNode(tried)
	machine.Reboots = true
	n := powerOn(t, l, machine)
	for range 3 {
		n.sees(t, `kernel candidate bad\.efi`)
		n.sees(t, `/kernel/bad\.efi`)
		n.sees(t, `Kernel panic`)
	}
	a.says(t, `a candidate is taken back.* runmode=prod kernel=bad\.efi`)
	n.sees(t, `/kernel/net/prod\.efi`)
	n.sees(t, `(?i)command line: `)

	t.Run("the rest", func(t *testing.T) {
		powerOn(t, l, biosNode(other)).boots(t, kernelArgs+" runmode=prod panic=1")
	})
	if events := a.farmboot(t, "events", "--mac", other); strings.Contains(events, "bad.efi") {
		t.Errorf("another node got the candidate:\n%s", events)
	}
	if history := a.farmboot(t, "kernel", "history", "prod"); !regexp.MustCompile(`(?m)^prod +vmlinuz-amd64 `).MatchString(history) || strings.Contains(history, "bad.efi") {
		t.Errorf("prod booted\n%s", history)
	}
	if h := a.farmboot(t, "history", "--subject", "canary prod"); !strings.Contains(h, "kernel taken back") {
		t.Errorf("nobody can tell why:\n%s", h)
	}
}
