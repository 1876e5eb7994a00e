// Package mbr writes a disk's first sector: the boot code and partition table that
// BIOS uses (UEFI 2.10, 5.2.1, "Legacy Master Boot Record").
package mbr

import (
	"encoding/binary"
	"fmt"
)

// SectorSize is the size of a logical block, in bytes.
const SectorSize = 512

// codeSize is how many bytes of boot code there is room for.
const codeSize = 440

// Partition types (OSType).
const (
	TypeEmpty         = 0x00
	TypeGPTProtective = 0xee
	TypeEFISystem     = 0xef
)

// Partition is an entry of the partition table.
type Partition struct {
	Active  bool
	Type    byte
	Start   uint32 // StartingLBA
	Sectors uint32 // SizeInLBA
}

// record is a partition record as it stands on disk (UEFI 2.10, table 5.2).
type record struct {
	BootIndicator byte
	StartingCHS   [3]byte
	OSType        byte
	EndingCHS     [3]byte
	StartingLBA   uint32
	SizeInLBA     uint32
}

// sector is the whole of it (UEFI 2.10, table 5.1).
type sector struct {
	BootCode            [codeSize]byte
	UniqueDiskSignature [4]byte
	Unknown             [2]byte
	PartitionRecord     [4]record
	Signature           uint16
}

// Encode returns the sector with the given boot code, disk signature and up to four
// partitions.
func Encode(code []byte, diskSignature [4]byte, partitions ...Partition) ([]byte, error) {
	s := sector{UniqueDiskSignature: diskSignature, Signature: 0xaa55}
	if len(code) > codeSize || len(partitions) > len(s.PartitionRecord) {
		return nil, fmt.Errorf("master boot record with %d bytes of code and %d partitions: at most %d and %d fit", len(code), len(partitions), codeSize, len(s.PartitionRecord))
	}
	copy(s.BootCode[:], code)
	for i, p := range partitions {
		s.PartitionRecord[i] = p.record()
	}
	return binary.Append(nil, binary.LittleEndian, s)
}

func (p Partition) record() record {
	r := record{
		OSType:      p.Type,
		StartingCHS: chs(p.Start),
		EndingCHS:   chs(p.Start + p.Sectors - 1),
		StartingLBA: p.Start,
		SizeInLBA:   p.Sectors,
	}
	if p.Active {
		r.BootIndicator = 0x80
	}
	return r
}

// chs returns a block's address as cylinder, head and sector, in the geometry of 64
// heads and 32 sectors that isohybrid uses: a cylinder is 1 MiB.
func chs(lba uint32) [3]byte {
	const heads, sectors, maxCylinder = 64, 32, 1023
	c, h, s := lba/(heads*sectors), lba/sectors%heads, lba%sectors+1
	if c > maxCylinder {
		return [3]byte{0xfe, 0xff, 0xff}
	}
	return [3]byte{byte(h), byte(s | c>>8<<6), byte(c)}
}
