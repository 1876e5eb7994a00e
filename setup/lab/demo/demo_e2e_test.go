//go:build e2e

package main

import (
	"strings"
	"testing"
)

// TestDemo runs the demo with both firmwares, as make demo does.
func TestDemo(t *testing.T) {
	t.Setenv("FARMBOOT_BIN", env("FARMBOOT_BIN", "../../../bin/farmboot"))
	for name, uefi := range map[string]bool{"BIOS": false, "UEFI": true} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			if err := run(t.Context(), uefi, &out); err != nil {
				t.Fatalf("%v after\n%s", err, out.String())
			}
			for _, want := range []string{
				"DHCP server | gives it the address 10.77.",
				"appliance | a machine asks the LAN what to boot (" + name,
				"appliance | it asks what it boots",
				"appliance | sent the kernel net/prod.efi: 14",
				kernelArgs + " runmode=prod farmer_id=1234\n",
				"fetched its kernel net/prod.efi",
			} {
				if !strings.Contains(out.String(), want) {
					t.Errorf("the demo does not show %q:\n%s", want, out.String())
				}
			}
		})
	}
}
