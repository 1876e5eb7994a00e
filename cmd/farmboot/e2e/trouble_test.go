//go:build e2e

package e2e_test

import (
	"context"
	"regexp"
	"testing"

	"farmboot/setup/lab"
)

// TestTwoAppliances: two appliances on one LAN are one too many, but nodes boot.
func TestTwoAppliances(t *testing.T) {
	l := newLAN(t, lab.Options{})
	newAppliance(t, l, settings{name: "appliance-a"})
	newAppliance(t, l, settings{name: "appliance-b"})
	for name, machine := range map[string]lab.Machine{"BIOS": biosNode(mac(1)), "UEFI": uefiNode(mac(2))} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			powerOn(t, l, machine).boots(t, kernelArgs+" runmode=prod")
		})
	}
}

// TestIsolatedLAN: nodes boot on a LAN without gateway and name server.
func TestIsolatedLAN(t *testing.T) {
	l := newLAN(t, lab.Options{Isolated: true})
	newAppliance(t, l, settings{})
	for name, machine := range map[string]lab.Machine{"BIOS": biosNode(mac(1)), "UEFI": uefiNode(mac(2))} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			powerOn(t, l, machine).boots(t, kernelArgs+" runmode=prod")
		})
	}
}

// TestLossyLAN: nodes boot although every twentieth frame to and from the
// appliance is lost.
func TestLossyLAN(t *testing.T) {
	l := newLAN(t, lab.Options{})
	newAppliance(t, l, settings{loss: 0.05})
	for name, machine := range map[string]lab.Machine{"BIOS": biosNode(mac(1)), "UEFI": uefiNode(mac(2))} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// What firmware gives up on, it tries again at the next boot.
			machine.Reboots = true
			powerOn(t, l, machine).boots(t, kernelArgs+" runmode=prod")
		})
	}
}

// TestApplianceDiesMidBoot: an appliance that is killed while a node boots, and
// started again, costs the node time but not its boot.
func TestApplianceDiesMidBoot(t *testing.T) {
	for _, c := range []struct {
		name    string
		machine lab.Machine
		at      string // what the appliance's log says when it dies
	}{
		{"after the offer", uefiNode(mac(1)), `stage=offer`},
		{"after the boot program", uefiNode(mac(1)), `stage=nbp`},
		{"after the script", biosNode(mac(1)), `stage=script`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := newLAN(t, lab.Options{})
			a := newAppliance(t, l, settings{})
			c.machine.Reboots = true
			n := powerOn(t, l, c.machine)
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			if _, err := a.daemon.Expect(ctx, regexp.MustCompile(c.at)); err != nil {
				t.Fatal(err)
			}
			a.daemon.Kill()
			a.start(t)
			n.boots(t, kernelArgs+" runmode=prod")
		})
	}
}
