// Package fat lays out FAT12 and FAT16 volumes.
//
// A volume (Microsoft Extensible Firmware Initiative FAT32 File System
// Specification, 1.03) is a boot sector, two copies of the file allocation table,
// the root directory, and clusters. Here every file and directory has its clusters
// in one run. Files are shared, not copied: only boot sector, tables and
// directories are made. The same files give the same bytes; all times are the same
// fixed one.
package fat

import (
	"encoding/binary"
	"fmt"

	"farmboot/ipxe/segment"
)

var le = binary.LittleEndian

// File is a file of a volume.
type File struct {
	Path string // "EFI/BOOT/BOOTX64.EFI"; printable ASCII
	Data *segment.File
}

// Volume describes a volume.
type Volume struct {
	Label       string // 1 to 11 capitals
	ID          uint32 // serial number
	Hidden      uint32 // sectors on the disk in front of the volume
	ClusterSize int    // in bytes, a power of two from 512 to 32768
	MinClusters int    // at least so many; MinFAT16 makes the volume a FAT16 one
	Free        int64  // room for more, in bytes
	Files       []File
}

// The number of clusters, and nothing else, tells FAT12 from FAT16 and FAT32. The
// specification advises to keep 16 away from these limits, for some get them wrong.
const (
	minFAT16 = 4085
	minFAT32 = 65525
	margin   = 16

	// MinFAT16 is a MinClusters that makes a FAT16 volume.
	MinFAT16 = minFAT16 + margin
)

const (
	sectorSize     = 512
	fatCopies      = 2
	entrySize      = 32
	minRootEntries = 512  // the usual number
	maxRootEntries = 4096 // more than anybody puts there
	firstCluster   = 2
)

// Build returns the volume, a whole number of clusters.
func (v Volume) Build() (*segment.File, error) {
	if c := v.ClusterSize; c < sectorSize || c > 32<<10 || c&(c-1) != 0 {
		return nil, fmt.Errorf("FAT cluster of %d bytes: want a power of two from 512 to 32768", c)
	}
	if n := len(v.Label); n == 0 || n > len(shortName{}) {
		return nil, fmt.Errorf("FAT label %q: want 1 to %d characters", v.Label, len(shortName{}))
	}
	tree, err := plant(v.Files)
	if err != nil {
		return nil, err
	}
	used := tree.allocate(v.ClusterSize)
	g, err := v.geometry(tree, used)
	if err != nil {
		return nil, err
	}
	table := g.table(tree)

	var b segment.Builder
	b.Add(v.bootSector(g))
	b.PadTo(g.sectors(g.reserved))
	for range fatCopies {
		b.Add(table)
	}
	b.Add(tree.root.directory(v.Label))
	for _, n := range tree.nodes {
		if n.clusters == 0 {
			continue // an empty file
		}
		b.PadTo(g.offset(n.first))
		if n.isDir() {
			b.Add(n.directory(""))
		} else {
			b.Append(n.data)
		}
	}
	b.PadTo(g.sectors(g.total))
	return b.File()
}

// geometry is where the parts of a volume are, in sectors.
type geometry struct {
	bits        int // of an entry of the file allocation table: 12 or 16
	perCluster  int
	reserved    int // in front of the tables
	tableSize   int // of one copy
	rootEntries int
	clusters    int
	total       int
}

// geometry sizes the parts for a tree that uses so many clusters. Each part is a
// whole number of clusters, so that clusters are aligned to their size on media
// with large sectors.
func (v Volume) geometry(t *tree, used int64) (geometry, error) {
	clusters := max(used+ceil(v.Free, int64(v.ClusterSize)), int64(v.MinClusters), 1)
	if clusters > minFAT16-margin {
		clusters = max(clusters, MinFAT16)
	}
	if clusters > minFAT32-margin {
		return geometry{}, fmt.Errorf("FAT volume of %d clusters: at most %d fit with clusters of %d bytes", clusters, minFAT32-margin, v.ClusterSize)
	}
	g := geometry{bits: 12, perCluster: v.ClusterSize / sectorSize, clusters: int(clusters)}
	if clusters >= minFAT16 {
		g.bits = 16
	}
	whole := func(bytes int) int { return int(ceil(int64(bytes), int64(v.ClusterSize))) * g.perCluster }
	g.reserved = whole(sectorSize)
	g.tableSize = whole(((g.clusters+firstCluster)*g.bits + 7) / 8)
	rootSize := whole(max(minRootEntries, t.root.slots()) * entrySize)
	g.rootEntries = rootSize * sectorSize / entrySize
	if g.rootEntries > maxRootEntries {
		return geometry{}, fmt.Errorf("FAT root directory of %d entries: at most %d fit", g.rootEntries, maxRootEntries)
	}
	g.total = g.firstData() + g.clusters*g.perCluster
	return g, nil
}

// firstData returns the first sector of the first cluster.
func (g geometry) firstData() int {
	return g.reserved + fatCopies*g.tableSize + g.rootEntries*entrySize/sectorSize
}

// sectors returns a number of sectors as bytes.
func (g geometry) sectors(n int) int64 { return int64(n) * sectorSize }

// offset returns where a cluster starts, in bytes.
func (g geometry) offset(cluster int) int64 {
	return g.sectors(g.firstData() + (cluster-firstCluster)*g.perCluster)
}

func ceil(n, unit int64) int64 { return (n + unit - 1) / unit }

// Values in the file allocation table. FAT12 uses the lower 12 bits.
const (
	mediaFixed = 0xf8   // BPB_Media, and the low byte of the first entry
	endOfChain = 0xffff // EOC
)

// table returns the file allocation table.
func (g geometry) table(t *tree) []byte {
	table := make([]byte, g.tableSize*sectorSize)
	set := g.setter(table)
	set(0, 0xff00|mediaFixed)
	set(1, endOfChain)
	for _, n := range t.nodes {
		if n.clusters == 0 {
			continue
		}
		last := n.first + n.clusters - 1
		for c := n.first; c < last; c++ {
			set(c, uint16(c+1))
		}
		set(last, endOfChain)
	}
	return table
}

// setter returns a function that sets an entry of the table, once.
func (g geometry) setter(table []byte) func(cluster int, next uint16) {
	if g.bits == 16 {
		return func(cluster int, next uint16) { le.PutUint16(table[2*cluster:], next) }
	}
	return func(cluster int, next uint16) { // two entries share three bytes
		at := cluster + cluster/2
		shift := cluster % 2 * 4
		le.PutUint16(table[at:], le.Uint16(table[at:])|next&0x0fff<<shift)
	}
}

// bootSector is the first sector, up to its code.
type bootSector struct {
	JmpBoot    [3]byte
	OEMName    [8]byte
	BytsPerSec uint16
	SecPerClus uint8
	RsvdSecCnt uint16
	NumFATs    uint8
	RootEntCnt uint16
	TotSec16   uint16
	Media      uint8
	FATSz16    uint16
	SecPerTrk  uint16
	NumHeads   uint16
	HiddSec    uint32
	TotSec32   uint32
	DrvNum     uint8
	Reserved1  uint8
	BootSig    uint8
	VolID      uint32
	VolLab     [11]byte
	FilSysType [8]byte
	Code       [3]byte
}

func (v Volume) bootSector(g geometry) []byte {
	s := bootSector{
		JmpBoot:    [3]byte{0xeb, 0x3c, 0x90},   // jmp to Code; nop
		OEMName:    [8]byte([]byte("MSWIN4.1")), // the specification: some drivers look at it
		BytsPerSec: sectorSize,
		SecPerClus: uint8(g.perCluster),
		RsvdSecCnt: uint16(g.reserved),
		NumFATs:    fatCopies,
		RootEntCnt: uint16(g.rootEntries),
		Media:      mediaFixed,
		FATSz16:    uint16(g.tableSize),
		SecPerTrk:  32, // the geometry of package mbr
		NumHeads:   64,
		HiddSec:    v.Hidden,
		DrvNum:     0x80,
		BootSig:    0x29, // VolID, VolLab and FilSysType are there
		VolID:      v.ID,
		VolLab:     label(v.Label),
		FilSysType: [8]byte(fmt.Appendf(nil, "FAT%-5d", g.bits)),
		Code:       [3]byte{0xf4, 0xeb, 0xfd}, // hlt; jmp to hlt
	}
	if g.total < 1<<16 {
		s.TotSec16 = uint16(g.total)
	} else {
		s.TotSec32 = uint32(g.total)
	}
	sector := make([]byte, sectorSize)
	binary.Encode(sector, le, s) // 65 bytes
	sector[510], sector[511] = 0x55, 0xaa
	return sector
}
