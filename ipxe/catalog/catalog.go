// Package catalog is everything that can be fetched from us to boot from: network
// boot programs and boot images, each composed on demand with its script inside.
package catalog

import (
	"net/netip"
	"path"

	"farmboot/ipxe"
	"farmboot/ipxe/binary"
	"farmboot/ipxe/image"
	"farmboot/ipxe/kernel"
	"farmboot/ipxe/segment"
	"farmboot/provisioning"
	"farmboot/provisioning/filenames"
)

// Catalog composes files. It keeps no image, for composing one is faster than finding
// it on a disk. All exported fields are required; its methods are safe for concurrent
// use.
type Catalog struct {
	// Template returns the binaries that are used now: what they trust may change.
	Template func() *binary.Template
	Kernels  *kernel.Store
	// Site is the appliance as those see it that reach it at that address of ours;
	// the zero address stands for the first LAN. scheme is "http", "https", or ""
	// for what the configuration says.
	Site func(local netip.Addr, scheme string) ipxe.Site
	// Chain returns what machines with Secure Boot boot by; nil: nothing is signed, or
	// nothing needs to be.
	Chain func() *image.Chain
	// Autoexec hands out EFI programs as they are, with autoexec.ipxe beside them.
	Autoexec bool

	sums     sums
	programs programs
}

// File is something to fetch.
type File struct {
	Name        string // what to call it on a disk
	ContentType string
	ETag        string // strong, quoted (RFC 9110 section 8.8.3)
	Script      []byte // inside it; nil if there is none
	Content     *segment.File
}

// Program returns a network boot program, as a node gets it that reached us at
// address local; or the script beside it, [filenames.Autoexec]. Refusals are
// [provisioning.Error]s, with code NotFound for any other name.
func (c *Catalog) Program(name string, local netip.Addr) (File, error) {
	f := File{Name: name, ContentType: "application/octet-stream"}
	recipe := image.Recipe{Layout: image.Inside, Files: []string{name}}
	switch name {
	case filenames.Autoexec:
		f.ContentType = "text/plain; charset=utf-8"
		recipe = image.Recipe{Layout: image.Alone}
	case filenames.Undionly:
	case filenames.EFI, filenames.SNPOnly, filenames.ARM64, filenames.RISCV64:
		f.ContentType = "application/efi" // UEFI 2.10 section 24.7.1 asks for it
		if chain := c.chain(); c.Autoexec || name == filenames.EFI && chain != nil && chain.Pair {
			recipe.Layout = image.Plain
		}
	default:
		if chain := c.chain(); chain != nil {
			if f, ok, err := c.signed(name, chain, local); ok || err != nil {
				return f, err
			}
		}
		return File{}, provisioning.Errorf(provisioning.NotFound, "no network boot program %.60q", path.Base(name))
	}
	site, template := c.Site(local, ""), c.Template()
	return c.programs.of(template, program{name, recipe.Layout, site.Base}, func() (File, error) {
		return f.compose(template, recipe, site.Provision)
	})
}

// compose makes f, which has its name and type, by a recipe with that script.
func (f File) compose(template *binary.Template, recipe image.Recipe, script func() ([]byte, error)) (_ File, err error) {
	if recipe.HasScript() {
		if f.Script, err = script(); err != nil {
			return File{}, err
		}
	}
	if f.Content, err = recipe.Compose(template, f.Script); err != nil {
		return File{}, err
	}
	f.ETag = recipe.ETag(template, f.Script)
	return f, nil
}
