package iso9660

import (
	"encoding/binary"
	"time"
)

var be = binary.BigEndian

// both16 and both32 are numbers in both byte orders (ECMA-119, 7.2.3 and 7.3.3).
type (
	both16 [4]byte
	both32 [8]byte
)

func newBoth16(n uint16) (b both16) {
	le.PutUint16(b[:], n)
	be.PutUint16(b[2:], n)
	return b
}

func newBoth32(n uint32) (b both32) {
	le.PutUint32(b[:], n)
	be.PutUint32(b[4:], n)
	return b
}

// descriptorHeader starts every volume descriptor (ECMA-119, 8.1).
type descriptorHeader struct {
	Type       byte
	Identifier [5]byte
	Version    byte
}

func newDescriptorHeader(kind byte) descriptorHeader {
	return descriptorHeader{Type: kind, Identifier: [5]byte([]byte("CD001")), Version: 1}
}

// Kinds of volume descriptors.
const (
	bootRecordDescriptor    = 0
	primaryVolumeDescriptor = 1
	setTerminator           = 255
)

// primaryDescriptor is a primary volume descriptor (ECMA-119, 8.4).
type primaryDescriptor struct {
	descriptorHeader
	_                           byte
	SystemIdentifier            [32]byte
	VolumeIdentifier            [32]byte
	_                           [8]byte
	VolumeSpaceSize             both32 // in sectors
	_                           [32]byte
	VolumeSetSize               both16
	VolumeSequenceNumber        both16
	LogicalBlockSize            both16
	PathTableSize               both32 // in bytes
	TypeLPathTable              uint32
	OptionalTypeLPathTable      uint32
	TypeMPathTable              [4]byte // big endian
	OptionalTypeMPathTable      [4]byte
	RootDirectoryRecord         [recordSize + 1]byte
	VolumeSetIdentifier         [128]byte
	PublisherIdentifier         [128]byte
	DataPreparerIdentifier      [128]byte
	ApplicationIdentifier       [128]byte
	CopyrightFileIdentifier     [37]byte
	AbstractFileIdentifier      [37]byte
	BibliographicFileIdentifier [37]byte
	CreationTime                digits
	ModificationTime            digits
	ExpirationTime              digits
	EffectiveTime               digits
	FileStructureVersion        byte
}

// digits is a date and time in the form of ECMA-119, 8.4.26.1, the last byte an
// offset from GMT; all digits zero: not specified.
type digits [17]byte

func newDigits(t time.Time) (d digits) {
	copy(d[:], t.UTC().Format("20060102150405")+"00")
	return d
}

func noDigits() (d digits) {
	copy(d[:], "0000000000000000")
	return d
}

// bootDescriptor is an El Torito boot record volume descriptor (El Torito 1.0,
// figure 7).
type bootDescriptor struct {
	descriptorHeader
	BootSystemIdentifier [32]byte
	_                    [32]byte
	BootCatalog          uint32 // its sector
}

// directoryRecord is a directory record without its name (ECMA-119, 9.1).
type directoryRecord struct {
	Length               byte
	ExtendedAttributes   byte
	Extent               both32 // first sector
	DataLength           both32
	RecordingTime        [7]byte
	Flags                byte
	FileUnitSize         byte
	InterleaveGapSize    byte
	VolumeSequenceNumber both16
	NameLength           byte
}

// isDirectory is a flag of directory records.
const isDirectory = 2

// appendRecord appends a directory record, of even length, to b.
func appendRecord(b []byte, name string, e extent, flags byte, t time.Time) []byte {
	t = t.UTC()
	length := recordSize + len(name) + (recordSize+len(name))%2
	start := len(b)
	b = encode(b, directoryRecord{
		Length:     byte(length),
		Extent:     newBoth32(e.sector),
		DataLength: newBoth32(e.size),
		RecordingTime: [7]byte{
			byte(t.Year() - 1900), byte(t.Month()), byte(t.Day()),
			byte(t.Hour()), byte(t.Minute()), byte(t.Second()), 0, // GMT
		},
		Flags:                flags,
		VolumeSequenceNumber: newBoth16(1),
		NameLength:           byte(len(name)),
	})
	b = append(b, name...)
	for len(b) < start+length {
		b = append(b, 0)
	}
	return b
}

// encode appends a structure of fixed size to b.
func encode(b []byte, v any) []byte {
	b, _ = binary.Append(b, le, v)
	return b
}
