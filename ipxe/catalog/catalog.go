// Package catalog is everything that can be fetched from us to boot from: network
// boot programs and boot images, each composed on demand with its script inside.
package catalog

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"path"

	"farmboot/ipxe"
	"farmboot/ipxe/binary"
	"farmboot/ipxe/kernel"
	"farmboot/ipxe/segment"
	"farmboot/provisioning"
)

// Catalog composes files. It keeps none, for composing one is faster than finding
// it on a disk. All fields are required; its methods are safe for concurrent use.
type Catalog struct {
	Template *binary.Template
	Kernels  *kernel.Store
	// Site is the appliance as those see it that reach it at that address of ours;
	// the zero address stands for the first LAN. scheme is "http", "https", or ""
	// for what the configuration says.
	Site func(local netip.Addr, scheme string) ipxe.Site
	// Autoexec hands out EFI programs as they are, with autoexec.ipxe beside them.
	Autoexec bool
}

// File is something to fetch.
type File struct {
	Name        string // what to call it on a disk
	ContentType string
	ETag        string // strong, quoted (RFC 9110 section 8.8.3)
	Content     *segment.File
}

// Script is the name under which iPXE looks for a script where it came from itself.
const Script = "autoexec.ipxe"

// Program returns a network boot program, as a node gets it that reached us at
// address local; or the script beside it, [Script]. Refusals are
// [provisioning.Error]s, with code NotFound for any other name.
func (c *Catalog) Program(name string, local netip.Addr) (File, error) {
	switch name {
	case Script, binary.Undionly, binary.EFI, binary.SNPOnly, binary.ARM64, binary.RISCV64:
	default:
		return File{}, provisioning.Errorf(provisioning.NotFound, "no network boot program %.60q", path.Base(name))
	}
	script, err := c.Site(local, "").Provision()
	if err != nil {
		return File{}, err
	}
	if name == Script {
		return newFile(name, "text/plain; charset=utf-8", segment.Of(script), [32]byte{}, script), nil
	}
	content, err := c.program(name, script)
	if err != nil {
		return File{}, err
	}
	contentType := "application/octet-stream"
	if name != binary.Undionly {
		contentType = "application/efi" // UEFI 2.10 section 24.7.1 asks for it
	}
	return newFile(name, contentType, content, c.Template.Digest(name), fmt.Appendf(script, "autoexec %t", c.Autoexec)), nil
}

// program is the named program with the script inside, or, where it must stay as
// it is, without: it then asks for the script beside it.
func (c *Catalog) program(name string, script []byte) (*segment.File, error) {
	if c.Autoexec && name != binary.Undionly {
		return c.Template.Plain(name)
	}
	return c.Template.NBP(name, script)
}

// newFile labels content with an ETag that stands for all that it was made of,
// which is much less to digest than the content.
func newFile(name, contentType string, content *segment.File, template [32]byte, inside []byte) File {
	h := sha256.New()
	fmt.Fprintf(h, "%d %s\n%x\n", layout, name, template)
	h.Write(inside)
	return File{Name: name, ContentType: contentType, ETag: fmt.Sprintf("%q", fmt.Sprintf("%x", h.Sum(nil)[:16])), Content: content}
}

// layout is part of every ETag: it grows when composing the same things gives
// other bytes than the release before.
const layout = 1
