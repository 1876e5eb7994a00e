package pe

import (
	"bytes"
	"debug/pe"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"farmboot/setup/needs"
)

// Offsets in what synthesize makes.
const (
	testPE       = 0x40
	testCOFF     = testPE + signatureSize
	testOptional = testCOFF + fileHeaderSize
	testSections = testOptional + optionalHeaderSize + 8*dataDirectorySize
	testText     = 0x400 // raw data of the first section
	testEntry    = 0x1010
)

// synthesize returns a small EFI application: a code and a data section.
func synthesize(m Machine) []byte {
	header := make([]byte, testText)
	copy(header, "MZ")
	le.PutUint32(header[0x3c:], testPE)
	copy(header[testPE:], "PE\x00\x00")
	encode(header[testCOFF:], pe.FileHeader{
		Machine: uint16(m), NumberOfSections: 2,
		SizeOfOptionalHeader: testSections - testOptional,
		Characteristics:      pe.IMAGE_FILE_EXECUTABLE_IMAGE,
	})
	encode(header[testOptional:], optionalHeader{
		Magic: 0x20b, SizeOfCode: 0x200, AddressOfEntryPoint: testEntry, BaseOfCode: 0x1000,
		SectionAlignment: 0x1000, FileAlignment: 0x200,
		SizeOfImage: 0x4000, SizeOfHeaders: testText,
		Subsystem: pe.IMAGE_SUBSYSTEM_EFI_APPLICATION, NumberOfRvaAndSizes: 8,
	})
	text := pe.SectionHeader32{VirtualSize: 0x123, VirtualAddress: 0x1000, SizeOfRawData: 0x200, PointerToRawData: testText, Characteristics: pe.IMAGE_SCN_MEM_EXECUTE | pe.IMAGE_SCN_MEM_READ}
	copy(text.Name[:], ".text")
	data := pe.SectionHeader32{VirtualSize: 0x1800, VirtualAddress: 0x2000, SizeOfRawData: 0x200, PointerToRawData: testText + 0x200, Characteristics: pe.IMAGE_SCN_MEM_READ | pe.IMAGE_SCN_MEM_WRITE}
	copy(data.Name[:], ".data")
	encode(header[testSections:], []pe.SectionHeader32{text, data})
	return append(header, bytes.Repeat([]byte{0xcc}, 0x400)...)
}

func parse(t testing.TB, file []byte) *Image {
	t.Helper()
	m, err := Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestWithLoadOptions reads what comes out with the standard library.
func TestWithLoadOptions(t *testing.T) {
	for _, m := range []Machine{AMD64, ARM64, RISCV64} {
		t.Run(m.String(), func(t *testing.T) {
			original := synthesize(m)
			image := parse(t, original)
			rapid.Check(t, func(t *rapid.T) {
				text := rapid.SliceOfN(rapid.Byte(), 0, 3000).Draw(t, "text")
				f, err := image.WithLoadOptions(text)
				if err != nil {
					t.Fatal(err)
				}
				got, err := pe.NewFile(f.Reader())
				if err != nil {
					t.Fatal(err)
				}
				if len(got.Sections) != 3 {
					t.Fatalf("%d sections, want 3", len(got.Sections))
				}
				s := got.Sections[2]
				optional := got.OptionalHeader.(*pe.OptionalHeader64)
				if optional.AddressOfEntryPoint != s.VirtualAddress || s.VirtualAddress != 0x4000 {
					t.Fatalf("entry point %#x, new section at %#x, want both at 0x4000", optional.AddressOfEntryPoint, s.VirtualAddress)
				}
				if want := (s.VirtualAddress + s.VirtualSize + 0xfff) &^ 0xfff; optional.SizeOfImage != want {
					t.Fatalf("SizeOfImage %#x, want %#x", optional.SizeOfImage, want)
				}
				if int64(s.Offset+s.Size) != f.Size() || s.Size%optional.FileAlignment != 0 {
					t.Fatalf("the section ends at %#x, the file at %#x", s.Offset+s.Size, f.Size())
				}
				content, err := s.Data()
				if err != nil {
					t.Fatal(err)
				}
				options := content[int(s.VirtualSize)-2*len(text)-2:]
				for i, c := range append(bytes.Clone(text), 0) {
					if le.Uint16(options[2*i:]) != uint16(c) {
						t.Fatalf("character %d is %#x, want %#x", i, le.Uint16(options[2*i:]), c)
					}
				}
				if size := le.Uint32(content[int(s.VirtualSize)-2*len(text)-2-tail:]); int(size) != 2*len(text) {
					t.Fatalf("LoadOptionsSize %d, want %d", size, 2*len(text))
				}
				if after := f.Bytes()[testText:len(original)]; !bytes.Equal(after, original[testText:]) {
					t.Fatal("the original sections are changed")
				}
			})
		})
	}
}

func TestReplace(t *testing.T) {
	original := synthesize(AMD64)
	m := parse(t, bytes.Clone(original))
	replaced, err := m.Replace(testText+7, []byte("replaced"))
	if err != nil {
		t.Fatal(err)
	}
	want := bytes.Clone(original)
	copy(want[testText+7:], "replaced")
	if !bytes.Equal(replaced.File().Bytes(), want) {
		t.Error("more or less was replaced")
	}
	if !bytes.Equal(m.File().Bytes(), original) {
		t.Error("the image that it was made of is changed")
	}
	extended, err := replaced.WithLoadOptions([]byte("text"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(extended.Bytes()[testText:len(want)], want[testText:]) {
		t.Error("with load options there is something else in its place")
	}
	for _, at := range []int{-1, testText - 1, len(original) - 7} {
		if _, err := m.Replace(at, []byte("replaced")); err == nil {
			t.Errorf("at %#x, in the headers or behind the end: no error", at)
		}
	}
}

func TestTooLongOptions(t *testing.T) {
	m := parse(t, synthesize(AMD64))
	if _, err := m.WithLoadOptions(make([]byte, maxLoadOptions)); err != nil {
		t.Error(err)
	}
	if _, err := m.WithLoadOptions(make([]byte, maxLoadOptions+1)); err == nil || !strings.Contains(err.Error(), "at most 65536 fit") {
		t.Errorf("error = %v, want one that says what fits", err)
	}
}

// put returns a change that writes n, little endian, at an offset.
func put[T uint16 | uint32](at int, n T) func([]byte) []byte {
	return func(b []byte) []byte { encode(b[at:], n); return b }
}

func TestParseRefuses(t *testing.T) {
	sectionAt := func(i, field int) int { return testSections + i*sectionHeaderSize + field }
	for _, tt := range []struct {
		name   string
		change func([]byte) []byte
		want   string
	}{
		{"empty", func([]byte) []byte { return nil }, "at 0x0: want a DOS header"},
		{"no MZ", put(0, uint16(0)), "at 0x0: want a DOS header that starts with MZ, found 0000"},
		{"PE header outside", put(0x3c, uint32(1<<31)), "at 0x3c: want the offset of the PE header"},
		{"no PE", put(testPE, uint32(0)), "at 0x40: want the PE signature"},
		{"other machine", put(testCOFF, uint16(0x1c0)), "want machine amd64 (0x8664), arm64 (0xaa64) or riscv64 (0x5064), found 0x01c0"},
		{"no sections", put(testCOFF+2, uint16(0)), "want 1 to 95 sections"},
		{"many sections", put(testCOFF+2, uint16(30)), "want 1 to 95 sections, all inside SizeOfHeaders, found 30"},
		{"symbols", func(b []byte) []byte {
			return put(testCOFF+8, uint32(8))(put(testCOFF+12, uint32(8))(b))
		}, "want no symbol table"},
		{"small optional header", put(testCOFF+16, uint16(100)), "want a SizeOfOptionalHeader with room for 8"},
		{"PE32", put(testOptional, uint16(0x10b)), "want magic 0x20b"},
		{"driver", put(testOptional+68, uint16(11)), "want subsystem 10"},
		{"section alignment", put(testOptional+32, uint32(0x1800)), "want a SectionAlignment"},
		{"file alignment", put(testOptional+36, uint32(3)), "FileAlignment of 32 bytes up to that, found 0x1000 and 0x3"},
		{"entry in data", put(testOptional+16, uint32(0x2010)), "want an entry point inside an executable section, found 0x2010"},
		{"small image", put(testOptional+56, uint32(0x3000)), "want a SizeOfImage of at least 0x3800, found 0x3000"},
		{"huge image", put(testOptional+56, uint32(0xfffff000)), "want a SizeOfImage of at most 1 GiB"},
		{"headers outside", put(testOptional+60, uint32(1<<20)), "want SizeOfHeaders inside"},
		{"many directories", put(testOptional+108, uint32(1<<30)), "SizeOfOptionalHeader with room for 1073741824"},
		{"directory in the way", func(b []byte) []byte {
			at := testOptional + optionalHeaderSize + 6*dataDirectorySize
			return put(at, uint32(testSections+2*sectionHeaderSize))(put(at+4, uint32(16))(b))
		}, "in data directory 6: want nothing at"},
		{"sections overlap", put(sectionAt(1, 12), uint32(0x1000)), "in section 1: want a VirtualAddress from 0x1123, found 0x1000"},
		{"data outside", put(sectionAt(1, 20), uint32(0xfffffe00)), "in section 1: want its data behind the headers and inside the file's"},
		{"slot in use", put(sectionAt(2, 4), uint32(1)), "want 40 zero bytes for another section header"},
		{"data behind", func(b []byte) []byte { return append(b, 1, 2, 3) }, "want the end of the file behind the last section, found 3 more bytes"},
		{"truncated", func(b []byte) []byte { return b[:len(b)-1] }, "in section 1: want its data"},
		{"extended already", func(b []byte) []byte { return append(b[:0], extended(t)...) }, "want none that is called .options"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := Parse(tt.change(synthesize(AMD64))); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error = %v\nwant one with %q", err, tt.want)
			}
		})
	}
}

func extended(t testing.TB) []byte {
	f, err := parse(t, synthesize(AMD64)).WithLoadOptions([]byte("text"))
	if err != nil {
		t.Fatal(err)
	}
	return f.Bytes()
}

func TestSigned(t *testing.T) {
	file := synthesize(ARM64)
	at := testOptional + optionalHeaderSize + pe.IMAGE_DIRECTORY_ENTRY_SECURITY*dataDirectorySize
	le.PutUint32(file[at:], uint32(len(file)))
	le.PutUint32(file[at+4:], 8)
	m := parse(t, append(file, 8, 0, 0, 0, 0, 2, 2, 0))
	if !m.Signed() {
		t.Error("an image with a certificate table does not count as signed")
	}
	if _, err := m.WithLoadOptions(nil); err != ErrSigned {
		t.Errorf("WithLoadOptions error = %v, want ErrSigned", err)
	}
}

// TestBranches decodes the branches to the original entry point.
func TestBranches(t *testing.T) {
	target := map[Machine]func(code []byte) int64{
		AMD64: func(code []byte) int64 { return int64(int32(le.Uint32(code[1:]))) + 5 },
		ARM64: func(code []byte) int64 { return int64(int32(le.Uint32(code)<<6)>>6) * 4 },
		RISCV64: func(code []byte) int64 {
			upper, lower := le.Uint32(code), le.Uint32(code[4:])
			return int64(int32(upper&^0xfff)) + int64(int32(lower)>>20)
		},
	}
	for m, distanceOf := range target {
		s, err := stubFor(m)
		if err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct{ rva, entry uint32 }{
			{0x190000, 0x1f8f4}, {0x1000, 0x7ff000}, {0x4000, 0x1010}, {0x175f00, 0x1b3e4}, {0x7fff000, 0x1000}, {0x2000, 0x2800}, {0x2000, 0x2858},
		} {
			code, err := s.assemble(tt.rva, tt.entry, 42)
			if err != nil {
				t.Fatal(err)
			}
			if got := int64(tt.rva) + int64(s.jump) + distanceOf(code[s.jump:]); got != int64(tt.entry) {
				t.Errorf("%v: a stub at %#x goes on at %#x, want %#x", m, tt.rva, got, tt.entry)
			}
		}
	}
	s, err := stubFor(ARM64)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range []uint32{0x1002, 0x20000000} {
		if _, err := s.assemble(0x1000, entry, 0); err == nil {
			t.Errorf("arm64: a branch to %#x gives no error", entry)
		}
	}
}

// TestStubIsWhatTheSourceSays assembles the source of the native stub. The others
// would need cross assemblers; their bytes are words with the instruction beside.
func TestStubIsWhatTheSourceSays(t *testing.T) {
	needs.Program(t, "as", "binutils")
	needs.Program(t, "objcopy", "binutils")
	object, code := filepath.Join(t.TempDir(), "stub.o"), filepath.Join(t.TempDir(), "stub.bin")
	for _, command := range [][]string{
		{"as", "--64", "-o", object, "stub/amd64.S"},
		{"objcopy", "-O", "binary", "-j", ".text", object, code},
	} {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", command, err, out)
		}
	}
	want, err := os.ReadFile(code)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal([]byte(amd64Code), want) {
		t.Errorf("amd64Code is\n%x, stub/amd64.S\n%x", amd64Code, want)
	}
}

// FuzzParse: no file makes it panic, and what it takes can be extended into
// something that the standard library reads.
func FuzzParse(f *testing.F) {
	for _, m := range []Machine{AMD64, ARM64, RISCV64} {
		f.Add(synthesize(m), []byte("ipxe.efi #!ipxe\n"))
	}
	f.Fuzz(func(t *testing.T, file, text []byte) {
		m, err := Parse(file)
		if err != nil {
			return
		}
		out, err := m.WithLoadOptions(text)
		if err != nil {
			return
		}
		var coff pe.FileHeader
		if _, err := binary.Decode(out.Bytes()[m.coffAt:], le, &coff); err != nil || coff.NumberOfSections != m.coff.NumberOfSections+1 {
			t.Fatalf("%d sections, want one more than %d: %v", coff.NumberOfSections, m.coff.NumberOfSections, err)
		}
		if _, err := Parse(out.Bytes()); err == nil || !strings.Contains(err.Error(), "as it was built") {
			t.Fatalf("extending twice is not refused: %v", err)
		}
	})
}
