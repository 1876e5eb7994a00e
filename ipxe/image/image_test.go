package image_test

import (
	"bytes"
	"crypto/sha256"
	"os"
	"path/filepath"
	"slices"
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
	"farmboot/provisioning/filenames"
	"farmboot/setup/needs"
)

var script = []byte("#!ipxe\necho hello\n")

// template returns the real one, which trusts a root of ours.
func template(t testing.TB) *binary.Template {
	t.Helper()
	dir := needs.Template(t)
	if problems := binary.Load(dir).Problems(); len(problems) > 0 {
		t.Fatalf("the template folder %s is not what setup/template.sh makes: %v", dir, problems)
	}
	return sharedTrust()
}

// recipe is that of a kind without options.
func recipe(t testing.TB, k image.Kind) image.Recipe {
	t.Helper()
	r, err := k.Recipe(image.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// trust returns the real template with trust in a root of ours.
func trust() *binary.Template {
	return binary.Load(needs.TemplateDir()).Trust(sha256.Sum256([]byte("our root")))
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
		r := row{string(k), k.NeedsTarget(), recipe(t, k).HasScript(), k.FileName(image.Options{}, "prod", 0), k.FileName(image.Options{}, "prod", 5), k.ContentType(), k.FileName(arm, "prod", 0)}
		if _, err := k.Recipe(arm); err != nil {
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
	_, err := image.UEFI.Recipe(image.Options{Arch: "mips"})
	if provisioning.ErrorCode(err) != provisioning.Invalid || !strings.Contains(err.Error(), "amd64, arm64, riscv64") {
		t.Errorf("error = %v, want an Invalid one that says what is accepted", err)
	}
}

// TestSameRequestSameBytes composes everything twice, with two templates as after a
// restart, and checks that entity tags tell images apart exactly when their bytes do.
func TestSameRequestSameBytes(t *testing.T) {
	one, two := template(t), trust()
	tags := map[string][sha256.Size]byte{}
	for _, k := range image.Kinds() {
		for _, o := range []image.Options{{}, {Arch: image.ARM64}, {Arch: image.RISCV64}} {
			recipe, err := k.Recipe(o)
			if err != nil {
				continue
			}
			for _, s := range []string{"#!ipxe\n", "#!ipxe\necho hello\n", "#!ipxe\necho hallo\n"} {
				a, err := recipe.Compose(one, []byte(s))
				if err != nil {
					t.Fatalf("%s: %v", k, err)
				}
				b, err := recipe.Compose(two, []byte(s))
				if err != nil {
					t.Fatalf("%s: %v", k, err)
				}
				sum := a.SHA256()
				if sum != b.SHA256() {
					t.Errorf("%s is not the same twice", k)
				}
				tag := recipe.ETag(one, []byte(s))
				if tag != recipe.ETag(two, []byte(s)) {
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

func TestETagChangesWithTrust(t *testing.T) {
	trusting, plain := template(t), binary.Load(needs.TemplateDir())
	for _, k := range image.Kinds() {
		same := recipe(t, k).ETag(trusting, script) == recipe(t, k).ETag(plain, script)
		if same != (k == image.Script) {
			t.Errorf("%s: the same entity tag with and without our root: %v", k, same)
		}
	}
}

// TestRecipesNameTheirFiles takes each file of the template away in turn: recipes that
// name it, and no others, then give something else, and another entity tag.
func TestRecipesNameTheirFiles(t *testing.T) {
	template(t) // is there
	whole := binary.Load(needs.TemplateDir())
	all := []string{filenames.Undionly, binary.Kernel, filenames.EFI, filenames.SNPOnly, filenames.ARM64, filenames.RISCV64, binary.ISO}
	for _, gone := range all {
		part := binary.Load(linked(t, slices.DeleteFunc(slices.Clone(all), func(name string) bool { return name == gone })...))
		for _, k := range image.Kinds() {
			for _, arch := range []image.Arch{image.AMD64, image.ARM64, image.RISCV64} {
				recipe, err := k.Recipe(image.Options{Arch: arch})
				if err != nil {
					continue
				}
				want, err := recipe.Compose(whole, script)
				if err != nil {
					t.Fatal(err)
				}
				got, err := recipe.Compose(part, script)
				other := err != nil || got.SHA256() != want.SHA256()
				if named := slices.Contains(recipe.Files, gone); named != other {
					t.Errorf("%s for %s, which names %s: %v; comes out otherwise without it: %v", k, arch, gone, named, other)
				}
				if tagged := recipe.ETag(part, script) != recipe.ETag(whole, script); tagged != other {
					t.Errorf("%s for %s without %s: another entity tag: %v; another image: %v", k, arch, gone, tagged, other)
				}
			}
		}
	}
}

// linked returns a template folder with links to the real one's files of those names.
func linked(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		if err := os.Symlink(filepath.Join(needs.Template(t), name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestUSBIsISO(t *testing.T) {
	iso, err := recipe(t, image.ISO).Compose(template(t), script)
	if err != nil {
		t.Fatal(err)
	}
	usb, err := recipe(t, image.USB).Compose(template(t), script)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(iso.Bytes(), usb.Bytes()) {
		t.Error("iso and usb differ")
	}
}

func TestRefusedScripts(t *testing.T) {
	from := template(t)
	for _, k := range image.Kinds() {
		for _, s := range []string{"", "echo\n", "#!ipxe\n\x00"} {
			_, err := recipe(t, k).Compose(from, []byte(s))
			if recipe(t, k).HasScript() != (provisioning.ErrorCode(err) == provisioning.Invalid) {
				t.Errorf("%s of script %q: error = %v", k, s, err)
			}
		}
	}
}

func TestMissingTemplate(t *testing.T) {
	from := binary.Load(t.TempDir())
	for _, k := range image.Kinds() {
		_, err := recipe(t, k).Compose(from, script)
		if want := k != image.Script; want != (provisioning.ErrorCode(err) == provisioning.Unavailable) {
			t.Errorf("%s without a template: error = %v", k, err)
		}
		if tag := recipe(t, k).ETag(from, script); len(tag) != 34 {
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
	oracle.Need(t, "mtype")
	from, dir := template(t), t.TempDir()
	amd64, err := from.Plain(filenames.EFI)
	if err != nil {
		t.Fatal(err)
	}
	hybrid := recipe(t, image.ISO)
	rapid.Check(t, func(t *rapid.T) {
		script := drawScript(t)
		f, err := hybrid.Compose(from, script)
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
	oracle.Need(t, "sgdisk", "fsck.fat", "mtype")
	from, dir := template(t), t.TempDir()
	amd64, err := from.Plain(filenames.EFI)
	if err != nil {
		t.Fatal(err)
	}
	uefiDisk := recipe(t, image.UEFIDisk)
	rapid.Check(t, func(t *rapid.T) {
		script := drawScript(t)
		f, err := uefiDisk.Compose(from, script)
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
	oracle.Need(t, "xorriso")
	f, err := recipe(t, image.ISO).Compose(template(t), script)
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
	needs.Template(t)
	dir := linked(t, filenames.EFI, binary.Kernel, binary.ISO)
	for _, k := range []image.Kind{image.ISO, image.UEFIDisk} {
		if _, err := recipe(t, k).Compose(binary.Load(dir), script); err != nil {
			t.Errorf("%s without the AArch64 binary: %v", k, err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, filenames.ARM64), []byte("MZ"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, k := range []image.Kind{image.ISO, image.UEFIDisk} {
		if _, err := recipe(t, k).Compose(binary.Load(dir), script); provisioning.ErrorCode(err) != provisioning.Unavailable {
			t.Errorf("%s with a broken AArch64 binary: error = %v", k, err)
		}
	}
}

func BenchmarkCompose(b *testing.B) {
	from := template(b)
	script := append([]byte("#!ipxe\n"), bytes.Repeat([]byte("echo hello\n"), 200)...)
	for _, k := range image.Kinds() {
		recipe := recipe(b, k)
		b.Run(string(k), func(b *testing.B) {
			if _, err := recipe.Compose(from, script); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := recipe.Compose(from, script); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkETag(b *testing.B) {
	from, recipe := template(b), recipe(b, image.ISO)
	b.ReportAllocs()
	for b.Loop() {
		recipe.ETag(from, script)
	}
}
