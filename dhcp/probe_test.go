package dhcp_test

import (
	"testing"

	"farmboot/dhcp"
	"farmboot/provisioning"
)

func TestIsProbe(t *testing.T) {
	for mac, want := range map[provisioning.MAC]bool{
		dhcp.ProbeMAC(1):                  true,
		dhcp.ProbeMAC(255):                true,
		{0x02, 'd', 'o', 'c', 'x', 1}:     false,
		{0x52, 0x54, 0x00, 0x00, 0x00, 1}: false,
	} {
		if got := dhcp.IsProbe(mac); got != want {
			t.Errorf("IsProbe(%s) is %v", mac, got)
		}
	}
}
