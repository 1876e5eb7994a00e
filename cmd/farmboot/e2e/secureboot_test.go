//go:build e2e

package e2e_test

import (
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"farmboot/setup/lab"
)

// secured says on the console that the kernel runs with Secure Boot on.
const secured = `EFI stub: UEFI Secure Boot is enabled`

// secureNode is a machine with Secure Boot on, that boots from the network.
func secureNode(mac string) lab.Machine {
	m := uefiNode(mac)
	m.SecureBoot = true
	m.MemoryMiB = 1024
	return m
}

// unsigned returns an EFI program (PE32+) without its signatures, which stand at its end.
func unsigned(program []byte) []byte {
	le := binary.LittleEndian
	optional := le.Uint32(program[0x3c:]) + 24
	entry := program[optional+144:] // of the data directory, for certificates
	if start := le.Uint32(entry); start != 0 {
		clear(entry[:8])
		program = program[:start]
	}
	return program
}

// newSecureAppliance sets up an appliance with [secure-boot] enabled.
func newSecureAppliance(t *testing.T, l *lab.LAN, s settings) (a *appliance, certificate []byte) {
	t.Helper()
	s.extra += "[secure-boot]\nenabled = true\n"
	s.unsigned = true // Debian has signed its kernels, whose shim trusts Debian
	a = newAppliance(t, l, s)
	dir := filepath.Join(a.dir, "exported")
	a.farmboot(t, "secureboot", "export", dir)
	certificate, err := os.ReadFile(filepath.Join(dir, "FARMBOOT.CER"))
	if err != nil {
		t.Fatal(err)
	}
	return a, certificate
}

// TestSecureBoot boots a machine that trusts our certificate, from firmware with
// Microsoft's keys to the kernel, over PXE.
func TestSecureBoot(t *testing.T) {
	l := newLAN(t, lab.Options{})
	a, certificate := newSecureAppliance(t, l, settings{})
	m := secureNode(mac(1))
	m.MOK = [][]byte{certificate}
	n := powerOn(t, l, m)
	n.sees(t, secured)
	n.boots(t, kernelArgs+" runmode=prod")
	tells(t, a.farmboot(t, "node", "show", n.mac), discover, offer, bootServer, nbp, script, kernel)
	if shown := a.farmboot(t, "secureboot", "show"); !strings.Contains(shown, n.mac) {
		t.Errorf("it is not known that the machine trusts our key:\n%s", shown)
	}
	if found := chainFindings(a.doctor(t)); len(found) != 1 || !strings.HasPrefix(found[0], "ok ") || !strings.HasSuffix(found[0], "shimx64.efi, FARMBOOT.CER, grubx64.efi, snp/grubx64.efi, mmx64.efi, prod.efi") {
		t.Errorf("the doctor says of the chain: %q", found)
	}
	t.Run("tampered kernel", func(t *testing.T) {
		refusesKernel(t, l, a, certificate, mac(2), func(signed []byte) []byte {
			signed[len(signed)/2] ^= 1
			return signed
		})
		if found := chainFindings(a.doctor(t)); len(found) != 1 || !strings.HasPrefix(found[0], "problem a machine with Secure Boot on refuses prod.efi") {
			t.Errorf("the doctor says of the chain: %q", found)
		}
	})
}

// chainFindings are what the doctor says of Secure Boot, each behind its level.
func chainFindings(v verdict) (list []string) {
	for _, f := range v.Findings {
		if f.Check == "secure-boot" || strings.Contains(f.What, "with Secure Boot") && f.Level != "ok" {
			list = append(list, f.Level+" "+f.What)
		}
	}
	return list
}

// refusesKernel changes each signed kernel: the machine refuses it, and its story says so,
// before it has fetched it a second time.
func refusesKernel(t *testing.T, l *lab.LAN, a *appliance, certificate []byte, mac string, change func(signed []byte) []byte) {
	t.Helper()
	copies, err := filepath.Glob(filepath.Join(a.dir, "state/secure-boot/kernels/*"))
	if err != nil || len(copies) == 0 {
		t.Fatalf("no signed kernels: %v", err)
	}
	for _, name := range copies {
		kernel, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, change(kernel), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	m := secureNode(mac)
	m.MOK = [][]byte{certificate}
	n := powerOn(t, l, m)
	n.sees(t, `this machine does not trust who signed its kernel`)
	story := a.farmboot(t, "node", "show", n.mac)
	tells(t, story, kernel, "Failed", "Secure Boot refused")
	if strings.Count(story, kernel) != 1 {
		t.Errorf("the kernel was fetched again:\n%s", story)
	}
}

// TestSecureBootNotEnrolled: shim refuses our iPXE on a machine that does not trust our
// certificate, and its story shows that it asked for MokManager instead. MokManager, over PXE,
// finds no volume to take a certificate from.
func TestSecureBootNotEnrolled(t *testing.T) {
	l := newLAN(t, lab.Options{})
	a, _ := newSecureAppliance(t, l, settings{})
	n := powerOn(t, l, secureNode(mac(1)))
	n.sees(t, `Verification failed`)
	tells(t, a.farmboot(t, "node", "show", n.mac), nbp+" shimx64.efi", nbp+" grubx64.efi")
	if err := n.Type(enter); err != nil {
		t.Fatal(err)
	}
	a.logs(t, `stage=nbp .*mmx64\.efi`)
	tells(t, a.farmboot(t, "node", "show", n.mac), nbp+" shimx64.efi", nbp+" grubx64.efi", nbp+" mmx64.efi", "Failed", "this machine does not trust our key", "farmboot secureboot enrol")
	n.sees(t, `Press any key to perform MOK management`)
	const menu, volumes = `Perform MOK management`, `Select Key`
	n.presses(t,
		keys{" ", menu},
		keys{down, `Enroll hash from disk`},
		keys{enter, menu + "|" + volumes}, // Enroll key from disk
	)
	if regexp.MustCompile(volumes).MatchString(n.Tail(100)) {
		t.Error("MokManager lists volumes: over PXE it had none")
	}
}

// keys are what a person presses, and what the screen then shows.
type keys struct{ press, shows string }

// down and enter are keys of a serial terminal.
const down, enter = "\x1b[B", "\r"

// presses plays a person at the machine's keyboard, who looks at the screen.
func (n *node) presses(t *testing.T, all ...keys) {
	t.Helper()
	for _, k := range all {
		if err := n.Type(k.press); err != nil {
			t.Fatal(err)
		}
		n.sees(t, k.shows)
	}
}

// logs waits for a line of the daemon's log.
func (a *appliance) logs(t *testing.T, pattern string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if _, err := a.daemon.Expect(ctx, regexp.MustCompile(pattern)); err != nil {
		t.Fatal(err)
	}
}
