package iso9660

import (
	"bytes"
	"fmt"
)

// MBRSize is the size of isohybrid boot code (isohdpfx.bin of SYSLINUX), in bytes.
// Behind it stands the sector of isolinux.bin.
const MBRSize = 432

// isohybridMagic stands at offset bootInfoEnd of an isolinux.bin that isohybrid boot
// code can start, which looks for it there (SYSLINUX 4.00 and newer).
const isohybridMagic = "\xfb\xc0\x78\x70"

// CheckBootBlocks tells whether mbr is isohybrid boot code, and isolinux an
// isolinux.bin that it can start. An error says what was wanted at which place and
// what was found.
func CheckBootBlocks(mbr, isolinux []byte) error {
	if len(mbr) != MBRSize || !bytes.Contains(mbr, []byte(isohybridMagic)) {
		return fmt.Errorf("in the first sector: want %d bytes of isohybrid boot code, which looks for %x, found %d bytes of other code", MBRSize, isohybridMagic, len(mbr))
	}
	if n := len(isolinux); n < sectorSize || n > 64<<10 {
		return fmt.Errorf("in isolinux.bin: want 2 to 64 KiB, found %d bytes", n)
	}
	if got := isolinux[bootInfoEnd : bootInfoEnd+len(isohybridMagic)]; string(got) != isohybridMagic {
		return fmt.Errorf("in isolinux.bin at offset %d: want %x, found %x", bootInfoEnd, isohybridMagic, got)
	}
	return nil
}
