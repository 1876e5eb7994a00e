// Package pe gives EFI applications load options of our own.
//
// An EFI application is a PE32+ image (Microsoft PE/COFF specification; UEFI
// 2.10, 2.1.1). The firmware hands it the LoadOptions of its boot entry, as a
// rule nothing or junk. [Image.WithLoadOptions] adds one section, with a small
// entry point that sets LoadOptions to a text in the same section. Nothing that
// was in the file moves, so nothing in it needs to be relocated.
package pe

import (
	"bytes"
	"debug/pe"
	"encoding/binary"
	"errors"
	"fmt"

	"farmboot/ipxe/segment"
)

var le = binary.LittleEndian

// Machine is the processor that an image runs on: Machine in the COFF header.
type Machine uint16

// The machines that there are entry points for.
const (
	AMD64   Machine = pe.IMAGE_FILE_MACHINE_AMD64
	ARM64   Machine = pe.IMAGE_FILE_MACHINE_ARM64
	RISCV64 Machine = pe.IMAGE_FILE_MACHINE_RISCV64
)

// String returns the name and the number.
func (m Machine) String() string {
	switch m {
	case AMD64:
		return "amd64 (0x8664)"
	case ARM64:
		return "arm64 (0xaa64)"
	case RISCV64:
		return "riscv64 (0x5064)"
	}
	return fmt.Sprintf("%#04x", uint16(m))
}

// optionalHeader is the PE32+ optional header up to its data directories.
type optionalHeader struct {
	Magic                       uint16
	MajorLinkerVersion          uint8
	MinorLinkerVersion          uint8
	SizeOfCode                  uint32
	SizeOfInitializedData       uint32
	SizeOfUninitializedData     uint32
	AddressOfEntryPoint         uint32
	BaseOfCode                  uint32
	ImageBase                   uint64
	SectionAlignment            uint32
	FileAlignment               uint32
	MajorOperatingSystemVersion uint16
	MinorOperatingSystemVersion uint16
	MajorImageVersion           uint16
	MinorImageVersion           uint16
	MajorSubsystemVersion       uint16
	MinorSubsystemVersion       uint16
	Win32VersionValue           uint32
	SizeOfImage                 uint32
	SizeOfHeaders               uint32
	CheckSum                    uint32
	Subsystem                   uint16
	DllCharacteristics          uint16
	SizeOfStackReserve          uint64
	SizeOfStackCommit           uint64
	SizeOfHeapReserve           uint64
	SizeOfHeapCommit            uint64
	LoaderFlags                 uint32
	NumberOfRvaAndSizes         uint32
}

// Sizes of the structures in a file, in bytes.
const (
	signatureSize      = 4 // "PE\0\0"
	fileHeaderSize     = 20
	optionalHeaderSize = 112
	dataDirectorySize  = 8
	sectionHeaderSize  = 40
)

// sectionName is what we call the section that we add.
const sectionName = ".options"

// Image is an EFI application that has been checked.
type Image struct {
	file     []byte        // as it was parsed
	content  *segment.File // the same, but for what was replaced behind the headers
	coffAt   int           // offset of the COFF file header
	coff     pe.FileHeader
	optional optionalHeader
	sections []pe.SectionHeader32
	signed   bool
}

// Machine returns the processor that the image runs on.
func (m *Image) Machine() Machine { return Machine(m.coff.Machine) }

// File returns the whole file.
func (m *Image) File() *segment.File { return m.content }

// Replace returns the image with p in the place of as many bytes at an offset of the
// file, which must be behind the headers. All else is shared with the image.
func (m *Image) Replace(at int, p []byte) (*Image, error) {
	if at < int(m.optional.SizeOfHeaders) {
		return nil, fmt.Errorf("at %#x: want a place behind the headers, which end at %#x", at, m.optional.SizeOfHeaders)
	}
	content, err := m.content.Replace(int64(at), p)
	if err != nil {
		return nil, err
	}
	replaced := *m
	replaced.content = content
	return &replaced, nil
}

// Signed tells whether there is a certificate table. Any change would make the
// signature worthless.
func (m *Image) Signed() bool { return m.signed }

func (m *Image) optionalAt() int    { return m.coffAt + fileHeaderSize }
func (m *Image) sectionsAt() int    { return m.optionalAt() + int(m.coff.SizeOfOptionalHeader) }
func (m *Image) sectionsEnd() int   { return m.sectionsAt() + len(m.sections)*sectionHeaderSize }
func (m *Image) directoriesAt() int { return m.optionalAt() + optionalHeaderSize }

// ErrSigned is the refusal to change an image that is signed.
var ErrSigned = errors.New("image is signed (it has a certificate table): load options inside it would break the signature")

// maxLoadOptions bounds the text, in characters. Measured: iPXE takes 63 KB; its
// own copy must fit in a heap of 512 KiB.
const maxLoadOptions = 64 << 10

// WithLoadOptions returns the image with LoadOptions set to the text, one CHAR16
// for each of its bytes, whatever the firmware or a boot loader passes. All but
// the headers is shared with the image.
func (m *Image) WithLoadOptions(text []byte) (*segment.File, error) {
	if m.signed {
		return nil, ErrSigned
	}
	if len(text) > maxLoadOptions {
		return nil, fmt.Errorf("load options of %d characters: at most %d fit", len(text), maxLoadOptions)
	}
	rva := uint32(alignUp(uint64(m.optional.SizeOfImage), m.optional.SectionAlignment))
	section, err := m.section(rva, text)
	if err != nil {
		return nil, err
	}
	var b segment.Builder
	b.Add(m.headers(rva, uint32(len(section))))
	b.AppendRange(m.content, int64(m.optional.SizeOfHeaders), m.content.Size())
	b.Align(int64(m.optional.FileAlignment))
	b.Add(section)
	b.Align(int64(m.optional.FileAlignment))
	return b.File()
}

// section returns the content of the section to be put at rva: the entry point,
// then the text as a string that ends in NUL. LoadOptionsSize does not count the
// NUL: old iPXE reads up to it, newer iPXE reads LoadOptionsSize.
func (m *Image) section(rva uint32, text []byte) ([]byte, error) {
	s, err := stubFor(m.Machine())
	if err != nil {
		return nil, err
	}
	code, err := s.assemble(rva, m.optional.AddressOfEntryPoint, 2*len(text))
	if err != nil {
		return nil, err
	}
	section := make([]byte, len(code)+2*len(text)+2)
	chars := section[copy(section, code):]
	for i, c := range text {
		chars[2*i] = c
	}
	return section, nil
}

// headers returns the headers with a section of that size at rva added, which is
// last in memory and in the file, and holds the entry point.
func (m *Image) headers(rva, size uint32) []byte {
	onDisk := uint32(alignUp(uint64(size), m.optional.FileAlignment))

	coff := m.coff
	coff.NumberOfSections++

	optional := m.optional
	optional.SizeOfCode += onDisk
	optional.AddressOfEntryPoint = rva
	optional.SizeOfImage = uint32(alignUp(uint64(rva)+uint64(size), optional.SectionAlignment))
	optional.CheckSum = 0 // none; EFI firmware does not look

	section := pe.SectionHeader32{
		VirtualSize:      size,
		VirtualAddress:   rva,
		SizeOfRawData:    onDisk,
		PointerToRawData: uint32(alignUp(uint64(len(m.file)), optional.FileAlignment)),
		Characteristics:  pe.IMAGE_SCN_CNT_CODE | pe.IMAGE_SCN_MEM_EXECUTE | pe.IMAGE_SCN_MEM_READ,
	}
	copy(section.Name[:], sectionName)

	headers := bytes.Clone(m.file[:m.optional.SizeOfHeaders])
	encode(headers[m.coffAt:], coff)
	encode(headers[m.optionalAt():], optional)
	encode(headers[m.sectionsEnd():], section)
	return headers
}

// encode writes a structure of fixed size to the start of p, which Parse found to
// be long enough.
func encode(p []byte, v any) { binary.Encode(p, le, v) }

// alignUp rounds n up to a multiple of unit, a power of two.
func alignUp(n uint64, unit uint32) uint64 {
	u := uint64(unit)
	return (n + u - 1) &^ (u - 1)
}
