package kernel

import (
	"errors"
	"io"
	"os"
)

// Format is what kind of program a kernel is.
type Format string

// The formats. Nodes are known to boot the first two.
const (
	EFI     Format = "efi"     // an EFI application (UEFI 2.10 section 2.1.1), as Zero-OS and all Linux kernels with an EFI stub are
	BzImage Format = "bzimage" // Linux' own (Linux boot protocol), for BIOS
	Unknown Format = "unknown"
)

// headSize is how many bytes of a file tell its format.
const headSize = 1024

// formatOf tells the format of a file that starts with head.
func formatOf(head []byte) Format {
	switch {
	case len(head) >= 2 && string(head[:2]) == "MZ":
		return EFI
	case len(head) >= 0x206 && string(head[0x202:0x206]) == "HdrS":
		return BzImage
	}
	return Unknown
}

// Format tells the format of a kernel. Errors are those of [Store.Stat].
func (s *Store) Format(rel string) (Format, error) {
	f, _, err := s.Open(rel)
	if err != nil {
		return Unknown, err
	}
	defer f.Close()
	head := make([]byte, headSize)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return Unknown, missing(rel, &os.PathError{Op: "read", Path: rel, Err: err})
	}
	return formatOf(head[:n]), nil
}
