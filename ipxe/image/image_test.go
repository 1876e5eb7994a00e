package image_test

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"farmboot/ipxe/binary"
	"farmboot/ipxe/image"
	"farmboot/ipxe/image/gpt"
	"farmboot/ipxe/image/iso9660"
	"farmboot/ipxe/image/oracle"
	"farmboot/ipxe/segment"
	"farmboot/provisioning"
)

var script = []byte("#!ipxe\necho hello\n")

// templateDir is the folder with the distribution's binaries; make test prepares it.
func templateDir() string { return cmp.Or(os.Getenv("FARMBOOT_TEMPLATE"), "/opt/ipxe-template") }

// composer returns one with the real template, which trusts a root of ours.
func composer(t testing.TB) image.Composer {
	t.Helper()
	template := binary.Load(templateDir())
	if problems := template.Problems(); len(problems) > 0 {
		t.Fatalf("these tests need iPXE's binaries in %s: run setup/template.sh, or set FARMBOOT_TEMPLATE: %v", templateDir(), problems)
	}
	return image.Composer{Template: sharedTrust()}
}

// trust returns the real template with trust in a root of ours.
func trust() *binary.Template {
	return binary.Load(templateDir()).Trust(sha256.Sum256([]byte("our root")))
}

// sharedTrust is one template for all tests, for giving our trust to all programs
// takes half a second, and ten times that under the race detector.
var sharedTrust = sync.OnceValue(trust)

func TestKinds(t *testing.T) {
	type row struct {
		Kind               string
		NeedsTarget        bool
		HasScript          bool
		Name, Farmer, Type string
		ARM64              string // file name, or the refusal
	}
	text, binary := "text/plain; charset=utf-8", "application/octet-stream"
	refusal := func(k string) string { return `no ` + k + ` image for arch "arm64": accepted are amd64` }
	want := []row{
		{"ipxe", true, true, "ipxe-prod.ipxe", "ipxe-prod-5.ipxe", text, "ipxe-prod.ipxe"},
		{"iso", true, true, "ipxe-prod.iso", "ipxe-prod-5.iso", binary, "ipxe-prod.iso"},
		{"usb", true, true, "ipxe-prod.img", "ipxe-prod-5.img", binary, "ipxe-prod.img"},
		{"uefi", true, true, "ipxe-prod.efi", "ipxe-prod-5.efi", binary, "ipxe-arm64-prod.efi"},
		{"uefimg", true, true, "uefiusb-prod.img", "uefiusb-prod-5.img", binary, "uefiusb-prod.img"},
		{"krn", true, true, "ipxe-prod.lkrn", "ipxe-prod-5.lkrn", binary, refusal("krn")},
		{"snponly", true, true, "ipxe-snp-prod.efi", "ipxe-snp-prod-5.efi", binary, refusal("snponly")},
		{"krn-generic", false, false, "ipxe-zero-os-generic.lkrn", "ipxe-zero-os-generic.lkrn", binary, refusal("krn-generic")},
		{"uefi-generic", false, false, "ipxe-zero-os-generic.efi", "ipxe-zero-os-generic.efi", binary, "ipxe-arm64-zero-os-generic.efi"},
		{"krn-provision", false, true, "ipxe-zero-os-provision.lkrn", "ipxe-zero-os-provision.lkrn", binary, refusal("krn-provision")},
		{"uefi-provision", false, true, "ipxe-zero-os-provision.efi", "ipxe-zero-os-provision.efi", binary, "ipxe-arm64-zero-os-provision.efi"},
	}
	var got []row
	for _, k := range image.Kinds() {
		parsed, err := image.ParseKind(string(k))
		if err != nil || parsed != k {
			t.Errorf("ParseKind(%q) = %q, %v", k, parsed, err)
		}
		arm := image.Options{Arch: image.ARM64}
		r := row{string(k), k.NeedsTarget(), k.HasScript(), k.FileName(image.Options{}, "prod", 0), k.FileName(image.Options{}, "prod", 5), k.ContentType(), k.FileName(arm, "prod", 0)}
		if err := arm.Check(k); err != nil {
			r.ARM64 = err.Error()
			if provisioning.ErrorCode(err) != provisioning.Invalid {
				t.Errorf("%s: code %s, want invalid", k, provisioning.ErrorCode(err))
			}
		}
		got = append(got, r)
	}
	if d := gocmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestParseKindRefuses(t *testing.T) {
	for _, s := range []string{"", "ISO", "floppy", "iso/"} {
		if _, err := image.ParseKind(s); provisioning.ErrorCode(err) != provisioning.NotFound || !strings.Contains(err.Error(), "iso, usb") {
			t.Errorf("ParseKind(%q) error = %v, want a NotFound one that lists the kinds", s, err)
		}
	}
}

func TestUnknownArch(t *testing.T) {
	_, err := composer(t).Compose(image.UEFI, script, image.Options{Arch: "mips"})
	if provisioning.ErrorCode(err) != provisioning.Invalid || !strings.Contains(err.Error(), "amd64, arm64, riscv64") {
		t.Errorf("error = %v, want an Invalid one that says what is accepted", err)
	}
}

// TestSameRequestSameBytes composes everything twice, with two templates as after a
// restart, and checks that entity tags tell images apart exactly when their bytes do.
func TestSameRequestSameBytes(t *testing.T) {
	one, two := composer(t), image.Composer{Template: trust()}
	tags := map[string][sha256.Size]byte{}
	for _, k := range image.Kinds() {
		for _, o := range []image.Options{{}, {Arch: image.ARM64}, {Arch: image.RISCV64}} {
			if o.Check(k) != nil {
				continue
			}
			for _, s := range []string{"#!ipxe\n", "#!ipxe\necho hello\n", "#!ipxe\necho hallo\n"} {
				a, err := one.Compose(k, []byte(s), o)
				if err != nil {
					t.Fatalf("%s: %v", k, err)
				}
				b, err := two.Compose(k, []byte(s), o)
				if err != nil {
					t.Fatalf("%s: %v", k, err)
				}
				sum := a.SHA256()
				if sum != b.SHA256() {
					t.Errorf("%s is not the same twice", k)
				}
				tag := one.ETag(k, []byte(s), o)
				if tag != two.ETag(k, []byte(s), o) {
					t.Errorf("the entity tag of %s is not the same twice", k)
				}
				if other, ok := tags[tag]; ok && other != sum {
					t.Errorf("%s %v has the entity tag of another image", k, o)
				}
				tags[tag] = sum
			}
		}
	}
	sums := map[[sha256.Size]byte]string{}
	for tag, sum := range tags {
		if other, ok := sums[sum]; ok {
			t.Errorf("the same bytes have the entity tags %s and %s", tag, other)
		}
		sums[sum] = tag
	}
}

func TestETagChangesWithTheTemplate(t *testing.T) {
	trusting := composer(t)
	plain := image.Composer{Template: binary.Load(templateDir())}
	for _, k := range image.Kinds() {
		same := trusting.ETag(k, script, image.Options{}) == plain.ETag(k, script, image.Options{})
		if same != (k == image.Script) {
			t.Errorf("%s: the same entity tag with and without our root: %v", k, same)
		}
	}
}

func TestUSBIsISO(t *testing.T) {
	c := composer(t)
	iso, err := c.Compose(image.ISO, script, image.Options{})
	if err != nil {
		t.Fatal(err)
	}
	usb, err := c.Compose(image.USB, script, image.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(iso.Bytes(), usb.Bytes()) {
		t.Error("iso and usb differ")
	}
}

func TestRefusedScripts(t *testing.T) {
	c := composer(t)
	for _, k := range image.Kinds() {
		for _, s := range []string{"", "echo\n", "#!ipxe\n\x00"} {
			_, err := c.Compose(k, []byte(s), image.Options{})
			if k.HasScript() != (provisioning.ErrorCode(err) == provisioning.Invalid) {
				t.Errorf("%s of script %q: error = %v", k, s, err)
			}
		}
	}
}

func TestMissingTemplate(t *testing.T) {
	c := image.Composer{Template: binary.Load(t.TempDir())}
	for _, k := range image.Kinds() {
		_, err := c.Compose(k, script, image.Options{})
		if want := k != image.Script; want != (provisioning.ErrorCode(err) == provisioning.Unavailable) {
			t.Errorf("%s without a template: error = %v", k, err)
		}
		if tag := c.ETag(k, script, image.Options{}); len(tag) != 34 {
			t.Errorf("%s: entity tag %s", k, tag)
		}
	}
}

// drawScript draws a script of any printable and unprintable bytes that it may have.
func drawScript(t *rapid.T) []byte {
	line := rapid.SliceOfN(rapid.ByteRange(1, 255), 0, 200).Draw(t, "line")
	return append([]byte("#!ipxe\n"), bytes.Repeat(line, rapid.IntRange(0, 300).Draw(t, "times"))...)
}

// TestHybridCarriesAnyScript finds the script, and UEFI's binaries, where BIOS and
// UEFI look for them.
func TestHybridCarriesAnyScript(t *testing.T) {
	c, dir := composer(t), t.TempDir()
	amd64, err := c.Template.Plain(binary.EFI)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		script := drawScript(t)
		f, err := c.Compose(image.ISO, script, image.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got, err := iso9660.ReadFile(f, "AUTOEXEC.IPX"); err != nil || !bytes.Equal(got, script) {
			t.Fatalf("ISOLINUX finds a script of %d bytes of %d, or others: %v", len(got), len(script), err)
		}
		partition, err := iso9660.ReadFile(f, "EFI.IMG")
		if err != nil {
			t.Fatal(err)
		}
		checkPartition(t, oracle.Write(t, dir, segment.Of(partition)), script, amd64.Bytes())
	})
}

// TestDiskCarriesAnyScript does the same for disks, which keep room for more.
func TestDiskCarriesAnyScript(t *testing.T) {
	c, dir := composer(t), t.TempDir()
	amd64, err := c.Template.Plain(binary.EFI)
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		script := drawScript(t)
		f, err := c.Compose(image.UEFIDisk, script, image.Options{})
		if err != nil {
			t.Fatal(err)
		}
		disk := oracle.Write(t, dir, f)
		if report := oracle.Run(t, "sgdisk", "--verify", disk); !strings.Contains(report, "No problems found") {
			t.Fatalf("sgdisk finds problems:\n%s", report)
		}
		checkPartition(t, disk+"@@1M", script, amd64.Bytes())
		partition := f.Bytes()[gpt.Start*512 : f.Size()-33*512]
		oracle.Run(t, "fsck.fat", "-n", oracle.Write(t, dir, segment.Of(partition)))
	})
}

// checkPartition reads an EFI system partition with mtools.
func checkPartition(t oracle.T, path string, script, amd64 []byte) {
	t.Helper()
	if got := oracle.Run(t, "mtype", "-i", path, "::autoexec.ipxe"); got != string(script) {
		t.Fatalf("UEFI finds a script of %d bytes of %d, or others", len(got), len(script))
	}
	if got := oracle.Run(t, "mtype", "-i", path, "::EFI/BOOT/BOOTX64.EFI"); got != string(amd64) {
		t.Fatalf("UEFI finds a program of %d bytes of %d, or others", len(got), len(amd64))
	}
}

// TestHybridIsWhatXorrisoMakes asks xorriso what it thinks of the real boot blocks.
func TestHybridIsWhatXorrisoMakes(t *testing.T) {
	f, err := composer(t).Compose(image.ISO, script, image.Options{})
	if err != nil {
		t.Fatal(err)
	}
	got := oracle.Run(t, "xorriso", "-report_about", "WARNING", "-indev", oracle.Write(t, t.TempDir(), f), "-report_el_torito", "plain", "-report_system_area", "plain")
	for _, want := range []string{"boot-info-table isohybrid-suitable", "MBR isohybrid cyl-align-on", "0x00  0xef"} {
		if !strings.Contains(got, want) {
			t.Errorf("xorriso does not say %q:\n%s", want, got)
		}
	}
}

// TestMediaWithoutARM64: a template without the AArch64 binary makes media that boot
// everything else; one with a broken binary is refused.
func TestMediaWithoutARM64(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{binary.EFI, binary.Kernel, binary.ISO} {
		if err := os.Symlink(filepath.Join(templateDir(), name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, k := range []image.Kind{image.ISO, image.UEFIDisk} {
		if _, err := (image.Composer{Template: binary.Load(dir)}).Compose(k, script, image.Options{}); err != nil {
			t.Errorf("%s without the AArch64 binary: %v", k, err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, binary.ARM64), []byte("MZ"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, k := range []image.Kind{image.ISO, image.UEFIDisk} {
		if _, err := (image.Composer{Template: binary.Load(dir)}).Compose(k, script, image.Options{}); provisioning.ErrorCode(err) != provisioning.Unavailable {
			t.Errorf("%s with a broken AArch64 binary: error = %v", k, err)
		}
	}
}

func BenchmarkCompose(b *testing.B) {
	c := composer(b)
	script := append([]byte("#!ipxe\n"), bytes.Repeat([]byte("echo hello\n"), 200)...)
	for _, k := range image.Kinds() {
		b.Run(string(k), func(b *testing.B) {
			if _, err := c.Compose(k, script, image.Options{}); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Compose(k, script, image.Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkETag(b *testing.B) {
	c := composer(b)
	b.ReportAllocs()
	for b.Loop() {
		c.ETag(image.ISO, script, image.Options{})
	}
}
