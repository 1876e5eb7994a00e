package dhcp

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"farmboot/provisioning"
)

func TestMachine(t *testing.T) {
	guid := []byte{0, 0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff}
	uefi := Program{Platform: "UEFI x64"}
	for _, test := range []struct {
		name   string
		client Client
		want   provisioning.Machine
	}{
		{
			"firmware",
			Client{GUID: guid, Program: uefi, Class: HTTPClient},
			provisioning.Machine{Arch: "UEFI x64", Firmware: "HTTPClient", UUID: "33221100-5544-7766-8899-aabbccddeeff"},
		},
		{
			"a ROM's iPXE",
			Client{GUID: guid, Program: uefi, Class: PXEClient, IPXE: IPXE{Present: true, Version: "1.0.0"}},
			provisioning.Machine{Arch: "UEFI x64", Firmware: "iPXE 1.0.0", UUID: "00112233-4455-6677-8899-aabbccddeeff"},
		},
		{"our iPXE adds nothing", Client{GUID: guid, Program: uefi, Class: PXEClient, IPXE: IPXE{Present: true, Ours: true}}, provisioning.Machine{}},
		{
			"no identifier",
			Client{Program: uefi, Class: PXEClient},
			provisioning.Machine{Arch: "UEFI x64", Firmware: "PXEClient"},
		},
		{
			"an identifier of another type",
			Client{GUID: append([]byte{1}, guid[1:]...), Program: uefi, Class: PXEClient},
			provisioning.Machine{Arch: "UEFI x64", Firmware: "PXEClient"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, test.client.Machine()); diff != "" {
				t.Errorf("machine (-want +got):\n%s", diff)
			}
		})
	}
}
