//go:build e2e

package e2e_test

import (
	"os"
	"path/filepath"
	"testing"

	"farmboot/setup/lab"
)

// TestHoldAndClaim: an unregistered node waits on screen with a claim code, and
// boots by itself when somebody claims it.
func TestHoldAndClaim(t *testing.T) {
	l := newLAN(t, lab.Options{})
	a := newAppliance(t, l, settings{unknown: "hold"})
	for name, machine := range map[string]lab.Machine{"BIOS": biosNode(mac(1)), "UEFI": uefiNode(mac(2))} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := powerOn(t, l, machine)
			n.sees(t, `waits to be claimed`)
			n.sees(t, n.mac)
			code := n.sees(t, `claim code \.\. (\S+)\n`)[1]
			a.farmboot(t, "node", "claim", code, "--farmer", "77")
			n.boots(t, kernelArgs+" runmode=prod farmer_id=77")
			tells(t, a.farmboot(t, "node", "show", n.mac), discover, "waits", "claim", kernel)
		})
	}
}

// TestExit: an unregistered node goes on to its next boot device, and a registered one
// boots, unless it is to go on once, or always.
func TestExit(t *testing.T) {
	l := newLAN(t, lab.Options{})
	a := newAppliance(t, l, settings{unknown: "exit"})
	t.Run("BIOS", func(t *testing.T) {
		t.Parallel()
		n := powerOn(t, l, diskNode(t, mac(1)))
		n.sees(t, `not registered, and goes on to its next boot device`)
		n.sees(t, `The disk boots\.`)
		n.leased(t)
		tells(t, a.farmboot(t, "node", "show", n.mac), discover, offer, "next boot device")
	})
	t.Run("UEFI", func(t *testing.T) {
		t.Parallel()
		n := powerOn(t, l, uefiNode(mac(2)))
		n.sees(t, `not registered, and goes on to its next boot device`)
		n.sees(t, `UEFI Interactive Shell`) // OVMF's last boot device
		n.leased(t)
		tells(t, a.farmboot(t, "node", "show", n.mac), discover, offer, "next boot device")
	})
	t.Run("registered", func(t *testing.T) {
		t.Parallel()
		a.farmboot(t, "node", "add", mac(3))
		a.farmboot(t, "node", "once", mac(3), "exit")
		machine := diskNode(t, mac(3))
		t.Run("once", func(t *testing.T) {
			n := powerOn(t, l, machine)
			n.sees(t, `this node goes on to its next boot device, this once`)
			n.sees(t, `The disk boots\.`)
		})
		t.Run("then", func(t *testing.T) {
			powerOn(t, l, machine).boots(t, kernelArgs+" runmode=prod")
		})
	})
	t.Run("registered to exit", func(t *testing.T) {
		t.Parallel()
		a.farmboot(t, "node", "add", mac(4))
		a.farmboot(t, "node", "set", mac(4), "--exit")
		n := powerOn(t, l, uefiNode(mac(4)))
		n.sees(t, `this node goes on to its next boot device`)
		n.sees(t, `UEFI Interactive Shell`)
		tells(t, a.farmboot(t, "node", "show", n.mac), discover, offer, "next boot device")
	})
}

// diskNode is a BIOS machine that tries the network first, and then a disk that says it
// boots.
func diskNode(t *testing.T, mac string) lab.Machine {
	t.Helper()
	machine := biosNode(mac)
	machine.NetworkFirst = true
	machine.Disk = filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(machine.Disk, bootSector("The disk boots."), 0o644); err != nil {
		t.Fatal(err)
	}
	return machine
}

// TestIgnore: an unregistered node gets no answer at all, and a registered one
// on the same LAN boots.
func TestIgnore(t *testing.T) {
	l := newLAN(t, lab.Options{})
	a := newAppliance(t, l, settings{unknown: "ignore"})
	t.Run("unregistered", func(t *testing.T) {
		t.Parallel()
		n := powerOn(t, l, biosNode(mac(1)))
		n.sees(t, `Nothing to boot|No filename or root path`)
		n.leased(t)
	})
	t.Run("registered", func(t *testing.T) {
		t.Parallel()
		a.farmboot(t, "node", "add", mac(2))
		powerOn(t, l, biosNode(mac(2))).boots(t, kernelArgs+" runmode=prod")
	})
}

// TestRefused: a node whose kernel is gone sees why on its screen, and boots by
// itself once that is mended.
func TestRefused(t *testing.T) {
	l := newLAN(t, lab.Options{})
	a := newAppliance(t, l, settings{})
	a.write(t, "state/kernel/special", "to be removed")
	a.farmboot(t, "node", "add", mac(1), "--kernel", "special")
	special := filepath.Join(a.dir, "state/kernel/special")
	if err := os.Remove(special); err != nil {
		t.Fatal(err)
	}
	n := powerOn(t, l, biosNode(mac(1)))
	n.sees(t, `this node cannot be booted yet`)
	n.sees(t, `special`)
	if err := os.Symlink("vmlinuz-amd64", special); err != nil {
		t.Fatal(err)
	}
	n.boots(t, kernelArgs+" runmode=prod")
	tells(t, a.farmboot(t, "node", "show", n.mac), discover, offer, "special", kernel)
}

// bootSector returns a disk whose BIOS boot sector prints text and halts.
func bootSector(text string) []byte {
	disk := make([]byte, 1<<20)
	code := []byte{
		0x31, 0xc0, // xor ax, ax
		0x8e, 0xd8, // mov ds, ax
		0xbe, 0x20, 0x7c, // mov si, 0x7c20: the text
		0xac,       // next: lodsb
		0x84, 0xc0, // test al, al
		0x74, 0x09, // jz halt
		0xb4, 0x0e, // mov ah, 0x0e: teletype output
		0xbb, 0x07, 0x00, // mov bx, 7
		0xcd, 0x10, // int 0x10
		0xeb, 0xf2, // jmp next
		0xf4,       // halt: hlt
		0xeb, 0xfd, // jmp halt
	}
	copy(disk, code)
	copy(disk[0x20:], text+"\r\n")
	disk[510], disk[511] = 0x55, 0xaa
	return disk
}
