package dhcp

import (
	"github.com/insomniacslk/dhcp/iana"

	"farmboot/provisioning"
	"farmboot/provisioning/filenames"
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

// file is the name of the one that a node is to get. shim is the file that machines
// with Secure Boot start first; "": there is none.
func (p Program) file(choice provisioning.NBP, shim string) string {
	if !p.Shim {
		shim = ""
	}
	switch {
	case shim == filenames.IPXEShim && (choice == provisioning.DefaultNBP || choice == provisioning.SignedSNPOnly):
		return shim // the pair has no program with the firmware's driver
	case shim == filenames.IPXEShim && choice == provisioning.Signed:
		return p.File // signed already
	case shim != "" && choice == provisioning.DefaultNBP:
		return shim
	case shim != "" && choice == provisioning.SignedSNPOnly:
		return filenames.SNPFolder + shim // which looks for the next program in its own folder
	case shim != "" && choice == provisioning.Signed:
		return filenames.SecondStage // what shim would start
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
		return Program{Platform: "BIOS", File: filenames.Undionly, BIOS: true}, true
	case iana.EFI_X86_64, iana.EFI_BC: // 7, 9
		return Program{Platform: "UEFI x64", File: filenames.EFI, SNPOnly: filenames.SNPOnly, Shim: true}, true
	case iana.EFI_ARM64: // 11
		return Program{Platform: "UEFI arm64", File: filenames.ARM64}, true
	case iana.EFI_RISCV64: // 27
		return Program{Platform: "UEFI riscv64", File: filenames.RISCV64}, true
	case iana.EFI_X86_64_HTTP: // 16
		return Program{Platform: "UEFI x64", File: filenames.EFI, SNPOnly: filenames.SNPOnly, Shim: true, HTTP: true}, true
	case iana.EFI_ARM64_HTTP: // 19
		return Program{Platform: "UEFI arm64", File: filenames.ARM64, HTTP: true}, true
	case iana.EFI_RISCV64_HTTP: // 28
		return Program{Platform: "UEFI riscv64", File: filenames.RISCV64, HTTP: true}, true
	}
	return Program{}, false
}
