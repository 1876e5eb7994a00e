package kernel

import (
	"bytes"
	"cmp"
	"debug/pe"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"farmboot/provisioning"
)

// Format is what kind of program a kernel is.
type Format string

// The formats. Nodes boot the first two.
const (
	EFI     Format = "efi"     // an EFI application (UEFI 2.10 section 2.1.1), as Zero-OS and all Linux kernels with an EFI stub are
	BzImage Format = "bzimage" // Linux' own (Linux boot protocol), for BIOS
	Unknown Format = "unknown"
)

// Header is what the first bytes of a kernel say of it.
type Header struct {
	Format Format
	// Length is how many bytes the file has at least, if it is whole; 0 if the format is
	// unknown. A file may be longer: signatures and initramfs images stand behind its end.
	Length int64
}

// ReadHeader reads a kernel's header. It needs few bytes of the file's first kilobytes;
// where they are not there, the Length is beyond what is.
func ReadHeader(file io.ReaderAt) Header {
	h := Header{Format: Unknown}
	if length, ok := bzImageLength(file); ok {
		h = Header{BzImage, length}
	}
	if length, ok := efiLength(file); ok {
		h = Header{EFI, max(length, h.Length)}
	}
	return h
}

// StartsOnBIOS tells whether BIOS machines can start a file: a bzImage, which most kernels of
// Linux for x64 are besides being EFI applications.
func StartsOnBIOS(file io.ReaderAt) bool {
	_, ok := bzImageLength(file)
	return ok
}

// archs are the processors that EFI applications are for (PE/COFF specification, section 3.3.1),
// as network boot programs call them.
var archs = map[uint16]string{
	pe.IMAGE_FILE_MACHINE_AMD64: "x64", pe.IMAGE_FILE_MACHINE_ARM64: "arm64", pe.IMAGE_FILE_MACHINE_RISCV64: "riscv64",
	pe.IMAGE_FILE_MACHINE_I386: "ia32", pe.IMAGE_FILE_MACHINE_ARMNT: "arm", pe.IMAGE_FILE_MACHINE_LOONGARCH64: "loongarch64",
}

// archOf names the processors that a kernel is for; "": its header does not say.
func archOf(file io.ReaderAt) string {
	if StartsOnBIOS(file) {
		return "x64"
	}
	if _, ok := efiLength(file); !ok {
		return ""
	}
	dos, _ := bytesAt(file, 0, lfanew+4)
	machine, _ := bytesAt(file, int64(le.Uint32(dos[lfanew:]))+4, 2)
	return archs[le.Uint16(machine)]
}

// Arch names the processors that a kernel is for; "": it is not there, or its header does not say.
func (s *Store) Arch(rel string) string {
	f, _, err := s.Open(rel)
	if err != nil {
		return "" // told elsewhere
	}
	defer f.Close()
	return archOf(f)
}

// Foreign says behind its name that a kernel for those processors is for other machines than the
// platform, "UEFI x64" or "BIOS"; where that is not known, "", than most are. "": it is for those,
// or does not say.
func Foreign(arch, platform string) string {
	processor := "x64" // of BIOS too
	if uefi, ok := strings.CutPrefix(platform, "UEFI "); ok {
		processor = uefi
	}
	switch {
	case arch == "" || arch == processor:
		return ""
	case platform == "":
		return fmt.Sprintf("is for %s machines: others fetch it, and stop there", arch)
	}
	return fmt.Sprintf("is for %s machines: a machine of %s fetches it, and stops there", arch, platform)
}

// bytesAt reads n bytes; false if they are not there.
func bytesAt(file io.ReaderAt, off int64, n int) ([]byte, bool) {
	b := make([]byte, n)
	got, _ := file.ReadAt(b, off)
	return b, got == n
}

var le = binary.LittleEndian

// bzImageLength reads the setup header of a bzImage (Linux boot protocol): setup_sects
// sectors of real-mode code behind the boot sector, then syssize paragraphs.
func bzImageLength(file io.ReaderAt) (int64, bool) {
	const setupSects, sysSize, bootFlag, magic, version, end = 0x1f1, 0x1f4, 0x1fe, 0x202, 0x206, 0x208
	b, ok := bytesAt(file, 0, end)
	if !ok || string(b[magic:magic+4]) != "HdrS" || le.Uint16(b[bootFlag:]) != 0xaa55 {
		return 0, false
	}
	sectors := cmp.Or(int64(b[setupSects]), 4) // "for backwards compatibility"
	paragraphs := int64(le.Uint32(b[sysSize:]))
	if le.Uint16(b[version:]) < 0x204 {
		paragraphs &= 0xffff // it had two bytes then
	}
	if paragraphs == 0 { // nothing to start
		return 0, false
	}
	// The last paragraph may be begun only: that of iPXE's own files is.
	return (sectors+1)*512 + paragraphs*16 - 15, true
}

// lfanew is where a DOS header says where that of PE is.
const lfanew = 0x3c

// efiLength reads the headers of an EFI application (PE/COFF specification, sections 2
// to 4): the file reaches to the end of its headers, its sections and its certificates.
func efiLength(file io.ReaderAt) (int64, bool) {
	const signature, coff, optionalStart = 4, 20, 72
	dos, ok := bytesAt(file, 0, lfanew+4)
	if !ok || string(dos[:2]) != "MZ" {
		return 0, false
	}
	at := int64(le.Uint32(dos[lfanew:]))
	head, ok := bytesAt(file, at, signature+coff+optionalStart)
	if !ok || string(head[:4]) != "PE\x00\x00" {
		return 0, false
	}
	sections := int64(le.Uint16(head[signature+2:]))
	optionalSize := int64(le.Uint16(head[signature+16:]))
	optional := head[signature+coff:]
	const sizeOfHeaders, subsystem = 60, 68
	directories := int64(0) // where their number stands
	switch le.Uint16(optional) {
	case 0x10b: // PE32
		directories = 92
	case 0x20b: // PE32+
		directories = 108
	}
	if directories == 0 || le.Uint16(optional[subsystem:]) != pe.IMAGE_SUBSYSTEM_EFI_APPLICATION {
		return 0, false
	}
	optionalAt := at + signature + coff
	table := optionalAt + optionalSize
	const sectionHeader, rawSize, rawPointer = 40, 16, 20
	length := max(table+sections*sectionHeader, optionalAt+optionalStart, int64(le.Uint32(optional[sizeOfHeaders:])))
	for i := range sections {
		s, ok := bytesAt(file, table+i*sectionHeader, sectionHeader)
		if !ok {
			return length, true // which is beyond what is there
		}
		if pointer := int64(le.Uint32(s[rawPointer:])); pointer > 0 {
			length = max(length, pointer+int64(le.Uint32(s[rawSize:])))
		}
	}
	// The certificate table is the one directory that names a place in the file.
	certificates := directories + 4 + pe.IMAGE_DIRECTORY_ENTRY_SECURITY*8
	if number, ok := bytesAt(file, optionalAt+directories, 4); ok && le.Uint32(number) > pe.IMAGE_DIRECTORY_ENTRY_SECURITY && certificates+8 <= optionalSize {
		if d, ok := bytesAt(file, optionalAt+certificates, 8); ok && le.Uint32(d) > 0 {
			length = max(length, int64(le.Uint32(d))+int64(le.Uint32(d[4:])))
		}
	}
	return length, true
}

// ErrUnknown refuses a file that may be a kernel of a format which iPXE knows and we do
// not. It can be stored all the same, by saying that it is one.
var ErrUnknown = errors.New("is neither an EFI application nor a bzImage")

// errShort is what is wrong with a file that is cut short.
var errShort = errors.New("is cut short")

// describe says what a file is that is no kernel, as far as people put such files in a
// kernel's place: a download often gives a web page instead.
func describe(file io.ReaderAt) error {
	head := make([]byte, 512)
	n, _ := file.ReadAt(head, 0)
	text := bytes.ToLower(bytes.TrimSpace(head[:n]))
	switch {
	case n == 0:
		return errors.New("is empty")
	case bytes.HasPrefix(text, []byte("<!doctype html")), bytes.HasPrefix(text, []byte("<html")):
		return errors.New("is a web page")
	}
	return ErrUnknown
}

// fault says what is wrong with the file that h is the header of, of that size, behind its
// name: "is a web page". nil: it is a kernel, and whole.
func (h Header) fault(file io.ReaderAt, size int64) error {
	switch {
	case h.Format == Unknown:
		return describe(file)
	case size < h.Length:
		return fmt.Errorf("%w: it has %d bytes, and its own header says %d", errShort, size, h.Length)
	}
	return nil
}

// CheckFile refuses, with code [provisioning.Invalid], a file of that size that no node
// can boot by its own header: one that is cut short, and one that is no kernel at all.
func CheckFile(name string, file io.ReaderAt, size int64) error {
	return refuse(name, ReadHeader(file).fault(file, size))
}

// refuse refuses a file of that name for its fault, if it has one.
func refuse(name string, why error) error {
	switch {
	case errors.Is(why, errShort):
		return provisioning.Errorf(provisioning.Invalid, "kernel %s %w", name, why)
	case why != nil:
		return provisioning.Errorf(provisioning.Invalid, "not a kernel: %s %w; accepted are EFI applications, such as Zero-OS, and bzImages", name, why)
	}
	return nil
}

// Check refuses a kernel that is missing, with code [provisioning.NotFound], or that no
// node can boot by its own header, with code [provisioning.Invalid].
func (s *Store) Check(rel string) error {
	f, fi, err := s.Open(rel)
	if err != nil {
		return err
	}
	defer f.Close()
	return CheckFile(rel, f, fi.Size())
}
