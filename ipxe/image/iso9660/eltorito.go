package iso9660

import "farmboot/ipxe/segment"

// validationEntry starts a boot catalog (El Torito 1.0, figure 2). The sum of all
// its 16-bit words is zero.
type validationEntry struct {
	HeaderID   byte
	PlatformID byte
	_          uint16
	ID         [24]byte
	Checksum   uint16
	Key        uint16
}

// bootEntry is an initial/default entry or a section entry (figures 3 and 5).
type bootEntry struct {
	BootIndicator byte
	BootMediaType byte
	LoadSegment   uint16
	SystemType    byte
	_             byte
	SectorCount   uint16 // of 512 bytes, to be loaded
	LoadRBA       uint32 // sector of 2048 bytes
	_             [20]byte
}

// sectionHeader precedes the entries for another platform (figure 4).
type sectionHeader struct {
	HeaderIndicator byte
	PlatformID      byte
	Entries         uint16
	ID              [28]byte
}

const (
	bootable        = 0x88
	noEmulation     = 0x00
	lastHeader      = 0x91
	platformBIOS    = 0x00
	platformEFI     = 0xef
	virtualSector   = 512 // the unit of SectorCount
	isolinuxSectors = 4   // ISOLINUX loads the rest of itself
)

// bootCatalog returns the boot catalog: ISOLINUX for BIOS, and an EFI system
// partition.
func bootCatalog(isolinux, efi extent) []byte {
	v := validationEntry{HeaderID: 1, PlatformID: platformBIOS, Key: 0xaa55}
	copy(v.ID[:], "FARMBOOT")
	v.Checksum = -sum16(encode(nil, v))

	b := encode(nil, v)
	b = encode(b, bootEntry{BootIndicator: bootable, BootMediaType: noEmulation, SectorCount: isolinuxSectors, LoadRBA: isolinux.sector})
	b = encode(b, sectionHeader{HeaderIndicator: lastHeader, PlatformID: platformEFI, Entries: 1})
	return encode(b, bootEntry{BootIndicator: bootable, BootMediaType: noEmulation, SectorCount: uint16(efi.size / virtualSector), LoadRBA: efi.sector})
}

// sum16 adds up 16-bit words.
func sum16(b []byte) (sum uint16) {
	for ; len(b) >= 2; b = b[2:] {
		sum += le.Uint16(b)
	}
	return sum
}

// bootInfoTable is what ISOLINUX wants to find at offset 8 of itself (mkisofs
// -boot-info-table).
type bootInfoTable struct {
	PrimaryVolumeDescriptor uint32 // its sector
	BootFile                uint32 // its sector
	BootFileLength          uint32
	Checksum                uint32 // of the 32-bit words from bootInfoEnd on
	_                       [40]byte
}

const (
	bootInfoAt  = 8
	bootInfoEnd = 64
)

// withBootInfo returns an isolinux.bin that stands at e, with its boot info table.
func withBootInfo(isolinux []byte, e extent) *segment.File {
	front := append([]byte{}, isolinux[:bootInfoAt]...)
	front = encode(front, bootInfoTable{
		PrimaryVolumeDescriptor: pvdSector,
		BootFile:                e.sector,
		BootFileLength:          e.size,
		Checksum:                sum32(isolinux[bootInfoEnd:]),
	})
	return segment.Of(front, isolinux[bootInfoEnd:])
}

// sum32 adds up 32-bit words, the last one padded with zeros.
func sum32(b []byte) (sum uint32) {
	for ; len(b) >= 4; b = b[4:] {
		sum += le.Uint32(b)
	}
	var last [4]byte
	copy(last[:], b)
	return sum + le.Uint32(last[:])
}
