package binary_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"farmboot/ipxe/binary"
	"farmboot/provisioning"
	"farmboot/provisioning/filenames"
	"farmboot/setup/needs"
)

// programs are the template files that a script can be put into.
var programs = []string{filenames.Undionly, binary.Kernel, filenames.EFI, filenames.SNPOnly, filenames.ARM64, filenames.RISCV64}

var (
	ipxeRoot = []byte("\x9f\xaf\x71\x7b\x7f\x8c\xa2\xf9\x3c\x25\x6c\x79\xf8\xac\x55\x91\x89\x5d\x66\xd1\xff\x3b\xee\x63\x97\xa7\x0d\x29\xc6\x5e\xed\x1a")
	ourRoot  = binary.Fingerprint(sha256.Sum256([]byte("our root")))
)

// load returns the real template, which must have no problems.
func load(t testing.TB) *binary.Template {
	t.Helper()
	dir := needs.Template(t)
	template := binary.Load(dir)
	for name, err := range template.Problems() {
		t.Errorf("%s: %v", name, err)
	}
	if t.Failed() {
		t.Fatalf("the template folder %s is not what setup/template.sh makes", dir)
	}
	return template
}

// sharedTrust is one template for all tests, for giving our trust to all programs
// takes half a second, and ten times that under the race detector.
var sharedTrust = sync.OnceValue(func() *binary.Template { return binary.Load(needs.TemplateDir()).Trust(ourRoot) })

// trusting returns the real template with our trust.
func trusting(t testing.TB) *binary.Template {
	t.Helper()
	load(t)
	return sharedTrust()
}

// damaged returns a folder like the template with one file changed.
func damaged(t testing.TB, name string, change func([]byte) []byte) string {
	t.Helper()
	dir := t.TempDir()
	for _, n := range append(programs, binary.ISO) {
		data, err := os.ReadFile(filepath.Join(needs.Template(t), n))
		if err != nil {
			t.Fatal(err)
		}
		if n == name {
			data = change(data)
		}
		if data == nil {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, n), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestChecksums: a file that is damaged where nothing else would notice is refused, the
// rest works; a folder without a list is taken as it is.
func TestChecksums(t *testing.T) {
	flip := func(b []byte) []byte {
		b[len(b)/2] ^= 0xff
		return b
	}
	dir := damaged(t, filenames.EFI, flip)
	if problems := binary.Load(dir).Problems(); len(problems) > 0 {
		t.Errorf("without a list: %v", problems)
	}
	var list strings.Builder
	for _, name := range append(programs, binary.ISO) {
		data, err := os.ReadFile(filepath.Join(needs.Template(t), name))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&list, "%x  %s\n", sha256.Sum256(data), name)
	}
	if err := os.WriteFile(filepath.Join(dir, "SHA256SUMS"), []byte(list.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	problems := binary.Load(dir).Problems()
	if err := problems[filenames.EFI]; len(problems) != 1 || provisioning.ErrorCode(err) != provisioning.Unavailable || !strings.Contains(err.Error(), "SHA256SUMS") {
		t.Errorf("with a list: %v", problems)
	}
	if err := os.WriteFile(filepath.Join(dir, "SHA256SUMS"), []byte("nonsense\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if problems := binary.Load(dir).Problems(); len(problems) != len(programs)+1 {
		t.Errorf("with a list that is none: %v", problems)
	}
}

// TestWhatIsNoFile has no end, perhaps.
func TestWhatIsNoFile(t *testing.T) {
	dir := damaged(t, filenames.RISCV64, func([]byte) []byte { return nil })
	if err := os.Symlink("/dev/zero", filepath.Join(dir, filenames.RISCV64)); err != nil {
		t.Fatal(err)
	}
	if err := binary.Load(dir).Problems()[filenames.RISCV64]; err == nil || !strings.Contains(err.Error(), "not a file") {
		t.Errorf("/dev/zero: %v", err)
	}
}

func TestPlainIsTheFileItself(t *testing.T) {
	template := load(t)
	for _, name := range programs {
		f, err := template.Plain(name)
		if err != nil {
			t.Error(err)
			continue
		}
		want, err := os.ReadFile(filepath.Join(needs.Template(t), name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(f.Bytes(), want) {
			t.Errorf("Plain(%s) differs from the file", name)
		}
	}
}

// utf16 is text as an EFI application gets it.
func utf16(text []byte) []byte {
	out := make([]byte, 0, 2*len(text))
	for _, c := range text {
		out = append(out, c, 0)
	}
	return out
}

func TestNBPCarriesAnyScript(t *testing.T) {
	for templateName, template := range map[string]*binary.Template{"plain": load(t), "trusting": trusting(t)} {
		for _, name := range programs {
			t.Run(templateName+"/"+name, func(t *testing.T) {
				rapid.Check(t, func(t *rapid.T) {
					body := rapid.SliceOfN(rapid.ByteRange(1, 255), 0, 24<<10).Draw(t, "body")
					f, err := template.NBP(name, append([]byte("#!ipxe\n"), body...))
					if err != nil {
						t.Fatal(err)
					}
					want := append(body, 0)
					if strings.HasSuffix(name, ".efi") {
						want = utf16(append(append([]byte("ipxe.efi #!ipxe\n"), body...), 0))
					}
					if n := bytes.Count(f.Bytes(), want); n < 1 {
						t.Fatalf("the script of %d bytes is not in %s", len(body), name)
					}
				})
			})
		}
	}
}

func TestNBPIsDeterministic(t *testing.T) {
	script := []byte("#!ipxe\necho once\n")
	other := load(t).Trust(ourRoot)
	for _, name := range programs {
		once, err := trusting(t).NBP(name, script)
		if err != nil {
			t.Fatal(err)
		}
		again, err := other.NBP(name, script)
		if err != nil {
			t.Fatal(err)
		}
		if once.SHA256() != again.SHA256() {
			t.Errorf("two templates give two different %s", name)
		}
	}
}

// TestTrustShares: an EFI program that trusts us costs no memory but for what differs.
func TestTrustShares(t *testing.T) {
	template := load(t)
	var before, after runtime.MemStats
	for _, name := range []string{filenames.EFI, filenames.SNPOnly, filenames.ARM64, filenames.RISCV64} {
		runtime.ReadMemStats(&before)
		if _, err := template.Trust(ourRoot).NBP(name, []byte("#!ipxe\n")); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 64<<10 {
			t.Errorf("%s with our trust and a script took %d bytes of memory, want less than 64 KB", name, n)
		}
	}
}

func TestTrustReplacesTheRoot(t *testing.T) {
	template := trusting(t)
	for name, err := range template.Problems() {
		t.Errorf("%s: %v", name, err)
	}
	for _, name := range []string{filenames.EFI, filenames.SNPOnly, filenames.ARM64, filenames.RISCV64} {
		f, err := template.Plain(name)
		if err != nil {
			t.Fatal(err)
		}
		if own, ours := bytes.Count(f.Bytes(), ipxeRoot), bytes.Count(f.Bytes(), ourRoot[:]); own != 0 || ours != 1 {
			t.Errorf("%s has iPXE's root %d times and ours %d times, want 0 and 1", name, own, ours)
		}
	}
}

// TestTrustTwice: a program that trusts us already, as an operator's own build may,
// is left as it is.
func TestTrustTwice(t *testing.T) {
	dir := t.TempDir()
	once := trusting(t)
	for _, name := range programs {
		f, err := once.Plain(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), f.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	twice := binary.Load(dir).Trust(ourRoot)
	for _, name := range programs {
		want, err := once.Plain(name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := twice.Plain(name)
		if err != nil {
			t.Fatal(err)
		}
		if got.SHA256() != want.SHA256() {
			t.Errorf("%s that trusts us already is changed by Trust", name)
		}
	}
}

func TestRefusedScripts(t *testing.T) {
	template := load(t)
	for _, tt := range []struct{ name, script, want string }{
		{"empty", "", "does not start with"},
		{"no magic", "echo hello\n", "does not start with"},
		{"longer word", "#!ipxes\n", "does not start with"},
		{"NUL", "#!ipxe\necho \x00\n", "NUL byte at offset 12"},
	} {
		for _, file := range programs {
			_, err := template.NBP(file, []byte(tt.script))
			if provisioning.ErrorCode(err) != provisioning.Invalid || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%s: NBP(%s) error = %v, want an Invalid one with %q", tt.name, file, err, tt.want)
			}
		}
	}
}

func TestTooLargeScripts(t *testing.T) {
	template := load(t)
	script := append([]byte("#!ipxe\n"), bytes.Repeat([]byte("#\n"), 200<<10)...)
	for _, name := range programs {
		if _, err := template.NBP(name, script); provisioning.ErrorCode(err) != provisioning.Invalid || !strings.Contains(err.Error(), "fit") {
			t.Errorf("NBP(%s) of %d bytes: error = %v, want an Invalid one that says what fits", name, len(script), err)
		}
	}
}

func TestUnknownName(t *testing.T) {
	template := load(t)
	_, err := template.NBP("../etc/passwd", []byte("#!ipxe\n"))
	if provisioning.ErrorCode(err) != provisioning.NotFound || !strings.Contains(err.Error(), filenames.Undionly) {
		t.Errorf("error = %v, want a NotFound one that lists what there is", err)
	}
}

func TestOneBrokenFileLeavesTheRest(t *testing.T) {
	for _, tt := range []struct {
		file, what string
		change     func([]byte) []byte
		want       string
	}{
		{binary.Kernel, "missing", func([]byte) []byte { return nil }, "has no ipxe.lkrn"},
		{binary.Kernel, "truncated", func(b []byte) []byte { return b[:len(b)-16] }, "syssize"},
		{filenames.Undionly, "truncated", func(b []byte) []byte { return b[:len(b)-16] }, "image_size_pgh"},
		{filenames.EFI, "text", func([]byte) []byte { return []byte("#!/bin/sh\n") }, "want a DOS header that starts with MZ"},
		{filenames.EFI, "too old", func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("<CMDLINE>"), []byte("<COMMAND>")) }, "want the string <CMDLINE> once"},
		{filenames.SNPOnly, "no autoexec", func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("autoexec.ipxe"), []byte("autoexec.none")) }, "want the string autoexec.ipxe"},
		{binary.ISO, "other boot code", func(b []byte) []byte { clear(b[:432]); return b }, "isohybrid boot code"},
		{binary.ISO, "not an ISO", func(b []byte) []byte { clear(b[16*2048:][:2048]); return b }, "primary volume descriptor"},
	} {
		t.Run(tt.file+"/"+tt.what, func(t *testing.T) {
			template := binary.Load(damaged(t, tt.file, tt.change))
			problems := template.Problems()
			err := problems[tt.file]
			if provisioning.ErrorCode(err) != provisioning.Unavailable || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "setup/template.sh") {
				t.Errorf("Problems()[%s] = %v, want an Unavailable one with %q that names setup/template.sh", tt.file, err, tt.want)
			}
			if len(problems) != 1 {
				t.Errorf("Problems() = %v, want one", problems)
			}
			for _, name := range programs {
				_, err := template.NBP(name, []byte("#!ipxe\n"))
				if broken := name == tt.file; broken != (provisioning.ErrorCode(err) == provisioning.Unavailable) {
					t.Errorf("NBP(%s) error = %v", name, err)
				}
			}
			if _, err := template.BootBlocks(); (tt.file == binary.ISO) != (err != nil) {
				t.Errorf("BootBlocks() error = %v", err)
			}
		})
	}
}

// TestBrokenPayload breaks what only Trust looks at.
func TestBrokenPayload(t *testing.T) {
	flip := func(b []byte) []byte { b[len(b)-1000] ^= 1; return b }
	for _, name := range []string{binary.Kernel, filenames.Undionly} {
		template := binary.Load(damaged(t, name, flip))
		if _, err := template.Plain(name); err != nil {
			t.Errorf("without Trust: %v", err)
		}
		_, err := template.Trust(ourRoot).Plain(name)
		if provisioning.ErrorCode(err) != provisioning.Unavailable || !strings.Contains(err.Error(), "packed block") {
			t.Errorf("Plain(%s) error = %v, want an Unavailable one about the packed block", name, err)
		}
	}
}

// sign makes an EFI application look signed: a certificate table at its end.
func sign(b []byte) []byte {
	const certificateDirectory = 112 + 4*8
	optional := int(b[0x3c]) + 24
	at := len(b)
	for i, v := range []int{at, 8} {
		for j := range 4 {
			b[optional+certificateDirectory+4*i+j] = byte(v >> (8 * j))
		}
	}
	return append(b, 8, 0, 0, 0, 0, 2, 2, 0)
}

func TestSignedProgramStaysAsItIs(t *testing.T) {
	dir := damaged(t, filenames.EFI, sign)
	template := binary.Load(dir).Trust(ourRoot)
	f, err := template.Plain(filenames.EFI)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(filepath.Join(dir, filenames.EFI))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(f.Bytes(), want) {
		t.Error("Plain changed a signed program")
	}
	if _, err := template.NBP(filenames.EFI, []byte("#!ipxe\n")); provisioning.ErrorCode(err) != provisioning.Unavailable || !strings.Contains(err.Error(), "signed") {
		t.Errorf("NBP error = %v, want an Unavailable one that says it is signed", err)
	}
}

func TestDigest(t *testing.T) {
	plain := load(t)
	ours := trusting(t)
	seen := map[[sha256.Size]byte]string{}
	for what, d := range map[string][sha256.Size]byte{
		"EFI":          plain.Digest(filenames.EFI),
		"trusting EFI": ours.Digest(filenames.EFI),
		"SNP":          plain.Digest(filenames.SNPOnly),
		"EFI and SNP":  plain.Digest(filenames.EFI, filenames.SNPOnly),
		"ISO":          plain.Digest(binary.ISO),
	} {
		if other, ok := seen[d]; ok {
			t.Errorf("%s and %s have the same digest", what, other)
		}
		seen[d] = what
	}
	if load(t).Trust(ourRoot).Digest(programs...) != ours.Digest(programs...) {
		t.Error("two templates of the same folder have different digests")
	}
}

func BenchmarkLoad(b *testing.B) {
	load(b)
	b.ReportAllocs()
	for b.Loop() {
		binary.Load(needs.TemplateDir()).Problems()
	}
}

func BenchmarkTrust(b *testing.B) {
	template := load(b)
	for _, name := range programs {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := template.Trust(ourRoot).Plain(name); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkNBP(b *testing.B) {
	template := trusting(b)
	script := append([]byte("#!ipxe\n"), bytes.Repeat([]byte("echo hello\n"), 200)...)
	for _, name := range programs {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := template.NBP(name, script); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
