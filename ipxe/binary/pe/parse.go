package pe

import (
	"bytes"
	"debug/pe"
	"encoding/binary"
	"fmt"
	"math/bits"

	"farmboot/ipxe/segment"
)

// Parse checks that file is an EFI application that [Image.WithLoadOptions] can
// extend, or a signed one that must stay as it is. An error says what was wanted
// at which place and what was found. The file is kept, and must not be changed.
func Parse(file []byte) (*Image, error) {
	m := &Image{file: file, content: segment.Of(file)}
	for _, step := range []func() error{m.parseHeaders, m.checkOptional, m.checkDirectories, m.parseSections, m.checkRoom} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// parseHeaders reads the COFF file header and the optional header.
func (m *Image) parseHeaders() error {
	const dosHeaderSize, lfanew = 0x40, 0x3c
	if len(m.file) < dosHeaderSize || string(m.file[:2]) != "MZ" {
		return fmt.Errorf("at 0x0: want a DOS header that starts with MZ, found %x", m.file[:min(2, len(m.file))])
	}
	at := int64(le.Uint32(m.file[lfanew:]))
	if at < dosHeaderSize || at+signatureSize+fileHeaderSize+optionalHeaderSize > int64(len(m.file)) {
		return fmt.Errorf("at 0x3c: want the offset of the PE header inside the file's %#x bytes, found %#x", len(m.file), at)
	}
	if sig := m.file[at : at+signatureSize]; string(sig) != "PE\x00\x00" {
		return fmt.Errorf("at %#x: want the PE signature 50450000, found %x", at, sig)
	}
	m.coffAt = int(at) + signatureSize
	binary.Decode(m.file[m.coffAt:], le, &m.coff) // long enough: checked above
	binary.Decode(m.file[m.optionalAt():], le, &m.optional)
	_, err := stubFor(m.Machine())
	return err
}

// checkOptional checks the optional header by itself.
func (m *Image) checkOptional() error {
	const pe32plus = 0x20b
	o := &m.optional
	if o.Magic != pe32plus {
		return fmt.Errorf("in the optional header: want magic %#x (PE32+), found %#x", pe32plus, o.Magic)
	}
	if o.Subsystem != pe.IMAGE_SUBSYSTEM_EFI_APPLICATION {
		return fmt.Errorf("in the optional header: want subsystem %d (EFI application), found %d", pe.IMAGE_SUBSYSTEM_EFI_APPLICATION, o.Subsystem)
	}
	if !powerOfTwo(o.SectionAlignment, 0x1000, 0x10000) || !powerOfTwo(o.FileAlignment, 0x20, o.SectionAlignment) {
		return fmt.Errorf("in the optional header: want a SectionAlignment of 4 to 64 KiB and a FileAlignment of 32 bytes up to that, found %#x and %#x", o.SectionAlignment, o.FileAlignment)
	}
	if o.SizeOfImage > 1<<30 {
		return fmt.Errorf("in the optional header: want a SizeOfImage of at most 1 GiB, found %#x", o.SizeOfImage)
	}
	if int64(o.SizeOfHeaders) > int64(len(m.file)) {
		return fmt.Errorf("in the optional header: want SizeOfHeaders inside the file's %#x bytes, found %#x", len(m.file), o.SizeOfHeaders)
	}
	if m.sectionsAt() > int(o.SizeOfHeaders) || int64(m.coff.SizeOfOptionalHeader) < optionalHeaderSize+int64(o.NumberOfRvaAndSizes)*dataDirectorySize {
		return fmt.Errorf("in the COFF header: want a SizeOfOptionalHeader with room for %d data directories, found %#x", o.NumberOfRvaAndSizes, m.coff.SizeOfOptionalHeader)
	}
	return nil
}

func powerOfTwo(n, low, high uint32) bool { return bits.OnesCount32(n) == 1 && low <= n && n <= high }

// checkDirectories looks for a certificate table, and for a directory where the
// new section header is to stand.
func (m *Image) checkDirectories() error {
	slot := uint64(m.sectionsAt()) + uint64(m.coff.NumberOfSections)*sectionHeaderSize
	for i := range int(m.optional.NumberOfRvaAndSizes) {
		var d pe.DataDirectory
		binary.Decode(m.file[m.directoriesAt()+i*dataDirectorySize:], le, &d)
		if d.Size == 0 {
			continue
		}
		if i == pe.IMAGE_DIRECTORY_ENTRY_SECURITY {
			m.signed = true
			continue // its address is a file offset, behind the sections
		}
		start, end := uint64(d.VirtualAddress), uint64(d.VirtualAddress)+uint64(d.Size)
		if start < slot+sectionHeaderSize && end > slot {
			return fmt.Errorf("in data directory %d: want nothing at %#x, where a section header is to be added, found %#x to %#x", i, slot, start, end)
		}
	}
	return nil
}

// parseSections reads the section table. Sections must follow each other in
// memory and lie inside the file; one of them must hold the entry point.
func (m *Image) parseSections() error {
	const maxSections = 96 // as the PE/COFF specification says
	n := int(m.coff.NumberOfSections)
	if n == 0 || n >= maxSections || m.sectionsAt()+n*sectionHeaderSize > int(m.optional.SizeOfHeaders) {
		return fmt.Errorf("in the COFF header: want 1 to %d sections, all inside SizeOfHeaders, found %d", maxSections-1, n)
	}
	m.sections = make([]pe.SectionHeader32, n)
	binary.Decode(m.file[m.sectionsAt():], le, m.sections)

	entry := m.optional.AddressOfEntryPoint
	var end uint64 // of the sections so far, in memory
	entered := false
	for i, s := range m.sections {
		if string(s.Name[:]) == sectionName {
			return fmt.Errorf("in section %d: want none that is called %s, found one: the file is not as it was built", i, sectionName)
		}
		if uint64(s.VirtualAddress) < end {
			return fmt.Errorf("in section %d: want a VirtualAddress from %#x, found %#x", i, end, s.VirtualAddress)
		}
		end = uint64(s.VirtualAddress) + uint64(s.VirtualSize)
		if s.SizeOfRawData != 0 && (s.PointerToRawData < m.optional.SizeOfHeaders || m.rawEnd(s) > int64(len(m.file))) {
			return fmt.Errorf("in section %d: want its data behind the headers and inside the file's %#x bytes, found %#x to %#x", i, len(m.file), s.PointerToRawData, m.rawEnd(s))
		}
		if entry >= s.VirtualAddress && uint64(entry) < end && s.Characteristics&pe.IMAGE_SCN_MEM_EXECUTE != 0 {
			entered = true
		}
	}
	if end > uint64(m.optional.SizeOfImage) {
		return fmt.Errorf("in the optional header: want a SizeOfImage of at least %#x, found %#x", end, m.optional.SizeOfImage)
	}
	if !entered {
		return fmt.Errorf("in the optional header: want an entry point inside an executable section, found %#x", entry)
	}
	return nil
}

// rawEnd returns the file offset behind a section's data.
func (m *Image) rawEnd(s pe.SectionHeader32) int64 {
	return int64(s.PointerToRawData) + int64(s.SizeOfRawData)
}

// checkRoom checks that there is room to add a section: a free section header,
// and nothing in the file behind the sections, where data that no section owns
// might depend on its place. A signed image has its certificates there.
func (m *Image) checkRoom() error {
	if m.signed {
		return nil
	}
	at := m.sectionsEnd()
	if at+sectionHeaderSize > int(m.optional.SizeOfHeaders) {
		return fmt.Errorf("at %#x: want room for another section header, found the end of the headers", at)
	}
	if slot := m.file[at : at+sectionHeaderSize]; !bytes.Equal(slot, make([]byte, sectionHeaderSize)) {
		return fmt.Errorf("at %#x: want %d zero bytes for another section header, found %x", at, sectionHeaderSize, slot)
	}
	var end int64
	for _, s := range m.sections {
		if s.SizeOfRawData != 0 {
			end = max(end, m.rawEnd(s))
		}
	}
	if end != int64(len(m.file)) {
		return fmt.Errorf("at %#x: want the end of the file behind the last section, found %d more bytes", end, int64(len(m.file))-end)
	}
	if m.coff.PointerToSymbolTable != 0 && m.coff.NumberOfSymbols != 0 {
		return fmt.Errorf("in the COFF header: want no symbol table, found one at %#x", m.coff.PointerToSymbolTable)
	}
	return nil
}
