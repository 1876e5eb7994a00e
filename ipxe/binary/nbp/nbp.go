// Package nbp gives iPXE's network boot programs for BIOS, undionly.kpxe and
// ipxe.pxe, a command line of their own.
//
// A PXE ROM (PXE 2.1, 4.4.5) loads a network boot program to 0000:7c00 and passes
// it nothing but addresses. iPXE's program keeps a static variable for a command
// line that a loader might pass (measured: "pxe_cmdline" in its prefix), which no
// ROM does; iPXE runs a command line as a script. [Image.WithCommandLine] appends
// the text to the file and sets the variable. Booted from a PXE ROM, and chained.
package nbp

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"farmboot/ipxe/segment"
)

var le = binary.LittleEndian

const (
	loadAddress = 0x7c00  // where the ROM puts the file
	workspace   = 0x2000  // what the prefix needs behind it
	memoryEnd   = 0x80000 // the ROM and the BIOS are above
	prefixSize  = 0x2000  // of the file that is searched for the prefix' code
	paragraph   = 16      // the unit of image_size_pgh
)

// Image is a network boot program that has been checked.
type Image struct {
	file    []byte
	size    int // offset of the 16-bit variable image_size_pgh
	cmdline int // offset of the 32-bit variable pxe_cmdline
}

// Parse checks that file is an undionly.kpxe or ipxe.pxe as it was built. An error
// says what was wanted at which place and what was found. The file is kept, and
// must not be changed.
func Parse(file []byte) (*Image, error) {
	m := &Image{file: file}
	for _, step := range []func() error{m.checkStart, m.findSize, m.findCmdline} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// checkStart looks for ljmp $0x7c0, …, which makes 0000:7c00 07c0:0000.
func (m *Image) checkStart() error {
	if len(m.file) < prefixSize {
		return fmt.Errorf("want a network boot program of at least %d bytes, found %d", prefixSize, len(m.file))
	}
	if m.file[0] != 0xea || le.Uint16(m.file[3:]) != loadAddress/16 {
		return fmt.Errorf("at 0x0: want a far jump to segment 07c0, found %x", m.file[:5])
	}
	return nil
}

// findSize finds image_size_pgh by the code that puts the stack behind the image:
// mov %cs,%ax; add image_size_pgh,%ax; mov %ax,%ss; mov $0x800,%esp.
func (m *Image) findSize() error {
	const within = 0x200
	at, err := m.findOperand(within, "\x8c\xc8\x03\x06", "\x8e\xd0\x66\xbc\x00\x08\x00\x00")
	if err != nil {
		return fmt.Errorf("look for image_size_pgh: %w", err)
	}
	if want, got := paragraphs(len(m.file)), int(le.Uint16(m.file[at:])); got != want {
		return fmt.Errorf("at %#x (image_size_pgh): want %#x, the size of this file, found %#x", at, want, got)
	}
	m.size = at
	return nil
}

// findCmdline finds pxe_cmdline by the code that stores in it the address of a
// command line from a loader (shl $4,%esi; add $0xcec,%esi; mov %esi,pxe_cmdline),
// and checks that one place reads it (mov pxe_cmdline,%esi).
func (m *Image) findCmdline() error {
	at, err := m.findOperand(prefixSize, "\x66\xc1\xe6\x04\x66\x81\xc6\xec\x0c\x00\x00\x66\x89\x36", "")
	if err != nil {
		return fmt.Errorf("look for pxe_cmdline: %w", err)
	}
	if got := le.Uint32(m.file[at:]); got != 0 {
		return fmt.Errorf("at %#x (pxe_cmdline): want 0, found %#x", at, got)
	}
	load := le.AppendUint16([]byte("\x66\x8b\x36"), uint16(at))
	if n := bytes.Count(m.file[:prefixSize], load); n != 1 {
		return fmt.Errorf("look for pxe_cmdline: want %x once before %#x, found it %d times", load, prefixSize, n)
	}
	m.cmdline = at
	return nil
}

// findOperand returns the address between two pieces of code, which must stand
// exactly once before the offset within. The prefix runs with %ds:0 at the start of
// the file, so its addresses are file offsets.
func (m *Image) findOperand(within int, before, after string) (int, error) {
	code := m.file[:within]
	if n := bytes.Count(code, []byte(before)); n != 1 {
		return 0, fmt.Errorf("want the code %x once before %#x, found it %d times", before, within, n)
	}
	operand := bytes.Index(code, []byte(before)) + len(before)
	if operand+2 > len(code) || !bytes.HasPrefix(code[operand+2:], []byte(after)) {
		return 0, fmt.Errorf("at %#x: want the code %x, found other code", operand+2, after)
	}
	at := int(le.Uint16(code[operand:]))
	if at+4 > prefixSize {
		return 0, fmt.Errorf("at %#x: want the address of a variable before %#x, found %#x", operand, prefixSize, at)
	}
	return at, nil
}

// paragraphs returns the image_size_pgh of a file of that many bytes.
func paragraphs(size int) int { return (size + paragraph - 1) / paragraph }

// Bytes returns the whole file, which must not be changed.
func (m *Image) Bytes() []byte { return m.file }

// WithCommandLine returns the image with text, which must not hold a NUL, as its
// command line. All but the prefix is shared with the image. The sum must fit in
// base memory: about 370 KB of text for undionly.kpxe, 120 KB for ipxe.pxe.
func (m *Image) WithCommandLine(text []byte) (*segment.File, error) {
	if i := bytes.IndexByte(text, 0); i >= 0 {
		return nil, fmt.Errorf("command line with a NUL at offset %d, which would end it", i)
	}
	at := paragraphs(len(m.file)) * paragraph
	size := paragraphs(at+len(text)+1) * paragraph
	if err := fits(size); err != nil {
		return nil, fmt.Errorf("command line of %d bytes: %w", len(text), err)
	}
	prefix := bytes.Clone(m.file[:prefixSize])
	le.PutUint16(prefix[m.size:], uint16(size/paragraph))
	le.PutUint32(prefix[m.cmdline:], uint32(loadAddress+at))

	var b segment.Builder
	b.Add(prefix)
	b.Add(m.file[prefixSize:])
	b.Align(paragraph)
	b.Add(text)
	b.PadTo(int64(size))
	return b.File()
}

// fits refuses a file that base memory does not hold.
func fits(size int) error {
	if limit := memoryEnd - workspace - loadAddress; size > limit {
		return fmt.Errorf("network boot program would be %d bytes: at most %d fit in base memory", size, limit)
	}
	return nil
}

// WithTail returns the image with everything from offset on, which must be behind
// the prefix, replaced.
func (m *Image) WithTail(offset int, tail []byte) (*Image, error) {
	if offset < m.size+2 || offset < m.cmdline+4 || offset > len(m.file) {
		return nil, fmt.Errorf("at %#x: want a place behind the prefix and inside the file's %#x bytes", offset, len(m.file))
	}
	file := append(bytes.Clone(m.file[:offset]), tail...)
	if err := fits(len(file)); err != nil {
		return nil, err
	}
	le.PutUint16(file[m.size:], uint16(paragraphs(len(file))))
	return Parse(file)
}
