//go:build e2e

package e2e_test

import (
	"fmt"
	"testing"

	"farmboot/setup/lab"
)

// The tests here take too long for each change: make strain.

// TestStrainFloods: somebody on the LAN does what keeps an appliance busy, and ten machines
// boot meanwhile, some of them registered: each at its first try.
func TestStrainFloods(t *testing.T) {
	for _, f := range floods {
		t.Run(f.name, func(t *testing.T) {
			// The LAN's own DHCP server is not under attack.
			l := newBusyLAN(t, lab.Options{DHCP: []string{"--dhcp-host=02:*:*:*:*:*,ignore"}})
			a := newAppliance(t, l, settings{quiet: true, files: files})
			machines := tenMachines(f.tftp)
			for i, m := range machines {
				if i%3 == 0 {
					a.farmboot(t, "node", "add", m.NICs[0].MAC, "--farmer", "7")
				}
			}
			s := newSiege(t, a)
			effect := f.begin(s)
			if !becomesSoIn(t, limit, func() bool { return effect() >= f.enough }) {
				t.Fatalf("%v %s, fewer than %v: there is no flood", effect(), f.effect, f.enough)
			}
			if f.full {
				a.says(t, `too many connections`)
			}
			before := effect()
			t.Run("machines", func(t *testing.T) {
				for i, m := range machines {
					t.Run(fmt.Sprint(i+1), func(t *testing.T) {
						t.Parallel() // as many at a time as there are processors
						n := powerOn(t, l, m)
						if f.tftp && m.Firmware == lab.BIOS {
							n.chainsBootProgram(t, a)
						}
						want := kernelArgs + " runmode=prod"
						if i%3 == 0 {
							want += " farmer_id=7"
						}
						n.boots(t, want)
					})
				}
			})
			after := effect()
			over := after <= before
			if f.stays {
				over = after < f.enough
			}
			if over {
				t.Error("the flood was over before the machines had booted")
			}
			t.Logf("%.0f %s; the appliance held up to %d MiB, and its host had no room for %s packets", after, f.effect, a.memory(t), a.lost(t))
		})
	}
}

// tenMachines are machines of both firmwares: some that are UEFI's, and half of them where
// the boot program is what matters, which those fetch by themselves.
func tenMachines(program bool) (list []lab.Machine) {
	every := 5
	if program {
		every = 2
	}
	for i := range 10 {
		if i%every == 1 {
			list = append(list, uefiNode(mac(1+i)))
		} else {
			list = append(list, biosNode(mac(1+i)))
		}
	}
	return list
}
