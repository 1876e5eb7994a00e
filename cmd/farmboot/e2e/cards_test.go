//go:build e2e

package e2e_test

import (
	"testing"

	"farmboot/setup/lab"
)

// TestTwoCards boots machines with two network cards on the LAN, of which the second
// boots: it is who asks. A machine is found by its other card too (matchbox 410,
// fogproject 1383, ipxe 826).
func TestTwoCards(t *testing.T) {
	l := newLAN(t, lab.Options{})
	a := newAppliance(t, l, settings{})
	for i, c := range []struct {
		name       string
		firmware   lab.Firmware
		registered int // which of the two
	}{
		{"UEFI, the card that boots is registered", lab.UEFI, 1},
		{"UEFI, the other card is registered", lab.UEFI, 0},
		{"BIOS, the card that boots is registered", lab.BIOS, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cards := []string{mac(2*i + 301), mac(2*i + 302)}
			a.farmboot(t, "node", "add", cards[c.registered], "--farmer", "77")
			n := powerOn(t, l, lab.Machine{Firmware: c.firmware, NICs: []lab.NIC{
				{MAC: cards[0], NoROM: true, NoBoot: true},
				{MAC: cards[1], NoROM: c.firmware == lab.UEFI},
			}})
			if c.firmware == lab.UEFI { // under BIOS, iPXE in the card's ROM asks without our script
				n.sees(t, `node \.+ `+cards[1])
			}
			n.sees(t, `this node is registered`)
			n.boots(t, kernelArgs+" runmode=prod farmer_id=77")
			tells(t, a.farmboot(t, "node", "show", cards[c.registered]), script, kernel)
		})
	}
}
