package image

import (
	"crypto/sha256"
	"fmt"
	"slices"

	"farmboot/ipxe/binary"
	"farmboot/ipxe/segment"
	"farmboot/provisioning/filenames"
)

// Chain is what makes boot files start on x64 machines with Secure Boot on: firmware
// starts shim, shim our iPXE, which we signed.
type Chain struct {
	Name        string // of the shim's file
	Pair        bool   // ipxe.efi is signed already, by whom that shim trusts; see [binary.Shims]
	Shim        *segment.File
	MokManager  *segment.File // nil: none
	Certificate []byte        // of the key that we sign with, DER
	// KeyDisk is what [KeyDisk] returns, for our key; nil: none, NoKeyDisk says why.
	KeyDisk   *segment.File
	NoKeyDisk error
	ID        string // stands for all of this: equal IDs, equal files
	// Sign returns a program signed; the tag stands for its content.
	Sign func(tag string, f *segment.File) (*segment.File, error)
}

// NewChain returns the chain of these shims and certificate.
func NewChain(s binary.Shims, certificate []byte, sign func(string, *segment.File) (*segment.File, error)) *Chain {
	c := &Chain{Name: s.Name, Pair: s.Pair, Shim: segment.Of(s.Shim), Certificate: certificate, Sign: sign}
	if len(s.MokManager) > 0 {
		c.MokManager = segment.Of(s.MokManager)
	}
	h := sha256.Sum256(append([]byte(s.ID), certificate...))
	c.ID = fmt.Sprintf("%x", h[:16])
	return c
}

// Names that shim and people look for on a medium.
const (
	secondStage     = "EFI/BOOT/" + filenames.SecondStage // what shim starts, from its own folder
	pairsSecond     = "EFI/BOOT/" + filenames.EFI         // what iPXE's own shim starts
	mokManager      = "EFI/BOOT/" + filenames.MokManager  // what shim starts if it does not trust that
	certificateFile = filenames.Certificate               // what MokManager then lets a person trust
)

// isSigned tells whether a file of the template is signed when it goes out.
func (c *Chain) isSigned(name string) bool {
	return c != nil && (name == filenames.EFI && !c.Pair || name == filenames.SNPOnly)
}

// differs tells whether the chain makes another file of the recipe.
func (r Recipe) differs() bool {
	return r.Chain != nil && slices.ContainsFunc(r.Files, func(name string) bool { return name == filenames.EFI || name == filenames.SNPOnly })
}

// sign returns a program of the recipe signed, if that is to be.
func (r Recipe) sign(t *binary.Template, name string, script []byte, f *segment.File) (*segment.File, error) {
	if !r.Chain.isSigned(name) {
		return f, nil
	}
	program := Recipe{Layout: Inside, Files: []string{name}}
	if script == nil {
		program.Layout = Plain
	}
	return r.Chain.Sign(program.ETag(t, script), f)
}
