package image

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"farmboot/ipxe/binary"
	"farmboot/ipxe/segment"
	"farmboot/provisioning"
)

// Composer makes images from a template. It has no state of its own and may be used
// concurrently.
type Composer struct {
	Template *binary.Template
}

// Compose returns the image of that kind with the script inside; nil for kinds that
// have none. Refusals are [provisioning.Error]s: Invalid for options or a script
// that cannot be, Unavailable for a template file that cannot be used.
func (c Composer) Compose(k Kind, script []byte, o Options) (*segment.File, error) {
	if err := o.Check(k); err != nil {
		return nil, err
	}
	if k.HasScript() {
		if err := binary.CheckScript(script); err != nil {
			return nil, err
		}
	}
	switch k {
	case Script:
		return segment.Of(script), nil
	case ISO, USB:
		return c.hybrid(script)
	case UEFIDisk:
		return c.disk(script)
	case GenericKernel, GenericUEFI:
		return c.Template.Plain(program(k, o))
	case UEFI, SNPOnly, Kernel, ProvisionKrn, ProvisionUEFI:
		return c.Template.NBP(program(k, o), script)
	}
	return nil, provisioning.Errorf(provisioning.NotFound, "unknown image kind %q", k)
}

// program returns the template file that an image of that kind is, but for what is
// put inside; "" if it is not one.
func program(k Kind, o Options) string {
	switch k {
	case Kernel, GenericKernel, ProvisionKrn:
		return binary.Kernel
	case SNPOnly:
		return binary.SNPOnly
	case UEFI, GenericUEFI, ProvisionUEFI:
		switch o.arch() {
		case ARM64:
			return binary.ARM64
		case RISCV64:
			return binary.RISCV64
		}
		return binary.EFI
	}
	return ""
}

// parts returns the template files that are in an image.
func parts(k Kind, o Options) []string {
	switch k {
	case ISO, USB:
		return []string{binary.EFI, binary.ARM64, binary.Kernel, binary.ISO}
	case UEFIDisk:
		return []string{binary.EFI, binary.ARM64}
	case Script:
		return nil
	}
	return []string{program(k, o)}
}

// layoutVersion is part of every entity tag. Whoever changes a byte of what is
// composed from the same script and template counts it up.
const layoutVersion = 1

// ETag returns the strong entity tag (RFC 9110, 8.8.3), quotes included, of what
// Compose returns for the same arguments. It is made from the script and from
// digests of the template's files, without composing anything.
func (c Composer) ETag(k Kind, script []byte, o Options) string {
	files := parts(k, o)
	h := sha256.New()
	fmt.Fprintf(h, "%d %s %q %x\n", layoutVersion, layoutOf(k), files, c.Template.Digest(files...))
	if k.HasScript() {
		h.Write(script)
	}
	return `"` + hex.EncodeToString(h.Sum(nil)[:16]) + `"`
}

// layoutOf names how an image is laid out around its parts and its script.
func layoutOf(k Kind) string {
	switch k {
	case Script:
		return "script"
	case ISO, USB:
		return "hybrid"
	case UEFIDisk:
		return "disk"
	}
	return "program"
}

// identity returns bytes for identifiers of disks and volumes: other scripts, other
// identifiers.
func identity(script []byte) [sha256.Size]byte { return sha256.Sum256(script) }
