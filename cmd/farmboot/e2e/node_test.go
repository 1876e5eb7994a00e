//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"farmboot/setup/lab"
)

// mac returns the MAC address of the test's n-th machine.
func mac(n int) string { return fmt.Sprintf("52:54:00:00:%02x:%02x", n>>8, n&0xff) }

// node is a machine that is switched on.
type node struct {
	*lab.VM
	lan *lab.LAN
	mac string // of its first NIC
}

// powerOn switches a machine on, which is named after the test. It is off when
// the test ends.
func powerOn(t *testing.T, l *lab.LAN, m lab.Machine) *node {
	t.Helper()
	m.Name = regexp.MustCompile(`[^a-zA-Z0-9]+`).ReplaceAllString(t.Name(), "-")
	vm, err := l.PowerOn(m)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{VM: vm, lan: l}
	for _, nic := range m.NICs {
		if !nic.NoBoot {
			n.mac = nic.MAC
			break
		}
	}
	t.Cleanup(func() {
		if err := vm.PowerOff(); err != nil {
			t.Errorf("power off: %v", err)
		}
	})
	return n
}

// deadEnd is what firmware shows when there is nothing left to try.
const deadEnd = `No bootable device\.\s*\n|UEFI Interactive Shell`

// sees waits until the machine's screen shows the pattern, and returns its
// groups. A dead end that is not in the pattern is the end of the test.
func (n *node) sees(t *testing.T, pattern string) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	match, err := n.Expect(ctx, regexp.MustCompile(pattern+"|"+deadEnd))
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(pattern).MatchString(match[0]) {
		t.Fatalf("nothing left to boot, waiting for %q; console ends with\n%s", pattern, n.Tail(30))
	}
	return match
}

// boots waits until a kernel starts and compares the command line that it says
// it was given. Loaders put the kernel's name before it, which counts for
// nothing. Then it asserts that the LAN's DHCP server was left in peace.
func (n *node) boots(t *testing.T, want string) {
	t.Helper()
	got := n.sees(t, `(?i)command line: (.*)\n`)[1]
	got = strings.TrimSpace(got)
	if name, rest, found := strings.Cut(got, " "); found && !strings.Contains(name, "=") && rest == want {
		got = rest
	}
	if got != want {
		t.Errorf("the kernel's command line is\n%q, want\n%q", got, want)
	}
	n.leased(t)
}

// leased asserts that the LAN's own DHCP server gave this machine its address,
// and that nobody interfered with it.
func (n *node) leased(t *testing.T) {
	t.Helper()
	leases, err := n.lan.Leases()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(leases, func(l lab.Lease) bool { return l.MAC == n.mac }) {
		t.Errorf("the LAN's DHCP server holds no lease for %s: %v", n.mac, leases)
	}
	if d := n.lan.Disturbed(); d != nil {
		t.Errorf("the LAN's DHCP server was disturbed:\n%s", strings.Join(d, "\n"))
	}
}

// Machines, by firmware, that boot from the network.
func biosNode(mac string) lab.Machine {
	return lab.Machine{Firmware: lab.BIOS, NICs: []lab.NIC{{MAC: mac}}}
}

func uefiNode(mac string) lab.Machine {
	return lab.Machine{Firmware: lab.UEFI, NICs: []lab.NIC{{MAC: mac, NoROM: true}}}
}

func httpBootNode(mac string) lab.Machine {
	m := uefiNode(mac)
	m.HTTPBoot = true
	return m
}

func arm64Node(mac string) lab.Machine {
	return lab.Machine{Firmware: lab.UEFIARM64, MemoryMiB: 1024, NICs: []lab.NIC{{MAC: mac, NoROM: true}}}
}
