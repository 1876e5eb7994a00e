package dhcp

import (
	"github.com/insomniacslk/dhcp/iana"

	"farmboot/provisioning"
)

// Program is the network boot program for a client system architecture.
type Program struct {
	Platform string // for people, and a metric's label: "UEFI x64"
	File     string // its name: over TFTP as it is, over HTTP below /boot/
	SNPOnly  string // the one that uses the firmware's own network driver; "": there is none
	Shim     bool   // shim can come before it, for Secure Boot
	HTTP     bool   // the client is UEFI HTTP Boot: it wants a URL
	BIOS     bool   // the client is a BIOS PXE ROM
}

// ipxeShim is the shim of iPXE's own signed pair, which starts the ipxe.efi beside it.
const ipxeShim = "ipxe-shimx64.efi"

// file is the name of the one that a node is to get. shim is the file that machines
// with Secure Boot start first; "": there is none.
func (p Program) file(choice provisioning.NBP, shim string) string {
	if !p.Shim {
		shim = ""
	}
	switch {
	case shim == ipxeShim && (choice == provisioning.DefaultNBP || choice == provisioning.SignedSNPOnly):
		return shim // the pair has no program with the firmware's driver
	case shim == ipxeShim && choice == provisioning.Signed:
		return p.File // signed already
	case shim != "" && choice == provisioning.DefaultNBP:
		return shim
	case shim != "" && choice == provisioning.SignedSNPOnly:
		return "snp/" + shim // which looks for the next program in its own folder
	case shim != "" && choice == provisioning.Signed:
		return "grubx64.efi" // what shim would start
	case (choice == provisioning.SNPOnly || choice == provisioning.SignedSNPOnly) && p.SNPOnly != "":
		return p.SNPOnly
	}
	return p.File
}

// ProgramFor returns what a client system architecture (option 93, RFC 4578
// section 2.1 and IANA's registry) boots. This is the only place that maps one
// to the other.
//
// 7 and 9 are both x64: RFC 4578 calls them "EFI BC" and "EFI x86-64", its
// erratum and every firmware since swap them. 6 (ia32 UEFI) and 10 (32-bit ARM)
// are absent on purpose: there is no binary that they could run.
func ProgramFor(arch iana.Arch) (Program, bool) {
	switch arch {
	case iana.INTEL_X86PC: // 0
		return Program{Platform: "BIOS", File: "undionly.kpxe", BIOS: true}, true
	case iana.EFI_X86_64, iana.EFI_BC: // 7, 9
		return Program{Platform: "UEFI x64", File: "ipxe.efi", SNPOnly: "snponly.efi", Shim: true}, true
	case iana.EFI_ARM64: // 11
		return Program{Platform: "UEFI arm64", File: "ipxe-arm64.efi"}, true
	case iana.EFI_RISCV64: // 27
		return Program{Platform: "UEFI riscv64", File: "ipxe-riscv64.efi"}, true
	case iana.EFI_X86_64_HTTP: // 16
		return Program{Platform: "UEFI x64", File: "ipxe.efi", SNPOnly: "snponly.efi", Shim: true, HTTP: true}, true
	case iana.EFI_ARM64_HTTP: // 19
		return Program{Platform: "UEFI arm64", File: "ipxe-arm64.efi", HTTP: true}, true
	case iana.EFI_RISCV64_HTTP: // 28
		return Program{Platform: "UEFI riscv64", File: "ipxe-riscv64.efi", HTTP: true}, true
	}
	return Program{}, false
}
