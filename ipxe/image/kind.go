// Package image composes bootable images around a boot script: CD, stick and disk
// images, EFI applications and Linux kernel images.
//
// Nothing is built and nothing is cached. An image is a list of slices of the
// template's binaries and a few kilobytes that belong to the request, made in
// microseconds; see package segment. The same kind, script and template give the
// same bytes on every machine at every time: identifiers are made from the script,
// and all dates are the same.
package image

import (
	"fmt"
	"slices"
	"strings"

	"farmboot/provisioning"
)

// Kind says what a script is made into. It is the first element of an image's URL.
type Kind string

// The kinds.
const (
	Script        Kind = "ipxe"           // the script itself
	ISO           Kind = "iso"            // hybrid image for CD, stick and disk; BIOS and UEFI
	USB           Kind = "usb"            // the same bytes under another name
	UEFI          Kind = "uefi"           // EFI application
	UEFIDisk      Kind = "uefimg"         // disk image with an EFI system partition; its script can be edited
	Kernel        Kind = "krn"            // Linux kernel image (bzImage) for BIOS boot loaders
	SNPOnly       Kind = "snponly"        // EFI application that uses the firmware's network driver
	GenericKernel Kind = "krn-generic"    // iPXE that trusts our certificate authority, no script
	GenericUEFI   Kind = "uefi-generic"   // the same as EFI application
	ProvisionKrn  Kind = "krn-provision"  // chains /provision/<MAC>
	ProvisionUEFI Kind = "uefi-provision" // the same as EFI application
)

// traits are what sets kinds apart for those who ask for one.
type traits struct {
	target  bool   // has a run mode, and so on
	generic bool   // has no script
	name    string // of the file to download, without what comes from the target
	ext     string
	arches  []Arch
}

var (
	onlyAMD64   = []Arch{AMD64}
	mediaArches = []Arch{AMD64, ARM64} // both in one image
	efiArches   = []Arch{AMD64, ARM64, RISCV64}
)

// kinds is the table of all kinds, in the order in which people are told of them.
var kinds = []struct {
	Kind
	traits
}{
	{Script, traits{target: true, name: "ipxe", ext: ".ipxe", arches: mediaArches}},
	{ISO, traits{target: true, name: "ipxe", ext: ".iso", arches: mediaArches}},
	{USB, traits{target: true, name: "ipxe", ext: ".img", arches: mediaArches}},
	{UEFI, traits{target: true, name: "ipxe", ext: ".efi", arches: efiArches}},
	{UEFIDisk, traits{target: true, name: "uefiusb", ext: ".img", arches: mediaArches}},
	{Kernel, traits{target: true, name: "ipxe", ext: ".lkrn", arches: onlyAMD64}},
	{SNPOnly, traits{target: true, name: "ipxe-snp", ext: ".efi", arches: onlyAMD64}},
	{GenericKernel, traits{generic: true, name: "ipxe-zero-os-generic", ext: ".lkrn", arches: onlyAMD64}},
	{GenericUEFI, traits{generic: true, name: "ipxe-zero-os-generic", ext: ".efi", arches: efiArches}},
	{ProvisionKrn, traits{name: "ipxe-zero-os-provision", ext: ".lkrn", arches: onlyAMD64}},
	{ProvisionUEFI, traits{name: "ipxe-zero-os-provision", ext: ".efi", arches: efiArches}},
}

// Kinds returns all kinds, in the order in which people expect them.
func Kinds() []Kind {
	all := make([]Kind, len(kinds))
	for i, k := range kinds {
		all[i] = k.Kind
	}
	return all
}

// ParseKind reads the name of a kind. The error is a [provisioning.Error] with code
// [provisioning.NotFound] that lists those that there are.
func ParseKind(s string) (Kind, error) {
	all := Kinds()
	if slices.Contains(all, Kind(s)) {
		return Kind(s), nil
	}
	return "", provisioning.Errorf(provisioning.NotFound, "unknown image kind %q: accepted are %s", s, join(all))
}

// traits returns the traits of a kind; zero for an unknown one.
func (k Kind) traits() traits {
	for _, t := range kinds {
		if t.Kind == k {
			return t.traits
		}
	}
	return traits{}
}

// NeedsTarget tells whether the script is that of a target: a run mode and what
// may follow it.
func (k Kind) NeedsTarget() bool { return k.traits().target }

// HasScript tells whether there is a script in images of this kind at all.
func (k Kind) HasScript() bool { return !k.traits().generic }

// ContentType returns the media type to serve images of this kind as.
func (k Kind) ContentType() string {
	if k == Script {
		return "text/plain; charset=utf-8"
	}
	return "application/octet-stream"
}

// FileName returns the name to download an image under. Run mode and farmer (0:
// none) matter only to kinds that need a target. EFI applications for another
// processor than amd64 say so: ipxe-arm64-prod.efi.
func (k Kind) FileName(o Options, r provisioning.RunMode, f provisioning.FarmerID) string {
	t := k.traits()
	name := t.name
	if arch := o.arch(); arch != AMD64 && t.ext == ".efi" {
		name = strings.Replace(name, "ipxe", "ipxe-"+string(arch), 1)
	}
	if t.target {
		name += "-" + string(r)
		if f != 0 {
			name += "-" + f.String()
		}
	}
	return name + t.ext
}

// Arch is a processor architecture, as Go and Debian name them.
type Arch string

// The architectures.
const (
	AMD64   Arch = "amd64"
	ARM64   Arch = "arm64"
	RISCV64 Arch = "riscv64"
)

// Options choose among images of one kind. The zero value is what people want.
type Options struct {
	Arch Arch // "": AMD64
}

func (o Options) arch() Arch {
	if o.Arch == "" {
		return AMD64
	}
	return o.Arch
}

// Check returns an error if there is no image of that kind with these options: a
// [provisioning.Error] with code [provisioning.Invalid] that says what is accepted.
func (o Options) Check(k Kind) error {
	accepted := k.traits().arches
	if slices.Contains(accepted, o.arch()) {
		return nil
	}
	return provisioning.Errorf(provisioning.Invalid, "no %s image for arch %q: accepted are %s", k, o.Arch, join(accepted))
}

// join lists names for people.
func join[T ~string](names []T) string {
	var b strings.Builder
	for i, n := range names {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprint(&b, n)
	}
	return b.String()
}
