// Package filenames has the names of the files that machines fetch to boot from.
package filenames

// iPXE's programs, as setup/template.sh names them.
const (
	Undionly = "undionly.kpxe"    // network boot program for BIOS; uses the ROM's driver
	EFI      = "ipxe.efi"         // EFI application for x86-64, with iPXE's own drivers
	SNPOnly  = "snponly.efi"      // EFI application for x86-64; uses the firmware's driver
	ARM64    = "ipxe-arm64.efi"   // EFI application for AArch64
	RISCV64  = "ipxe-riscv64.efi" // EFI application for RISC-V
)

// Autoexec is the script that iPXE looks for where it was started from: a folder of a
// server, or a file system.
const Autoexec = "autoexec.ipxe"

// The chain by which machines with Secure Boot boot. All but the disks are also there in
// the folder [SNPFolder], where the second stage uses the firmware's own network driver:
// shim looks for everything in the folder that it comes from.
const (
	Shim        = "shimx64.efi"      // signed by Microsoft; starts what our key has signed
	IPXEShim    = "ipxe-shimx64.efi" // of iPXE's own signed pair; starts the [EFI] that it was made for
	SecondStage = "grubx64.efi"      // what shim starts: our iPXE, signed, with its script
	MokManager  = "mmx64.efi"        // signed for that shim; asks a person to trust our key
	Certificate = "FARMBOOT.CER"     // of our key, DER: what MokManager lets a person trust
	EnrolDisk   = "enrol.img"        // a disk with all of that, which UEFI HTTP Boot keeps in memory (UEFI 2.10, 24.7.3.1)
	KeyDisk     = "keys.img"         // a disk that makes firmware in Setup Mode trust our key

	SNPFolder = "snp/"
)
