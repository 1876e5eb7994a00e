package catalog

import (
	"fmt"
	"net/netip"
	"strings"

	"farmboot/ipxe/binary"
	"farmboot/ipxe/image"
	"farmboot/ipxe/segment"
)

// Names of the chain by which machines with Secure Boot boot. All but the disks
// are also there in the folder [SNPFolder], where the second stage uses the firmware's
// own network driver: shim looks for everything in the folder that it comes from.
const (
	SecondStage = "grubx64.efi"  // what shim starts: our iPXE, signed, with its script
	Certificate = "FARMBOOT.CER" // of the key that signed it, DER
	EnrolDisk   = "enrol.img"    // a disk with all of that, which UEFI HTTP Boot keeps in memory
	KeyDisk     = "keys.img"     // a disk that makes firmware in Setup Mode trust it: [image.KeyDisk]
	SNPFolder   = "snp/"
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
	case binary.MokManager:
		return fixed(chain.MokManager)
	case Certificate:
		f.ContentType = "application/pkix-cert"
		return fixed(segment.Of(chain.Certificate))
	case KeyDisk:
		f.ContentType = "application/octet-stream"
		return fixed(chain.KeyDisk)
	case EnrolDisk:
		f.ContentType = "application/vnd.efi-img" // by which firmware knows it for a disk (UEFI 2.10, 24.7.3.1)
		recipe := image.Recipe{Layout: image.Disk, Files: []string{binary.EFI}, Chain: chain}
		f, err = c.compose(f, recipe, func() ([]byte, error) { return c.Site(local, "").Provision() })
		return f, true, err
	case SecondStage:
		if chain.Pair {
			return File{}, false, nil
		}
		program := binary.EFI
		if strings.HasPrefix(name, SNPFolder) {
			program = binary.SNPOnly
		}
		recipe := image.Recipe{Layout: image.Inside, Files: []string{program}, Chain: chain}
		f, err = c.compose(f, recipe, func() ([]byte, error) { return c.Site(local, "").Provision() })
		return f, true, err
	}
	return File{}, false, nil
}

// base takes the folder of a variant off a name.
func base(name string) string { return strings.TrimPrefix(name, SNPFolder) }
