package lzma

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

var le = binary.LittleEndian

// A packed block of an iPXE BIOS binary: the number of bytes that follow (32 bits,
// little endian), an LZMA stream, and a CRC of the stream. It starts on a multiple
// of 16 bytes.
const (
	blockAlign = 16
	lengthSize = 4
	crcSize    = 4
)

// maxPayload bounds what a block may unpack to. iPXE's is below 1 MiB.
const maxPayload = 8 << 20

// crc is CRC-32 (IEEE 802.3) without the inversion at the end.
func crc(stream []byte) uint32 { return ^crc32.ChecksumIEEE(stream) }

// Block is the last packed block of a file, unpacked.
type Block struct {
	Offset int // where the block starts in the file; it ends with the file

	stream []byte
	data   []byte // as it was packed: filtered
	tokens []Token
}

// LastBlock finds the packed block that ends with the file and unpacks it. It
// proves that packing what was unpacked gives the same bytes again.
func LastBlock(file []byte) (*Block, error) {
	offset, err := findLast(file)
	if err != nil {
		return nil, err
	}
	b := &Block{Offset: offset, stream: file[offset+lengthSize : len(file)-crcSize]}
	if b.data, b.tokens, err = Decode(b.stream, maxPayload); err != nil {
		return nil, fmt.Errorf("at %#x: %w", offset, err)
	}
	again, err := Encode(b.tokens, b.data)
	if err != nil {
		return nil, fmt.Errorf("at %#x: pack again what was unpacked: %w", offset, err)
	}
	if !bytes.Equal(again, b.stream) {
		return nil, fmt.Errorf("at %#x: want a packed block that packs to the same bytes again, found one that does not", offset)
	}
	return b, nil
}

// findLast returns the offset of the block that ends with the file: the only one
// at which length, first byte and CRC are right.
func findLast(file []byte) (int, error) {
	var found []int
	for at := 0; at+lengthSize+crcSize < len(file); at += blockAlign {
		length := int64(le.Uint32(file[at:]))
		if int64(at)+lengthSize+length != int64(len(file)) || file[at+lengthSize] != 0 {
			continue
		}
		if stream := file[at+lengthSize : len(file)-crcSize]; crc(stream) == le.Uint32(file[len(file)-crcSize:]) {
			found = append(found, at)
		}
	}
	switch len(found) {
	case 0:
		return 0, errors.New("want a packed block with a right CRC at the end of the file, found none")
	case 1:
		return found[0], nil
	}
	return 0, fmt.Errorf("want one packed block at the end of the file, found %d, at %#x", len(found), found)
}

// Data returns a copy of what the block unpacks to, which is what iPXE has in
// memory.
func (b *Block) Data() []byte {
	data := bytes.Clone(b.data)
	unfilter(data)
	return data
}

// Pack returns the block with other data of the same length, complete: it takes
// the place of everything from Offset on. That it unpacks to data is checked.
func (b *Block) Pack(data []byte) ([]byte, error) {
	if len(data) != len(b.data) {
		return nil, fmt.Errorf("want %d bytes to pack, the length that is compiled in, found %d", len(b.data), len(data))
	}
	filtered := bytes.Clone(data)
	filter(filtered)
	stream, err := Encode(b.tokens, filtered)
	if err != nil {
		return nil, err
	}
	back, err := Unpack(stream, len(data))
	if err != nil {
		return nil, fmt.Errorf("unpack what was packed: %w", err)
	}
	if unfilter(back); !bytes.Equal(back, data) {
		return nil, errors.New("want what was packed to unpack to the same bytes, found others")
	}
	packed := le.AppendUint32(nil, uint32(len(stream)+crcSize))
	packed = append(packed, stream...)
	return le.AppendUint32(packed, crc(stream)), nil
}
