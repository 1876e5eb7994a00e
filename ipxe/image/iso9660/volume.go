package iso9660

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"farmboot/ipxe/image/mbr"
	"farmboot/ipxe/segment"
)

// Volume describes a hybrid boot image.
type Volume struct {
	ID       string        // volume identifier: up to 32 capitals, digits and "_"
	DiskID   [4]byte       // disk signature in the MBR
	Time     time.Time     // of everything
	MBR      []byte        // isohybrid boot code (isohdpfx.bin)
	Isolinux []byte        // isolinux.bin, of a version that isohybrid boot code can start
	EFI      *segment.File // EFI system partition: a FAT volume, at most 32 MiB
	Files    []File        // what ISOLINUX needs
}

// File is a file in the root directory.
type File struct {
	Name string // eight characters and three, in capitals: "LDLINUX.C32"
	Data *segment.File
}

// Sectors in front of the files. Each part is one sector.
const (
	// pvdSector = 16
	bootRecordSector = iota + pvdSector + 1
	terminatorSector
	typeLPathTableSector
	typeMPathTableSector
	rootSector
	firstFileSector
)

const (
	cylinder    = 1 << 20 // images are whole cylinders in the geometry of package mbr
	pathRecord  = 10      // bytes: path tables hold the root directory alone
	perSector   = sectorSize / mbr.SectorSize
	maxFileSize = 1<<32 - 1
)

// Build returns the image.
func (v Volume) Build() (*segment.File, error) {
	if err := v.check(); err != nil {
		return nil, err
	}
	l := v.layout()
	root := v.rootDirectory(l.files)
	if len(root) > sectorSize {
		return nil, fmt.Errorf("ISO 9660 root directory of %d bytes: at most %d fit", len(root), sectorSize)
	}
	first, err := v.masterBootRecord(l)
	if err != nil {
		return nil, err
	}

	var b segment.Builder
	b.Add(first)
	for i, part := range [][]byte{
		v.primaryDescriptor(l.sectors),
		encode(nil, bootDescriptor{descriptorHeader: newDescriptorHeader(bootRecordDescriptor), BootSystemIdentifier: elTorito, BootCatalog: l.catalog.sector}),
		encode(nil, newDescriptorHeader(setTerminator)),
		pathTable(le),
		pathTable(be),
		root,
	} {
		b.PadTo(int64(pvdSector+i) * sectorSize)
		b.Add(part)
	}
	for _, f := range l.files {
		b.PadTo(int64(f.sector) * sectorSize)
		b.Append(f.data)
	}
	b.PadTo(int64(l.sectors) * sectorSize)
	return b.File()
}

func (v Volume) check() error {
	if len(v.ID) > 32 {
		return fmt.Errorf("ISO 9660 volume identifier %q: at most 32 characters fit", v.ID)
	}
	if err := CheckBootBlocks(v.MBR, v.Isolinux); err != nil {
		return err
	}
	if size := v.EFI.Size(); size > 0xffff*virtualSector || size%virtualSector != 0 {
		return fmt.Errorf("EFI system partition of %d bytes: want whole sectors, and at most %d bytes, which is what El Torito can say", size, 0xffff*virtualSector)
	}
	for _, f := range v.Files {
		if f.Data.Size() > maxFileSize {
			return fmt.Errorf("file %s of %d bytes: at most %d fit in ISO 9660", f.Name, f.Data.Size(), maxFileSize)
		}
	}
	return nil
}

// placed is a file in its place.
type placed struct {
	name string
	data *segment.File
	extent
}

// layout is where everything is.
type layout struct {
	files                  []placed // as they lie in the image
	catalog, isolinux, efi extent
	sectors                uint32 // of the whole image
}

// layout places the boot catalog and ISOLINUX, the files, and the EFI system
// partition last, where it may be as long as it likes.
func (v Volume) layout() layout {
	next := uint32(firstFileSector)
	reserve := func(size int64) extent {
		e := extent{next, uint32(size)}
		next += uint32((size + sectorSize - 1) / sectorSize)
		return e
	}
	l := layout{catalog: reserve(sectorSize), isolinux: reserve(int64(len(v.Isolinux)))}
	l.files = []placed{{extent: l.catalog}, {"ISOLINUX.BIN", withBootInfo(v.Isolinux, l.isolinux), l.isolinux}}
	for _, f := range v.Files {
		l.files = append(l.files, placed{f.Name, f.Data, reserve(f.Data.Size())})
	}
	l.efi = reserve(v.EFI.Size())
	l.files = append(l.files, placed{"EFI.IMG", v.EFI, l.efi})
	l.files[0] = placed{"BOOT.CAT", segment.Of(bootCatalog(l.isolinux, l.efi)), l.catalog}

	const perCylinder = cylinder / sectorSize
	l.sectors = (next + perCylinder - 1) / perCylinder * perCylinder
	return l
}

// rootDirectory returns the root directory's records, in the order of their names
// as the standard wants it.
func (v Volume) rootDirectory(files []placed) []byte {
	files = slices.Clone(files)
	slices.SortFunc(files, func(a, b placed) int { return strings.Compare(a.name, b.name) })
	root := extent{rootSector, sectorSize}
	b := appendRecord(nil, nameSelf, root, isDirectory, v.Time)
	b = appendRecord(b, nameParent, root, isDirectory, v.Time)
	for _, f := range files {
		b = appendRecord(b, f.name+";1", f.extent, 0, v.Time)
	}
	return b
}

// Names of a directory itself and of its parent (ECMA-119, 6.8.2.2).
const (
	nameSelf   = "\x00"
	nameParent = "\x01"
)

func (v Volume) primaryDescriptor(sectors uint32) []byte {
	d := primaryDescriptor{
		descriptorHeader:     newDescriptorHeader(primaryVolumeDescriptor),
		VolumeSpaceSize:      newBoth32(sectors),
		VolumeSetSize:        newBoth16(1),
		VolumeSequenceNumber: newBoth16(1),
		LogicalBlockSize:     newBoth16(sectorSize),
		PathTableSize:        newBoth32(pathRecord),
		TypeLPathTable:       typeLPathTableSector,
		CreationTime:         newDigits(v.Time),
		ModificationTime:     newDigits(v.Time),
		ExpirationTime:       noDigits(),
		EffectiveTime:        noDigits(),
		FileStructureVersion: 1,
	}
	be.PutUint32(d.TypeMPathTable[:], typeMPathTableSector)
	copy(d.RootDirectoryRecord[:], appendRecord(nil, nameSelf, extent{rootSector, sectorSize}, isDirectory, v.Time))
	for _, text := range [][]byte{
		d.SystemIdentifier[:], d.VolumeIdentifier[:], d.VolumeSetIdentifier[:], d.PublisherIdentifier[:],
		d.DataPreparerIdentifier[:], d.ApplicationIdentifier[:],
		d.CopyrightFileIdentifier[:], d.AbstractFileIdentifier[:], d.BibliographicFileIdentifier[:],
	} {
		for i := range text {
			text[i] = ' '
		}
	}
	copy(d.VolumeIdentifier[:], v.ID)
	return encode(nil, d)
}

// elTorito is the boot system identifier that makes a boot record El Torito's.
var elTorito = [32]byte([]byte("EL TORITO SPECIFICATION\x00\x00\x00\x00\x00\x00\x00\x00\x00"))

// pathTable returns a path table with the root directory in it (ECMA-119, 9.4).
func pathTable(order binary.AppendByteOrder) []byte {
	b := []byte{1, 0} // length of the name, length of extended attributes
	b = order.AppendUint32(b, rootSector)
	b = order.AppendUint16(b, 1) // number of the parent directory
	return append(b, nameSelf+"\x00"...)
}

// masterBootRecord returns the first sector, for sticks and disks. The first
// partition is there so that BIOSes which want an active one find it; of type 0x00
// it is none for UEFI, which would refuse partitions that overlap (measured: OVMF
// boots with type 0x00, not with isohybrid's usual 0x17).
func (v Volume) masterBootRecord(l layout) ([]byte, error) {
	code := le.AppendUint32(slices.Clone(v.MBR), l.isolinux.sector*perSector) // at MBRSize
	return mbr.Encode(code, v.DiskID,
		mbr.Partition{Active: true, Type: mbr.TypeEmpty, Sectors: l.sectors * perSector},
		mbr.Partition{Type: mbr.TypeEFISystem, Start: l.efi.sector * perSector, Sectors: l.efi.size / mbr.SectorSize})
}
