//go:build e2e

package e2e_test

import (
	"context"
	"regexp"
	"strings"
	"testing"

	"farmboot/setup/lab"
)

// TestStrainMachinesAgreeWithTheDoctor: on each LAN that the doctor judges in
// TestDoctorOnManyLANs, real machines come to what it says.
func TestStrainMachinesAgreeWithTheDoctor(t *testing.T) {
	for _, tt := range doctorLANs() {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l, a := tt.set(t)
			v := a.doctor(t)
			for _, m := range []struct {
				machine  lab.Machine
				firmware string // as the doctor calls it; the BIOS machine's card has iPXE
				comesTo  string
			}{{biosNode(mac(0x77)), `"iPXE in ROM"`, tt.bios}, {uefiNode(mac(0x78)), `"UEFI x64"`, tt.uefi}} {
				if m.comesTo == "" {
					continue
				}
				t.Run(string(m.machine.Firmware), func(t *testing.T) {
					if m.comesTo != boots && v.OK {
						t.Error("the doctor finds nothing")
					}
					for _, f := range v.Findings {
						if m.comesTo == boots && f.Level != "ok" && strings.Contains(f.What, m.firmware) {
							t.Errorf("the doctor says that %s", f.What)
						}
					}
					powerOn(t, l, m.machine).comesTo(t, m.comesTo)
				})
			}
		})
	}
}

// comesTo waits until a machine boots, dies, or shows what it is to show instead.
func (n *node) comesTo(t *testing.T, what string) {
	t.Helper()
	switch what {
	case boots:
		n.boots(t, kernelArgs+" runmode=prod")
	case dies:
		n.sees(t, `Starting Zero-OS`)
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		if err := n.Wait(ctx); err != nil {
			t.Error(err)
		}
		if regexp.MustCompile(started).MatchString(n.Text()) {
			t.Errorf("it boots; console ends with\n%s", n.Tail(30))
		}
	default:
		if shown := n.sees(t, what+"|"+started)[0]; !regexp.MustCompile(what).MatchString(shown) {
			t.Errorf("it boots, and does not show %q; console ends with\n%s", what, n.Tail(30))
		}
	}
}
