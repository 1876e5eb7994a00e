package catalog

import (
	"fmt"
	"net/netip"
	"strings"

	"farmboot/ipxe/image"
	"farmboot/ipxe/segment"
	"farmboot/provisioning/filenames"
)

// Probed tells whether shim looks for that name where there need not be anything:
// lists of what is revoked, more certificates (shim 16, shim.c load_revocations and
// load_certs).
func Probed(name string) bool {
	switch name[strings.LastIndexByte(name, '/')+1:] {
	case "revocations_sku.efi", "revocations_sbat.efi", "shim_certificate_0.efi":
		return true
	}
	return false
}

func (c *Catalog) chain() *image.Chain {
	if c.Chain == nil {
		return nil
	}
	return c.Chain()
}

// signed returns a file of the chain; ok is false for other names.
func (c *Catalog) signed(name string, chain *image.Chain, local netip.Addr) (f File, ok bool, err error) {
	f = File{Name: name, ContentType: "application/efi"}
	fixed := func(content *segment.File) (File, bool, error) {
		if content == nil {
			return File{}, false, nil
		}
		f.Content = content
		f.ETag = fmt.Sprintf(`"%s-%s"`, strings.TrimSuffix(base(name), ".efi"), chain.ID)
		return f, true, nil
	}
	switch base(name) {
	case chain.Name:
		return fixed(chain.Shim)
	case filenames.MokManager:
		return fixed(chain.MokManager)
	case filenames.Certificate:
		f.ContentType = "application/pkix-cert"
		return fixed(segment.Of(chain.Certificate))
	case filenames.KeyDisk:
		f.ContentType = "application/octet-stream"
		return fixed(chain.KeyDisk)
	case filenames.EnrolDisk:
		f.ContentType = "application/vnd.efi-img" // by which firmware knows it for a disk (UEFI 2.10, 24.7.3.1)
		recipe := image.Recipe{Layout: image.Disk, Files: []string{filenames.EFI}, Chain: chain}
		f, err = f.compose(c.Template(), recipe, c.Site(local, "").Provision)
		return f, true, err
	case filenames.SecondStage:
		if chain.Pair {
			return File{}, false, nil
		}
		program := filenames.EFI
		if strings.HasPrefix(name, filenames.SNPFolder) {
			program = filenames.SNPOnly
		}
		recipe := image.Recipe{Layout: image.Inside, Files: []string{program}, Chain: chain}
		f, err = f.compose(c.Template(), recipe, c.Site(local, "").Provision)
		return f, true, err
	}
	return File{}, false, nil
}

// base takes the folder of a variant off a name.
func base(name string) string { return strings.TrimPrefix(name, filenames.SNPFolder) }
