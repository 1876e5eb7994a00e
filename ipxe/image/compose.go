package image

import (
	"crypto/sha256"
	"fmt"

	"farmboot/ipxe/binary"
	"farmboot/ipxe/segment"
)

// Layout says how a script and files of the template are put together.
type Layout string

// The layouts.
const (
	Alone  Layout = "alone"  // the script, and nothing else
	Plain  Layout = "plain"  // a program as it is, without a script
	Inside Layout = "inside" // a program that has the script inside
	Hybrid Layout = "hybrid" // an image for CD, stick and disk
	Disk   Layout = "disk"   // the image of a disk with an EFI system partition
)

// Recipe says what a boot file is made of, besides its script.
type Recipe struct {
	Layout Layout
	Files  []string // of the template: all that have a byte in it
	Chain  *Chain   // for Secure Boot; nil: nothing is signed
}

// HasScript tells whether there is a script in it at all.
func (r Recipe) HasScript() bool { return r.Layout != Plain }

// Compose returns the file, with the script inside if it has one. Refusals are
// [provisioning.Error]s: Invalid for a script that cannot be, Unavailable for a
// template file that cannot be used.
func (r Recipe) Compose(t *binary.Template, script []byte) (*segment.File, error) {
	if r.HasScript() {
		if err := binary.CheckScript(script); err != nil {
			return nil, err
		}
	}
	switch r.Layout {
	case Alone:
		return segment.Of(script), nil
	case Plain:
		f, err := t.Plain(r.Files[0])
		if err != nil {
			return nil, err
		}
		return r.sign(t, r.Files[0], nil, f)
	case Inside:
		f, err := t.NBP(r.Files[0], script)
		if err != nil {
			return nil, err
		}
		return r.sign(t, r.Files[0], script, f)
	case Hybrid:
		return r.hybrid(t, script)
	case Disk:
		return r.disk(t, script)
	}
	return nil, fmt.Errorf("unknown layout %q of a boot file", r.Layout)
}

// layoutVersion is part of every entity tag. Whoever changes a byte of what is
// composed from the same script and template counts it up.
const layoutVersion = 3

// ETag returns the strong entity tag (RFC 9110, 8.8.3), quotes included, of what
// Compose returns for the same arguments. It is made from the script and from
// digests of the template's files, without composing anything.
func (r Recipe) ETag(t *binary.Template, script []byte) string {
	h := sha256.New()
	fmt.Fprintf(h, "%d %s %q %x\n", layoutVersion, r.Layout, r.Files, t.Digest(r.Files...))
	if r.HasScript() {
		h.Write(script)
	}
	if r.differs() {
		fmt.Fprintf(h, "\nsigned %s\n", r.Chain.ID)
	}
	return fmt.Sprintf(`"%x"`, h.Sum(nil)[:16])
}

// identity returns bytes for identifiers of disks and volumes: other scripts, other
// identifiers.
func identity(script []byte) [sha256.Size]byte { return sha256.Sum256(script) }
