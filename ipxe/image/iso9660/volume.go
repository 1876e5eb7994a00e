package iso9660

import (
	"cmp"
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
	Files    []File        // what ISOLINUX needs, and what people copy to sticks
}

// File is a file. Its folders are there because it is.
type File struct {
	Name string // capitals, digits, "_" and one dot, at most 30, behind folders: "EFI/BOOT/BOOTX64.EFI"
	Data *segment.File
}

// Sectors in front of the files. Each part is one sector.
const (
	// pvdSector = 16
	bootRecordSector = iota + pvdSector + 1
	terminatorSector
	typeLPathTableSector
	typeMPathTableSector
	rootSector // and behind it all other folders
)

const (
	cylinder    = 1 << 20 // images are whole cylinders in the geometry of package mbr
	perSector   = sectorSize / mbr.SectorSize
	maxFileSize = 1<<32 - 1
)

// Build returns the image.
func (v Volume) Build() (*segment.File, error) {
	if err := v.check(); err != nil {
		return nil, err
	}
	l := v.layout()
	first, err := v.masterBootRecord(l)
	if err != nil {
		return nil, err
	}
	parts := [][]byte{
		v.primaryDescriptor(l.sectors, len(pathTable(le, l.folders))),
		encode(nil, bootDescriptor{descriptorHeader: newDescriptorHeader(bootRecordDescriptor), BootSystemIdentifier: elTorito, BootCatalog: l.catalog.sector}),
		encode(nil, newDescriptorHeader(setTerminator)),
		pathTable(le, l.folders),
		pathTable(be, l.folders),
	}
	for i := range l.folders {
		records := v.directory(l.folders, i, l.files)
		if len(records) > sectorSize {
			return nil, fmt.Errorf("ISO 9660 directory %q of %d bytes: at most %d fit", l.folders[i].path, len(records), sectorSize)
		}
		parts = append(parts, records)
	}

	var b segment.Builder
	b.Add(first)
	for i, part := range parts {
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

// folder is a directory in its place, one sector long.
type folder struct {
	path   string // "": the root
	parent int    // its index
	extent
}

// split returns the folder and the name of a path.
func split(name string) (dir, base string) {
	i := strings.LastIndexByte(name, '/')
	return name[:max(i, 0)], name[i+1:]
}

// layout is where everything is.
type layout struct {
	folders                []folder // in the order of path tables (ECMA-119, 6.9.1): by depth, then by path
	files                  []placed // as they lie in the image
	catalog, isolinux, efi extent
	sectors                uint32 // of the whole image
}

// layout places the boot catalog and ISOLINUX, the files, and the EFI system
// partition last, where it may be as long as it likes.
func (v Volume) layout() layout {
	folders := v.folders()
	next := uint32(rootSector + len(folders))
	reserve := func(size int64) extent {
		e := extent{next, uint32(size)}
		next += uint32((size + sectorSize - 1) / sectorSize)
		return e
	}
	l := layout{folders: folders, catalog: reserve(sectorSize), isolinux: reserve(int64(len(v.Isolinux)))}
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

// folders returns the root and all that the files are in.
func (v Volume) folders() []folder {
	paths := []string{""}
	for _, f := range v.Files {
		for dir, _ := split(f.Name); dir != "" && !slices.Contains(paths, dir); dir, _ = split(dir) {
			paths = append(paths, dir)
		}
	}
	depth := func(path string) int { return len(path) - len(strings.ReplaceAll(path, "/", "")) + min(len(path), 1) }
	slices.SortFunc(paths, func(a, b string) int {
		return cmp.Or(cmp.Compare(depth(a), depth(b)), strings.Compare(a, b))
	})
	list := make([]folder, len(paths))
	for i, path := range paths {
		parent, _ := split(path)
		list[i] = folder{path, slices.Index(paths, parent), extent{uint32(rootSector + i), sectorSize}}
	}
	return list
}

// directory returns the records of a folder, in the order of their names as the standard
// wants it.
func (v Volume) directory(folders []folder, of int, files []placed) []byte {
	type entry struct {
		name string
		extent
		flags byte
	}
	var entries []entry
	for i, f := range folders {
		if dir, base := split(f.path); i > 0 && dir == folders[of].path {
			entries = append(entries, entry{base, f.extent, isDirectory})
		}
	}
	for _, f := range files {
		if dir, base := split(f.name); dir == folders[of].path {
			entries = append(entries, entry{base + ";1", f.extent, 0})
		}
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	b := appendRecord(nil, nameSelf, folders[of].extent, isDirectory, v.Time)
	b = appendRecord(b, nameParent, folders[folders[of].parent].extent, isDirectory, v.Time)
	for _, e := range entries {
		b = appendRecord(b, e.name, e.extent, e.flags, v.Time)
	}
	return b
}

// Names of a directory itself and of its parent (ECMA-119, 6.8.2.2).
const (
	nameSelf   = "\x00"
	nameParent = "\x01"
)

func (v Volume) primaryDescriptor(sectors uint32, pathTable int) []byte {
	d := primaryDescriptor{
		descriptorHeader:     newDescriptorHeader(primaryVolumeDescriptor),
		VolumeSpaceSize:      newBoth32(sectors),
		VolumeSetSize:        newBoth16(1),
		VolumeSequenceNumber: newBoth16(1),
		LogicalBlockSize:     newBoth16(sectorSize),
		PathTableSize:        newBoth32(uint32(pathTable)),
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

// pathTable returns a path table (ECMA-119, 9.4).
func pathTable(order binary.AppendByteOrder, folders []folder) []byte {
	var b []byte
	for _, f := range folders {
		_, name := split(f.path)
		if f.path == "" {
			name = nameSelf
		}
		b = append(b, byte(len(name)), 0) // length of extended attributes
		b = order.AppendUint32(b, f.sector)
		b = order.AppendUint16(b, uint16(f.parent+1))
		b = append(b, name...)
		if len(name)%2 != 0 {
			b = append(b, 0)
		}
	}
	return b
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
