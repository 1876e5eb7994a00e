// Package bzimage gives ipxe.lkrn, iPXE built as a Linux bzImage, a command line
// of its own.
//
// A bzImage (the Linux kernel's Documentation/arch/x86/boot.rst) is a boot sector,
// setup_sects sectors of real-mode code, and a protected-mode payload. iPXE runs
// its command line as a script and copies it to safety before anything else.
// [Image.WithCommandLine] adds setup sectors that hold the text and a few
// instructions which make it the command line if the boot loader passes none. The
// payload is not touched, and so every boot loader of bzImages can start it:
// booted from QEMU -kernel, ISOLINUX, PXELINUX, GRUB's linux16 and iPXE's chain.
package bzimage

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"farmboot/ipxe/segment"
)

var le = binary.LittleEndian

// Offsets of fields in the real-mode kernel header, as boot.rst names them.
const (
	setupSects   = 0x1f1
	syssize      = 0x1f4
	bootFlag     = 0x1fe
	jump         = 0x200
	header       = 0x202
	version      = 0x206
	loadflags    = 0x211
	ramdiskImage = 0x218
	ramdiskSize  = 0x21c
	cmdLinePtr   = 0x228
	headerEnd    = 0x230
)

const (
	sector        = 512
	paragraph     = 16 // the unit of syssize
	maxSetupSects = 64 // GRUB takes no more
)

// Image is an ipxe.lkrn that has been checked.
type Image struct {
	file    []byte
	payload int // offset of the protected-mode payload
	setup   int // offset of the setup code, from the start of the file and of its segment
}

// Parse checks that file is an ipxe.lkrn as it was built. An error says what was
// wanted at which place and what was found. The file is kept, and must not be
// changed.
func Parse(file []byte) (*Image, error) {
	m := &Image{file: file}
	for _, step := range []func() error{m.checkHeader, m.checkPayload, m.checkSetup} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *Image) checkHeader() error {
	f := m.file
	if len(f) < headerEnd {
		return fmt.Errorf("want a bzImage, found %d bytes", len(f))
	}
	if got := f[bootFlag : bootFlag+2]; string(got) != "\x55\xaa" {
		return fmt.Errorf("at %#x (boot_flag): want 55aa, found %x", bootFlag, got)
	}
	if got := f[header : header+4]; string(got) != "HdrS" {
		return fmt.Errorf("at %#x (header): want HdrS, found %q", header, got)
	}
	if got := le.Uint16(f[version:]); got < 0x202 {
		return fmt.Errorf("at %#x (version): want boot protocol 2.02 or newer, which has cmd_line_ptr, found %#x", version, got)
	}
	if f[loadflags]&1 == 0 {
		return fmt.Errorf("at %#x (loadflags): want LOADED_HIGH, found %#x", loadflags, f[loadflags])
	}
	for _, at := range []int{ramdiskImage, ramdiskSize, cmdLinePtr} {
		if got := le.Uint32(f[at:]); got != 0 {
			return fmt.Errorf("at %#x (ramdisk_image, ramdisk_size or cmd_line_ptr): want 0, found %#x", at, got)
		}
	}
	return nil
}

func (m *Image) checkPayload() error {
	n := int(m.file[setupSects])
	if n < 1 || n > maxSetupSects {
		return fmt.Errorf("at %#x (setup_sects): want 1 to %d, found %d", setupSects, maxSetupSects, n)
	}
	m.payload = (n + 1) * sector
	if m.payload >= len(m.file) {
		return fmt.Errorf("at %#x: want the payload, found the end of the file", m.payload)
	}
	if want, got := m.paragraphs(len(m.file)), le.Uint32(m.file[syssize:]); got != want {
		return fmt.Errorf("at %#x (syssize): want %#x, the payload of this file, found %#x", syssize, want, got)
	}
	return nil
}

// paragraphs returns the syssize of a file of that many bytes.
func (m *Image) paragraphs(size int) uint32 {
	return uint32((size - m.payload + paragraph - 1) / paragraph)
}

// The setup code starts by making the setup segment its code segment: push %ds;
// push $next; lret. What it goes on with is xor %ax,%ax; mov %ax,%ss; mov
// $0x7c00,%sp; cld; mov cmd_line_ptr,%edx.
const (
	pushDSPush = "\x1e\x68"
	lret       = "\xcb"
	next       = "\x31\xc0\x8e\xd0\xbc\x00\x7c\xfc\x66\x8b\x16\x28\x02"

	operandAt = len(pushDSPush) // of push $next
	nextAt    = operandAt + 2 + len(lret)
)

func (m *Image) checkSetup() error {
	const shortJump = 0xeb
	displacement := m.file[jump+1]
	if m.file[jump] != shortJump || displacement >= 0x80 {
		return fmt.Errorf("at %#x (jump): want a short jump ahead, found %x", jump, m.file[jump:jump+2])
	}
	m.setup = jump + 2 + int(displacement)
	want := le.AppendUint16([]byte(pushDSPush), uint16(m.setup+nextAt))
	want = append(want, lret+next...)
	got := m.file[m.setup:min(m.setup+len(want), len(m.file))]
	if !bytes.Equal(got, want) {
		return fmt.Errorf("at %#x: want the setup code of an ipxe.lkrn, %x, found %x", m.setup, want, got)
	}
	return nil
}

// Bytes returns the whole file, which must not be changed.
func (m *Image) Bytes() []byte { return m.file }

// WithCommandLine returns the image with text, which must not hold a NUL, as its
// command line where the boot loader passes none. All but the setup sectors is
// shared with the image. At most about 28 KB fit.
func (m *Image) WithCommandLine(text []byte) (*segment.File, error) {
	if i := bytes.IndexByte(text, 0); i >= 0 {
		return nil, fmt.Errorf("command line with a NUL at offset %d, which would end it", i)
	}
	had := int(m.file[setupSects])
	more := (len(stub) + len(text) + 1 + sector - 1) / sector
	if had+more > maxSetupSects {
		room := (maxSetupSects-had)*sector - len(stub) - 1
		return nil, fmt.Errorf("command line of %d bytes: at most %d fit", len(text), room)
	}

	front := make([]byte, m.payload+more*sector)
	copy(front, m.file[:m.payload])
	front[setupSects] = byte(had + more)
	// The lret now lands in the stub, which goes on with the code behind the lret.
	le.PutUint16(front[m.setup+operandAt:], uint16(m.payload))
	added := front[m.payload:]
	copy(added, stub)
	le.PutUint16(added[len(stub)-2:], uint16(m.setup+nextAt))
	copy(added[len(stub):], text)
	return segment.Of(front, m.file[m.payload:]), nil
}

// WithTail returns the image with everything from offset on, which must be inside
// the payload, replaced.
func (m *Image) WithTail(offset int, tail []byte) (*Image, error) {
	if offset < m.payload || offset > len(m.file) {
		return nil, fmt.Errorf("at %#x: want the payload, %#x to %#x", offset, m.payload, len(m.file))
	}
	file := append(bytes.Clone(m.file[:offset]), tail...)
	le.PutUint32(file[syssize:], m.paragraphs(len(file)))
	return Parse(file)
}
