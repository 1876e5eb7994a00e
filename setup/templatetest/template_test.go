package templatetest

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"farmboot/setup/needs"
)

// The files that setup/template.sh gathers.
var templateFiles = []string{"undionly.kpxe", "ipxe.lkrn", "ipxe.efi", "snponly.efi", "ipxe.iso", "ipxe-arm64.efi", "ipxe-riscv64.efi", "shimx64.efi", "mmx64.efi", "systemd-bootx64.efi"}

// readTemplate returns the files of a template folder by name; nil for a file
// that is not there.
func readTemplate(dir string) map[string][]byte {
	files := make(map[string][]byte)
	for _, name := range templateFiles {
		files[name], _ = os.ReadFile(filepath.Join(dir, name))
	}
	return files
}

func writeTemplate(t *testing.T, dir string, files map[string][]byte) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, data := range files {
		if data == nil {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func equal(a, b map[string][]byte) bool {
	for _, name := range templateFiles {
		if !bytes.Equal(a[name], b[name]) {
			return false
		}
	}
	return true
}

// original is the folder that "make template" prepared.
func original(t *testing.T) map[string][]byte {
	t.Helper()
	return readTemplate(needs.Template(t))
}

// script runs template.sh on a host without apt, so that what it does, it does
// by itself.
func script(t *testing.T, args ...string) (output string, ok bool) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "../template.sh", args...)
	cmd.Env = append(os.Environ(), "PATH="+withoutApt(t)+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	return string(out), err == nil
}

// withoutApt returns a folder whose apt-get refuses all work.
func withoutApt(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "apt-get"), []byte("#!/bin/sh\necho no apt here >&2\nexit 100\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestTemplateScript(t *testing.T) {
	files := original(t)
	from, dir := filepath.Join(t.TempDir(), "from"), filepath.Join(t.TempDir(), "new", "dir")
	writeTemplate(t, from, files)
	if out, ok := script(t, "--from", from, dir); !ok || !strings.Contains(out, dir+" is ready: iPXE ") {
		t.Fatalf("first run: %s", out)
	}
	if !equal(files, readTemplate(dir)) {
		t.Error("the files are not those of --from")
	}
	before, err := os.Readlink(filepath.Join(dir, ".current"))
	if err != nil {
		t.Fatal(err)
	}
	if out, ok := script(t, dir); !ok || !strings.Contains(out, "already good") {
		t.Errorf("second run: %s", out)
	}
	if after, err := os.Readlink(filepath.Join(dir, ".current")); after != before || err != nil {
		t.Errorf("the second run replaced %s with %s (%v)", before, after, err)
	}
	if out, ok := script(t, "--check", dir); !ok {
		t.Errorf("check: %s", out)
	}
	damage(t, filepath.Join(dir, "snponly.efi"))
	if out, ok := script(t, "--check", dir); ok || !strings.Contains(out, "snponly.efi") {
		t.Errorf("check of a damaged file: %s", out)
	}
	damage(t, filepath.Join(dir, "snponly.efi")) // back again
	// One of its files goes: only apt could bring it back.
	if err := os.Remove(filepath.Join(dir, "ipxe.lkrn")); err != nil {
		t.Fatal(err)
	}
	if out, ok := script(t, "--check", dir); ok || !strings.Contains(out, "ipxe.lkrn is missing") {
		t.Errorf("check without a file: %s", out)
	}
	if out, ok := script(t, "--from", from, dir); !ok || !equal(files, readTemplate(dir)) {
		t.Errorf("repair: %s", out)
	}
}

func TestTemplateScriptRefuses(t *testing.T) {
	files := original(t)
	patch := func(data []byte, offset int, s string) []byte {
		data = bytes.Clone(data)
		copy(data[offset:], s)
		return data
	}
	efi := files["ipxe.efi"]
	tests := []struct {
		name, file string
		data       []byte
		want       string
	}{
		{"absent", "ipxe.efi", nil, "ipxe.efi is missing"},
		{"empty", "undionly.kpxe", []byte{}, "undionly.kpxe is 0 bytes long"},
		{"cut", "ipxe.iso", files["ipxe.iso"][:40000], "ipxe.iso is 40000 bytes long"},
		{"a web page", "snponly.efi", bytes.Repeat([]byte("<html>"), 50000), "snponly.efi is no EFI program"},
		{"no NBP", "undionly.kpxe", patch(files["undionly.kpxe"], 0, "\x00"), "undionly.kpxe is no network boot program"},
		{"no kernel header", "ipxe.lkrn", patch(files["ipxe.lkrn"], 0x202, "XXXX"), "ipxe.lkrn is no Linux boot image"},
		{"other processor", "ipxe-arm64.efi", efi, "ipxe-arm64.efi is for another processor"},
		{"old build", "ipxe.efi", bytes.ReplaceAll(efi, []byte("<CMDLINE>"), []byte("<cmdline>")), "ipxe.efi is too old a build"},
		{"old version", "ipxe.lkrn", bytes.ReplaceAll(files["ipxe.lkrn"], []byte("1.21.1+"), []byte("1.0.0+q")), "ipxe.lkrn is iPXE 1.0.0+"},
		{"no ISO", "ipxe.iso", patch(files["ipxe.iso"], 32769, "CD002"), "ipxe.iso is no ISO 9660 image"},
		{"no boot loader", "ipxe.iso", bytes.ReplaceAll(files["ipxe.iso"], []byte("LDLINUX.C32"), []byte("LDLINUX.C33")), "ipxe.iso has no LDLINUX.C32"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			from, dir := t.TempDir(), filepath.Join(t.TempDir(), "dir")
			damaged := map[string][]byte{}
			for name, data := range files {
				damaged[name] = data
			}
			damaged[tt.file] = tt.data
			writeTemplate(t, from, damaged)
			out, ok := script(t, "--from", from, dir)
			if ok || !strings.Contains(out, filepath.Join(from, tt.want)) {
				t.Errorf("want a refusal with %q, found: %s", tt.want, out)
			}
			if equal(damaged, readTemplate(dir)) {
				t.Error("the damaged set was put in place")
			}
		})
	}
}

// TestTemplateScriptKilled kills runs that replace one set by another, at any
// moment: the folder always holds one of the two, whole.
func TestTemplateScriptKilled(t *testing.T) {
	one := original(t)
	other := make(map[string][]byte)
	for name, data := range one {
		other[name] = bytes.Clone(data)
		other[name][len(data)-1] ^= 1
	}
	dirs := []string{t.TempDir(), t.TempDir()}
	writeTemplate(t, dirs[0], one)
	writeTemplate(t, dirs[1], other)
	dir := t.TempDir()
	writeTemplate(t, dir, one) // as an operator copied them there
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	killed := 0
	for i := range rounds {
		ctx, cancel := context.WithTimeout(t.Context(), rand.N(2*time.Second))
		cmd := exec.CommandContext(ctx, "../template.sh", "--from", dirs[(i+1)%2], dir)
		cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
		if err := cmd.Run(); err != nil && ctx.Err() == nil {
			t.Fatal(err)
		} else if err != nil {
			killed++
		}
		cancel()
		if got := readTemplate(dir); !equal(got, one) && !equal(got, other) {
			t.Fatalf("round %d: a mixture of two sets", i)
		}
	}
	t.Logf("%d of %d runs were killed", killed, rounds)
	if out, ok := script(t, "--from", dirs[1], dir); !ok || !equal(readTemplate(dir), other) {
		t.Errorf("the run after: %s", out)
	}
	sets, err := filepath.Glob(filepath.Join(dir, ".set-*"))
	if err != nil || len(sets) != 1 {
		t.Errorf("what killed runs left was not removed: %v %v", sets, err)
	}
}

// damage changes one byte in the middle of a file, or changes it back.
func damage(t *testing.T, file string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 0xff
	if err := os.WriteFile(file, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestTemplateShim: what Secure Boot needs is taken where it is good, refused where it
// is not, and nothing else suffers where it is missing.
func TestTemplateShim(t *testing.T) {
	files := original(t)
	if files["shimx64.efi"] == nil || files["mmx64.efi"] == nil {
		t.Fatal("no shim in the template folder: run make template")
	}
	from, dir := filepath.Join(t.TempDir(), "from"), filepath.Join(t.TempDir(), "dir")
	writeTemplate(t, from, files)
	if out, ok := script(t, "--from", from, dir); !ok || !equal(files, readTemplate(dir)) {
		t.Fatalf("with shim: %s", out)
	}
	writeTemplate(t, from, map[string][]byte{"shimx64.efi": files["snponly.efi"]})
	if out, ok := script(t, "--from", from, dir); ok || !strings.Contains(out, "shimx64.efi is not signed") {
		t.Errorf("an unsigned shim is good: %s", out)
	}
	for _, name := range []string{"shimx64.efi", "mmx64.efi"} {
		if err := os.Remove(filepath.Join(from, name)); err != nil {
			t.Fatal(err)
		}
	}
	out, ok := script(t, "--from", from, dir)
	if got := readTemplate(dir); !ok || got["shimx64.efi"] != nil || !bytes.Equal(got["ipxe.efi"], files["ipxe.efi"]) || !strings.Contains(out, "There is no shim") {
		t.Errorf("without shim: %s", out)
	}
	if out, ok := script(t, dir); !ok || !strings.Contains(out, "already good") {
		t.Errorf("without shim, and nowhere to get it: %s", out)
	}
	writeTemplate(t, from, map[string][]byte{"systemd-bootx64.efi": files["snponly.efi"]})
	if out, ok := script(t, "--from", from, dir); ok || !strings.Contains(out, "systemd-bootx64.efi is too old") {
		t.Errorf("another program is good as systemd-boot: %s", out)
	}
	writeTemplate(t, from, map[string][]byte{"systemd-bootx64.efi": files["systemd-bootx64.efi"]})
	// iPXE's own pair: its ipxe.efi is signed, and stays as it is. Whose signature it is
	// firmware judges, so any signed program of that processor stands in for it here.
	signed := bytes.Clone(files["mmx64.efi"])
	writeTemplate(t, from, map[string][]byte{"ipxe-shimx64.efi": files["shimx64.efi"], "ipxe.efi": append(signed, "1.21.1+git\x00"...)})
	if out, ok := script(t, "--from", from, dir); !ok {
		t.Errorf("iPXE's signed pair: %s", out)
	}
}

// TestMirror: where a host is no Debian, no source of its own can help.
func TestMirror(t *testing.T) {
	for _, tt := range []struct{ id, archive, want string }{
		{"debian", "", "where is a Debian archive? This host's sources "},
		{"ubuntu", "", "where is a Debian archive? This host is no Debian, and its own archive has not what we need: set DEBIAN_ARCHIVE=URL, "},
		{"ubuntu", "mirror:debian", "found mirror:debian"},
	} {
		release := filepath.Join(t.TempDir(), "os-release")
		if err := os.WriteFile(release, []byte("ID="+tt.id+"\nVERSION_CODENAME=none\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "unshare", "--mount", "sh", "-euc",
			`mount --bind "$1" /etc/os-release; . ../debian.sh; find_mirror; echo "found $mirror"`, "template.sh", release)
		cmd.Env = append(os.Environ(), "PATH="+withoutApt(t)+":"+os.Getenv("PATH"), "DEBIAN_ARCHIVE="+tt.archive)
		out, _ := cmd.CombinedOutput()
		if !strings.Contains(string(out), tt.want) {
			t.Errorf("%s, DEBIAN_ARCHIVE=%q: %s; want %q", tt.id, tt.archive, out, tt.want)
		}
	}
}
