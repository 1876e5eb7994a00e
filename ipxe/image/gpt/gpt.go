// Package gpt puts one partition on a disk with a GUID partition table (UEFI 2.10,
// 5.3).
package gpt

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"unicode/utf16"

	"farmboot/ipxe/image/mbr"
	"farmboot/ipxe/segment"
)

var le = binary.LittleEndian

// GUID is as it stands on disk (UEFI 2.10, appendix A).
type GUID [16]byte

// efiSystemPartition is C12A7328-F81F-11D2-BA4B-00A0C93EC93B.
var efiSystemPartition = GUID{0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0x00, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b}

// NewGUID returns a GUID of version 8 (RFC 9562, 5.8), whose other bits are the
// caller's.
func NewGUID(bits [16]byte) GUID {
	g := GUID(bits)
	g[7] = g[7]&0x0f | 0x80
	g[8] = g[8]&0x3f | 0x80
	return g
}

// header is a GPT header (table 5.5).
type header struct {
	Signature                [8]byte
	Revision                 uint32
	HeaderSize               uint32
	HeaderCRC32              uint32
	_                        uint32
	MyLBA                    uint64
	AlternateLBA             uint64
	FirstUsableLBA           uint64
	LastUsableLBA            uint64
	DiskGUID                 GUID
	PartitionEntryLBA        uint64
	NumberOfPartitionEntries uint32
	SizeOfPartitionEntry     uint32
	PartitionEntryArrayCRC32 uint32
}

// entry is a GPT partition entry (table 5.6).
type entry struct {
	PartitionTypeGUID   GUID
	UniquePartitionGUID GUID
	StartingLBA         uint64
	EndingLBA           uint64
	Attributes          uint64
	PartitionName       [36]uint16
}

const (
	sectorSize   = mbr.SectorSize
	entries      = 128 // the smallest array that the specification allows: 16 KiB
	entrySize    = 128
	arraySectors = entries * entrySize / sectorSize
	headerSize   = 92

	// Start is the first sector of the partition: at 1 MiB, as everybody aligns.
	Start = 1 << 20 / sectorSize
)

// Disk describes a disk with an EFI system partition.
type Disk struct {
	DiskGUID      GUID
	PartitionGUID GUID
	Name          string // of the partition: up to 36 characters
	Partition     *segment.File
}

// Build returns the disk, a whole number of MiB.
func (d Disk) Build() (*segment.File, error) {
	size := d.Partition.Size()
	if size == 0 || size%sectorSize != 0 {
		return nil, fmt.Errorf("partition of %d bytes: want whole sectors", size)
	}
	end := Start + uint64(size)/sectorSize // the sector behind the partition
	total := (end + arraySectors + 1 + Start - 1) / Start * Start
	if total > 1<<32 {
		return nil, fmt.Errorf("disk of %d sectors: want less than 2 TiB", total)
	}
	protective, err := mbr.Encode(nil, [4]byte{}, mbr.Partition{Type: mbr.TypeGPTProtective, Start: 1, Sectors: uint32(total - 1)})
	if err != nil {
		return nil, err
	}

	array := make([]byte, arraySectors*sectorSize)
	binary.Encode(array, le, d.entry(end-1))
	primary := header{MyLBA: 1, AlternateLBA: total - 1, PartitionEntryLBA: 2}
	backup := header{MyLBA: total - 1, AlternateLBA: 1, PartitionEntryLBA: total - 1 - arraySectors}

	var b segment.Builder
	b.Add(protective)
	b.Add(d.header(primary, total, array))
	b.PadTo(2 * sectorSize)
	b.Add(array)
	b.PadTo(Start * sectorSize)
	b.Append(d.Partition)
	b.PadTo(int64(backup.PartitionEntryLBA) * sectorSize)
	b.Add(array)
	b.Add(d.header(backup, total, array))
	b.PadTo(int64(total) * sectorSize)
	return b.File()
}

func (d Disk) entry(last uint64) entry {
	e := entry{
		PartitionTypeGUID:   efiSystemPartition,
		UniquePartitionGUID: d.PartitionGUID,
		StartingLBA:         Start,
		EndingLBA:           last,
	}
	copy(e.PartitionName[:], utf16.Encode([]rune(d.Name)))
	return e
}

// header returns a header with all that primary and backup share filled in.
func (d Disk) header(h header, total uint64, array []byte) []byte {
	h.Signature = [8]byte([]byte("EFI PART"))
	h.Revision = 1 << 16
	h.HeaderSize = headerSize
	h.FirstUsableLBA = 2 + arraySectors
	h.LastUsableLBA = total - 2 - arraySectors
	h.DiskGUID = d.DiskGUID
	h.NumberOfPartitionEntries = entries
	h.SizeOfPartitionEntry = entrySize
	h.PartitionEntryArrayCRC32 = crc32.ChecksumIEEE(array)
	h.HeaderCRC32 = crc32.ChecksumIEEE(encode(h))
	return encode(h)
}

func encode(h header) []byte {
	b, _ := binary.Append(nil, le, h) // cannot fail: all fields have a fixed size
	return b
}
