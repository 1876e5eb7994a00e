package binary

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"

	"farmboot/ipxe/image/iso9660"
)

// BootBlocks are the parts of SYSLINUX that start a Linux kernel from a CD, or from
// a stick that holds the same image, on BIOS. They are taken out of iPXE's own
// ipxe.iso.
type BootBlocks struct {
	MBR      []byte // isohdpfx.bin: boot code for the first sector
	Isolinux []byte // isolinux.bin: what the BIOS loads from a CD
	Ldlinux  []byte // ldlinux.c32: what isolinux.bin loads; of the same version

	digest [sha256.Size]byte
}

// BootBlocks returns the boot blocks for BIOS, or a [provisioning.Error] with code
// Unavailable that says why there are none.
func (t *Template) BootBlocks() (BootBlocks, error) { return t.blocks() }

// bootBlocks reads them, without ever holding the whole of the ISO image.
func (d folder) bootBlocks() (b BootBlocks, err error) {
	iso, _, err := d.open(ISO)
	if err == nil {
		defer iso.Close()
		h := sha256.New()
		if _, err = io.Copy(h, iso); err == nil {
			err = d.check(ISO, [sha256.Size]byte(h.Sum(nil)))
		}
	}
	if err == nil {
		b, err = readBootBlocks(iso)
	}
	if err != nil {
		return BootBlocks{}, unusable(ISO, err)
	}
	return b, nil
}

func readBootBlocks(iso io.ReaderAt) (b BootBlocks, err error) {
	b.MBR = make([]byte, iso9660.MBRSize)
	if _, err := iso.ReadAt(b.MBR, 0); err != nil {
		return b, fmt.Errorf("read the first sector: %w", err)
	}
	if b.Isolinux, err = iso9660.ReadFile(iso, "ISOLINUX.BIN"); err != nil {
		return b, err
	}
	if b.Ldlinux, err = iso9660.ReadFile(iso, "LDLINUX.C32"); err != nil {
		return b, err
	}
	if err := iso9660.CheckBootBlocks(b.MBR, b.Isolinux); err != nil {
		return b, err
	}
	if !bytes.HasPrefix(b.Ldlinux, []byte("\x7fELF")) {
		return b, fmt.Errorf("in ldlinux.c32: want an ELF module, found %d other bytes", len(b.Ldlinux))
	}
	b.digest = digestOf(b.MBR, b.Isolinux, b.Ldlinux)
	return b, nil
}

// digestOf stands for all of the parts: where one differs, it does.
func digestOf(parts ...[]byte) [sha256.Size]byte {
	h := sha256.New()
	for _, part := range parts {
		fmt.Fprintf(h, "%d\n", len(part))
		h.Write(part)
	}
	return [sha256.Size]byte(h.Sum(nil))
}
