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
	"cmp"
	"fmt"
	"slices"
	"strings"

	"farmboot/ipxe/binary"
	"farmboot/provisioning"
	"farmboot/provisioning/filenames"
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

// traits are all that sets kinds apart.
type traits struct {
	layout Layout
	made   []made // in the order in which people are told of architectures
	target bool   // has a run mode, and so on
	name   string // of the file to download, without what comes from the target
	ext    string
}

// made says of which files of the template an image for one architecture is made.
type made struct {
	arch  Arch
	files []string
}

// forBoth is for kinds whose one image is for both architectures.
func forBoth(files ...string) []made { return []made{{AMD64, files}, {ARM64, files}} }

var (
	ofNothing = forBoth()
	ofHybrid  = forBoth(filenames.EFI, filenames.ARM64, binary.Kernel, binary.ISO)
	ofDisk    = forBoth(filenames.EFI, filenames.ARM64)
	ofEFI     = []made{{AMD64, []string{filenames.EFI}}, {ARM64, []string{filenames.ARM64}}, {RISCV64, []string{filenames.RISCV64}}}
	ofSNPOnly = []made{{AMD64, []string{filenames.SNPOnly}}}
	ofKernel  = []made{{AMD64, []string{binary.Kernel}}}
)

// kinds is the table of all kinds, in the order in which people are told of them.
var kinds = []struct {
	Kind
	traits
}{
	// kind, layout, made of, needs a target, file name
	{Script, traits{Alone, ofNothing, true, "ipxe", ".ipxe"}},
	{ISO, traits{Hybrid, ofHybrid, true, "ipxe", ".iso"}},
	{USB, traits{Hybrid, ofHybrid, true, "ipxe", ".img"}},
	{UEFI, traits{Inside, ofEFI, true, "ipxe", ".efi"}},
	{UEFIDisk, traits{Disk, ofDisk, true, "uefiusb", ".img"}},
	{Kernel, traits{Inside, ofKernel, true, "ipxe", ".lkrn"}},
	{SNPOnly, traits{Inside, ofSNPOnly, true, "ipxe-snp", ".efi"}},
	{GenericKernel, traits{Plain, ofKernel, false, "ipxe-zero-os-generic", ".lkrn"}},
	{GenericUEFI, traits{Plain, ofEFI, false, "ipxe-zero-os-generic", ".efi"}},
	{ProvisionKrn, traits{Inside, ofKernel, false, "ipxe-zero-os-provision", ".lkrn"}},
	{ProvisionUEFI, traits{Inside, ofEFI, false, "ipxe-zero-os-provision", ".efi"}},
}

// Kinds returns all kinds, in the order in which people expect them.
func Kinds() []Kind {
	all := make([]Kind, len(kinds))
	for i, k := range kinds {
		all[i] = k.Kind
	}
	return all
}

// KindList names all kinds, for people.
func KindList() string { return join(Kinds()) }

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

// Recipe returns what an image of that kind is made of with these options. The error
// is a [provisioning.Error] with code [provisioning.Invalid] that says which options
// are accepted.
func (k Kind) Recipe(o Options) (Recipe, error) {
	t := k.traits()
	var accepted []Arch
	for _, m := range t.made {
		if m.arch == o.arch() {
			return Recipe{Layout: t.layout, Files: m.files}, nil
		}
		accepted = append(accepted, m.arch)
	}
	return Recipe{}, provisioning.Errorf(provisioning.Invalid, "no %s image for arch %q: accepted are %s", k, o.Arch, join(accepted))
}

// Shared lists the architectures that the one image of a kind is for; none where each has
// its own.
func (k Kind) Shared() (arches []string) {
	all := k.traits().made
	for _, m := range all {
		if len(all) == 1 || !slices.Equal(m.files, all[0].files) {
			return nil
		}
		arches = append(arches, string(m.arch))
	}
	return arches
}

// ContentType returns the media type to serve images of this kind as.
func (k Kind) ContentType() string {
	if k.traits().layout == Alone {
		return "text/plain; charset=utf-8"
	}
	return "application/octet-stream"
}

// UEFIContentType returns the media type by which UEFI firmware knows what it fetches
// (UEFI 2.10 section 24.7.1): it refuses others where the URL has no suffix.
func (k Kind) UEFIContentType() string {
	switch k.traits().ext {
	case ".efi":
		return "application/efi"
	case ".iso":
		return "application/vnd.efi-iso"
	case ".img":
		return "application/vnd.efi-img"
	}
	return k.ContentType()
}

// Ext returns the suffix of this kind's file names, such as ".iso".
func (k Kind) Ext() string { return k.traits().ext }

// IsFileName tells whether s is only a file name of this kind, such as "ipxe.iso" or
// "ipxe-prod-1234.iso", in letters of either case, or the name by which UEFI finds a
// program on removable media, such as "BOOTX64.EFI" (UEFI 2.10 section 3.5.1.1).
func (k Kind) IsFileName(s string) bool {
	t := k.traits()
	s = strings.ToLower(s)
	stem, ok := strings.CutSuffix(s, t.ext)
	return ok && (stem == "" || stem == t.name || strings.HasPrefix(stem, t.name+"-") || stem == "ipxe" || strings.HasPrefix(stem, "ipxe-") ||
		slices.Contains([]string{"bootx64.efi", "bootaa64.efi", "bootriscv64.efi"}, s))
}

// IsFileName tells whether s is only a file name of an image of some kind.
func IsFileName(s string) bool {
	return slices.ContainsFunc(Kinds(), func(k Kind) bool { return k != Script && k.IsFileName(s) })
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
	return cmp.Or(o.Arch, AMD64)
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
