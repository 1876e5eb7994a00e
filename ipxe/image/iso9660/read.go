package iso9660

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
)

var le = binary.LittleEndian

// Sizes and places, in bytes and in sectors.
const (
	sectorSize   = 2048
	pvdSector    = 16  // the sectors before are for whoever wants to boot
	rootRecordAt = 156 // in the primary volume descriptor
	recordSize   = 33  // of a directory record, without its name
)

// maxRead bounds what ReadFile returns and how large a root directory it walks, so
// that a damaged image cannot make it allocate without end.
const maxRead = 32 << 20

// ReadFile returns a file from the root directory of an image. The name is as
// ISO 9660 keeps it, in capitals and without version number: "ISOLINUX.BIN". An
// error says what was wanted at which place and what was found; it wraps
// [fs.ErrNotExist] for no file.
func ReadFile(image io.ReaderAt, name string) ([]byte, error) {
	descriptor, err := readExtent(image, extent{pvdSector, sectorSize})
	if err != nil {
		return nil, fmt.Errorf("read the primary volume descriptor: %w", err)
	}
	if got := descriptor[:7]; string(got) != "\x01CD001\x01" {
		return nil, fmt.Errorf("at sector %d: want a primary volume descriptor, 01 CD001 01, found %x", pvdSector, got)
	}
	root, _, err := parseRecord(descriptor[rootRecordAt:])
	if err != nil {
		return nil, fmt.Errorf("at the root directory record: %w", err)
	}
	directory, err := readExtent(image, root.extent)
	if err != nil {
		return nil, fmt.Errorf("read the root directory: %w", err)
	}
	found, err := findRecord(directory, name)
	if err != nil {
		return nil, err
	}
	data, err := readExtent(image, found.extent)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return data, nil
}

// extent is a run of sectors that holds so many bytes.
type extent struct{ sector, size uint32 }

// record is what we need of a directory record (ECMA-119, 9.1).
type record struct {
	name string // without version number
	extent
}

// findRecord looks for a file in a directory, case aside.
func findRecord(directory []byte, name string) (record, error) {
	for at := 0; at < len(directory); {
		if directory[at] == 0 { // records do not cross sectors
			at = (at/sectorSize + 1) * sectorSize
			continue
		}
		r, n, err := parseRecord(directory[at:])
		if err != nil {
			return record{}, fmt.Errorf("at offset %#x of the root directory: %w", at, err)
		}
		if strings.EqualFold(r.name, name) {
			return r, nil
		}
		at += n
	}
	return record{}, fmt.Errorf("want a file %s in the root directory: %w", name, fs.ErrNotExist)
}

// parseRecord reads the directory record at the start of b and returns its length.
func parseRecord(b []byte) (r record, n int, err error) {
	if len(b) <= recordSize {
		return r, 0, fmt.Errorf("want a directory record, found %d bytes", len(b))
	}
	n = int(b[0])
	end := recordSize + int(b[recordSize-1])
	if n > len(b) || end > n {
		return r, 0, fmt.Errorf("want a directory record, found one of %d bytes with a name of %d bytes in %d bytes", n, b[recordSize-1], len(b))
	}
	r.name, _, _ = strings.Cut(string(b[recordSize:end]), ";")
	r.extent = extent{le.Uint32(b[2:]), le.Uint32(b[10:])}
	return r, n, nil
}

func readExtent(image io.ReaderAt, e extent) ([]byte, error) {
	if e.size > maxRead {
		return nil, fmt.Errorf("%d bytes at sector %d: at most %d are read", e.size, e.sector, maxRead)
	}
	b := make([]byte, e.size)
	if _, err := image.ReadAt(b, int64(e.sector)*sectorSize); err != nil && !(errors.Is(err, io.EOF) && len(b) == 0) {
		return nil, fmt.Errorf("%d bytes at sector %d: %w", e.size, e.sector, err)
	}
	return b, nil
}
