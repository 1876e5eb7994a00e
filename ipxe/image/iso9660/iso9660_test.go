package iso9660_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"farmboot/ipxe/image/iso9660"
	"farmboot/ipxe/image/oracle"
	"farmboot/ipxe/segment"
)

// magic is what tells isohybrid boot code and isolinux.bin.
const magic = "\xfb\xc0\x78\x70"

// volume returns one with stand-ins for the boot blocks.
func volume(files ...iso9660.File) iso9660.Volume {
	code := make([]byte, iso9660.MBRSize)
	copy(code[100:], magic)
	isolinux := bytes.Repeat([]byte("isolinux "), 1000)
	copy(isolinux[64:], magic)
	return iso9660.Volume{
		ID: "FARMBOOT", DiskID: [4]byte{1, 2, 3, 4}, Time: time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC),
		MBR: code, Isolinux: isolinux, EFI: segment.Of(bytes.Repeat([]byte("EFI "), 1280)), Files: files,
	}
}

func build(t oracle.T, v iso9660.Volume) *segment.File {
	t.Helper()
	f, err := v.Build()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// TestHybrid asks xorriso and isoinfo.
func TestHybrid(t *testing.T) {
	oracle.Need(t, "xorriso", "isoinfo")
	v := volume(
		iso9660.File{Name: "ISOLINUX.CFG", Data: segment.Of([]byte("DEFAULT x\n"))},
		iso9660.File{Name: "EMPTY.TXT", Data: segment.Of()},
	)
	f := build(t, v)
	if f.Size() != 1<<20 {
		t.Errorf("%d bytes, want 1 MiB", f.Size())
	}
	image := oracle.Write(t, t.TempDir(), f)
	got := oracle.Run(t, "xorriso", "-report_about", "WARNING", "-indev", image, "-pvd_info", "-report_el_torito", "plain", "-report_system_area", "plain")
	for _, want := range []string{
		"Volume Id    : FARMBOOT",
		"Creation Time: 2025010100000000",
		"El Torito catalog  : 22  1",
		"El Torito cat path : /BOOT.CAT",
		"El Torito boot img :   1  BIOS  y   none  0x0000  0x00      4          23",
		"El Torito boot img :   2  UEFI  y   none  0x0000  0x00     10          29",
		"El Torito img path :   1  /ISOLINUX.BIN",
		"El Torito img opts :   1  boot-info-table isohybrid-suitable",
		"El Torito img path :   2  /EFI.IMG",
		"System area summary: MBR cyl-align-on",
		"ISO image size/512 : 2048",
		"MBR partition      :   1   0x80  0x00            0         2048",
		"MBR partition      :   2   0x00  0xef          116           10",
		"MBR partition path :   2  /EFI.IMG",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("xorriso does not say %q:\n%s", want, got)
		}
	}
	got = oracle.Run(t, "isoinfo", "-i", image, "-f")
	if want := "/BOOT.CAT;1\n/EFI.IMG;1\n/EMPTY.TXT;1\n/ISOLINUX.BIN;1\n/ISOLINUX.CFG;1\n"; got != want {
		t.Errorf("isoinfo lists\n%swant\n%s", got, want)
	}
}

// TestFolders asks xorriso and isoinfo for files in folders.
func TestFolders(t *testing.T) {
	v := volume(
		iso9660.File{Name: "EFI/BOOT/BOOTX64.EFI", Data: segment.Of([]byte("x64"))},
		iso9660.File{Name: "EFI/BOOT/BOOTAA64.EFI", Data: segment.Of([]byte("arm64"))},
		iso9660.File{Name: "A/Z.TXT", Data: segment.Of([]byte("z"))},
		iso9660.File{Name: "AUTOEXEC.IPXE", Data: segment.Of([]byte("#!ipxe\n"))},
	)
	dir := t.TempDir()
	image := oracle.Write(t, dir, build(t, v))
	got := oracle.Run(t, "isoinfo", "-i", image, "-f")
	if want := "/A\n/AUTOEXEC.IPXE;1\n/BOOT.CAT;1\n/EFI\n/EFI.IMG;1\n/ISOLINUX.BIN;1\n/A/Z.TXT;1\n/EFI/BOOT\n/EFI/BOOT/BOOTAA64.EFI;1\n/EFI/BOOT/BOOTX64.EFI;1\n"; got != want {
		t.Errorf("isoinfo lists\n%swant\n%s", got, want)
	}
	got = oracle.Run(t, "xorriso", "-report_about", "WARNING", "-indev", image, "-find", "/", "-type", "f", "-exec", "report_lba", "--")
	for _, want := range []string{"'/EFI/BOOT/BOOTX64.EFI'", "'/EFI/BOOT/BOOTAA64.EFI'", "'/A/Z.TXT'"} {
		if !strings.Contains(got, want) {
			t.Errorf("xorriso does not say %q:\n%s", want, got)
		}
	}
	if got := oracle.Run(t, "isoinfo", "-i", image, "-x", "/EFI/BOOT/BOOTAA64.EFI;1"); got != "arm64" {
		t.Errorf("isoinfo reads %q", got)
	}
}

// TestAnyFiles reads files of any size back, with isoinfo and with ReadFile.
func TestAnyFiles(t *testing.T) {
	oracle.Need(t, "isoinfo")
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		contents := map[string][]byte{}
		var files []iso9660.File
		for i := range rapid.IntRange(0, 5).Draw(t, "files") {
			name := fmt.Sprintf("%s%d.%s", rapid.StringMatching(`[A-Z_]{1,7}`).Draw(t, "name"), i, rapid.StringMatching(`[A-Z]{3}`).Draw(t, "extension"))
			data := bytes.Repeat(rapid.SliceOfN(rapid.Byte(), 1, 50).Draw(t, "data"), rapid.IntRange(0, 2000).Draw(t, "times"))
			contents[name] = data
			files = append(files, iso9660.File{Name: name, Data: segment.Of(data)})
		}
		v := volume(files...)
		contents["EFI.IMG"] = v.EFI.Bytes()
		f := build(t, v)
		image := oracle.Write(t, dir, f)
		for name, want := range contents {
			got, err := iso9660.ReadFile(f, name)
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("ReadFile(%s) has %d bytes of %d, or others: %v", name, len(got), len(want), err)
			}
			if got := oracle.Run(t, "isoinfo", "-i", image, "-x", "/"+name+";1"); got != string(want) {
				t.Fatalf("isoinfo reads %d bytes of %d from %s, or others", len(got), len(want), name)
			}
		}
	})
}

func TestBuildRefuses(t *testing.T) {
	many := make([]iso9660.File, 60)
	for i := range many {
		many[i] = iso9660.File{Name: fmt.Sprintf("F%d.TXT", i), Data: segment.Of()}
	}
	for _, tt := range []struct {
		name   string
		change func(*iso9660.Volume)
		want   string
	}{
		{"long identifier", func(v *iso9660.Volume) { v.ID = strings.Repeat("A", 33) }, "at most 32 characters"},
		{"other boot code", func(v *iso9660.Volume) { clear(v.MBR) }, "want 432 bytes of isohybrid boot code"},
		{"short boot code", func(v *iso9660.Volume) { v.MBR = v.MBR[:400] }, "found 400 bytes"},
		{"short isolinux.bin", func(v *iso9660.Volume) { v.Isolinux = v.Isolinux[:2000] }, "want 2 to 64 KiB, found 2000 bytes"},
		{"other isolinux.bin", func(v *iso9660.Volume) { v.Isolinux[64] = 0 }, "at offset 64: want fbc07870, found 00c07870"},
		{"large EFI partition", func(v *iso9660.Volume) { v.EFI = segment.Of(make([]byte, 1<<25)) }, "which is what El Torito can say"},
		{"odd EFI partition", func(v *iso9660.Volume) { v.EFI = segment.Of(make([]byte, 100)) }, "want whole sectors"},
		{"many files", func(v *iso9660.Volume) { v.Files = many }, "ISO 9660 directory \"\" of"},
	} {
		v := volume()
		tt.change(&v)
		if _, err := v.Build(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error = %v\nwant one with %q", tt.name, err, tt.want)
		}
	}
}

func TestReadFileRefuses(t *testing.T) {
	f := build(t, volume())
	if _, err := iso9660.ReadFile(f, "MISSING.TXT"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a missing file: error = %v, want fs.ErrNotExist", err)
	}
	const descriptor, root = 16 * 2048, 21 * 2048
	for _, tt := range []struct {
		name string
		at   int
		data string
		want string
	}{
		{"no descriptor", descriptor, "\x02", "at sector 16: want a primary volume descriptor"},
		{"root record", descriptor + 156, "\x01", "at the root directory record: want a directory record"},
		{"root outside", descriptor + 156 + 2, "\x00\x00\x00\x7f", "read the root directory: 2048 bytes at sector 2130706432"},
		{"huge root", descriptor + 156 + 10, "\x00\x00\x00\x7f", "at most 33554432 are read"},
		{"record", root + 68, "\x03", "at offset 0x44 of the root directory: want a directory record"},
		{"name length", root + 68 + 32, "\xff", "with a name of 255 bytes"},
	} {
		image := f.Bytes()
		copy(image[tt.at:], tt.data)
		if _, err := iso9660.ReadFile(bytes.NewReader(image), "ISOLINUX.BIN"); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error = %v\nwant one with %q", tt.name, err, tt.want)
		}
	}
	if _, err := iso9660.ReadFile(bytes.NewReader(nil), "A"); err == nil {
		t.Error("an empty image gives no error")
	}
}

// FuzzReadFile: no image makes it panic. The fuzzed bytes are the descriptor and the
// root directory; the rest of an image is of no interest.
func FuzzReadFile(f *testing.F) {
	good := build(f, volume()).Bytes()
	f.Add(good[16*2048:17*2048], good[21*2048:22*2048])
	f.Fuzz(func(t *testing.T, descriptor, root []byte) {
		image := bytes.Clone(good[:64*2048])
		copy(image[16*2048:17*2048], descriptor)
		copy(image[21*2048:22*2048], root)
		data, err := iso9660.ReadFile(bytes.NewReader(image), "ISOLINUX.BIN")
		if err == nil && len(data) > len(image) {
			t.Fatalf("%d bytes out of an image of %d", len(data), len(image))
		}
	})
}
