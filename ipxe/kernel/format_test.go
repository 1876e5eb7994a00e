package kernel

import (
	"bytes"
	"os"
	"testing"
)

// testEFI is an EFI application of three sections' worth of headers whose last section
// ends at length.
func testEFI(length int) []byte {
	const at = 0x80
	b := make([]byte, length)
	copy(b, "MZ")
	le.PutUint32(b[0x3c:], at)
	copy(b[at:], "PE\x00\x00")
	le.PutUint16(b[at+4:], 0x8664)
	le.PutUint16(b[at+6:], 2)    // sections
	le.PutUint16(b[at+20:], 240) // size of the optional header
	optional := b[at+24:]
	le.PutUint16(optional, 0x20b)
	le.PutUint32(optional[60:], 0x200) // size of the headers
	le.PutUint16(optional[68:], 10)    // EFI application
	le.PutUint32(optional[108:], 16)   // data directories
	sections := optional[240:]
	le.PutUint32(sections[16:], 0x100)
	le.PutUint32(sections[20:], 0x200)
	le.PutUint32(sections[40+16:], uint32(length-0x300))
	le.PutUint32(sections[40+20:], 0x300)
	return b
}

// testBzImage is a bzImage of that length, which is a multiple of 16.
func testBzImage(length int) []byte {
	b := make([]byte, length)
	b[0x1f1] = 1
	le.PutUint32(b[0x1f4:], uint32(length-1024)/16)
	le.PutUint16(b[0x1fe:], 0xaa55)
	copy(b[0x202:], "HdrS")
	le.PutUint16(b[0x206:], 0x20f)
	return b
}

func TestArch(t *testing.T) {
	of := func(machine uint16) []byte {
		file := testEFI(0x1000)
		le.PutUint16(file[0x80+4:], machine)
		return file
	}
	for name, tt := range map[string]struct {
		file []byte
		want string
	}{
		"x64": {of(0x8664), "x64"}, "ARM64": {of(0xaa64), "arm64"}, "RISC-V": {of(0x5064), "riscv64"},
		"another": {of(0x1234), ""}, "bzImage": {testBzImage(0x2000), "x64"}, "text": {[]byte("kernel"), ""}, "nothing": {nil, ""},
	} {
		if got := archOf(bytes.NewReader(tt.file)); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

func TestReadHeader(t *testing.T) {
	signed := append(testEFI(0x1000), make([]byte, 0x100)...)
	le.PutUint32(signed[0x80+24+112+4*8:], 0x1000)
	le.PutUint32(signed[0x80+24+112+4*8+4:], 0x100)
	driver := testEFI(0x1000)
	le.PutUint16(driver[0x80+24+68:], 11)
	both := testBzImage(0x2000)
	copy(both, testEFI(0x1000)[:0x1f0])
	old := testBzImage(0x2000)
	le.PutUint16(old[0x206:], 0x203)
	le.PutUint32(old[0x1f4:], 0xffff0000|uint32(0x2000-1024)/16)
	nothing := testBzImage(0x2000)
	le.PutUint32(nothing[0x1f4:], 0) // syssize
	fourSectors := testBzImage(0x2000)
	fourSectors[0x1f1] = 0
	for name, tt := range map[string]struct {
		file []byte
		want Header
	}{
		"EFI":                        {testEFI(0x1000), Header{EFI, 0x1000}},
		"EFI, cut in its sections":   {testEFI(0x1000)[:0x400], Header{EFI, 0x1000}},
		"EFI, cut in its headers":    {testEFI(0x1000)[:0x190], Header{EFI, 0x200}},
		"EFI, with more behind":      {append(testEFI(0x1000), "more"...), Header{EFI, 0x1000}},
		"EFI, signed":                {signed, Header{EFI, 0x1100}},
		"a driver":                   {driver, Header{Unknown, 0}},
		"a DOS program":              {append([]byte("MZ"), make([]byte, 200)...), Header{Unknown, 0}},
		"bzImage":                    {testBzImage(0x2000), Header{BzImage, 0x2000 - 15}},
		"bzImage, cut":               {testBzImage(0x2000)[:0x300], Header{BzImage, 0x2000 - 15}},
		"bzImage with an EFI stub":   {both, Header{EFI, 0x2000 - 15}},
		"an old bzImage":             {old, Header{BzImage, 0x2000 - 15}},
		"bzImage of no setup sector": {fourSectors, Header{BzImage, 0x2000 - 15 + 3*512}},
		"bzImage of nothing":         {nothing, Header{Unknown, 0}},
		"nothing":                    {nil, Header{Unknown, 0}},
		"text":                       {bytes.Repeat([]byte("kernel "), 200), Header{Unknown, 0}},
	} {
		if got := ReadHeader(bytes.NewReader(tt.file)); got != tt.want {
			t.Errorf("%s: %+v, want %+v", name, got, tt.want)
		}
	}
}

func FuzzReadHeader(f *testing.F) {
	f.Add(testEFI(0x1000))
	f.Add(testEFI(0x1000)[:0x190])
	f.Add(testBzImage(0x1000))
	f.Fuzz(func(t *testing.T, file []byte) {
		h := ReadHeader(bytes.NewReader(file))
		if h.Length < 0 || (h.Format == Unknown) != (h.Length == 0) {
			t.Fatalf("%+v", h)
		}
		err := CheckFile("k", bytes.NewReader(file), int64(len(file)))
		if (err == nil) != (h.Format != Unknown && h.Length <= int64(len(file))) {
			t.Fatalf("%+v of %d bytes: %v", h, len(file), err)
		}
		// What is behind the end changes nothing.
		if err == nil && ReadHeader(bytes.NewReader(file[:h.Length])) != h {
			t.Fatalf("%+v is another one without what is behind its end", h)
		}
	})
}

// TestRealKernels: iPXE's own files and the distribution's kernels, where they are.
func TestRealKernels(t *testing.T) {
	for file, format := range map[string]Format{
		"/opt/ipxe-template/ipxe.efi": EFI, "/opt/ipxe-template/ipxe-arm64.efi": EFI, "/opt/ipxe-template/ipxe.lkrn": BzImage,
		"/var/cache/farmboot-test/vmlinuz-amd64": EFI, "/var/cache/farmboot-test/vmlinuz-arm64": EFI,
	} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Logf("not looked at: %v", err)
			continue
		}
		h := ReadHeader(bytes.NewReader(text))
		if h.Format != format || h.Length > int64(len(text)) || h.Length < int64(len(text))/2 {
			t.Errorf("%s: %+v of %d bytes", file, h, len(text))
		}
		t.Logf("%s: %+v of %d bytes", file, h, len(text))
	}
}
