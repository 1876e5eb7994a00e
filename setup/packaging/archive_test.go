//go:build packages

package packaging

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
)

// TestSums: every file of this version in dist is as SHA256SUMS says.
func TestSums(t *testing.T) {
	for _, name := range []string{
		"farmboot_VERSION_amd64.deb", "farmboot_VERSION_arm64.deb",
		"farmboot_VERSION_amd64.rpm", "farmboot_VERSION_arm64.rpm",
		"farmboot-VERSION-linux-amd64.tar.gz", "farmboot-VERSION-linux-arm64.tar.gz",
	} {
		file := dist(t, name)
		sums, err := os.ReadFile(filepath.Join(filepath.Dir(file), "SHA256SUMS"))
		if err != nil {
			t.Fatal(err)
		}
		sum, _, _ := strings.Cut(output(t, "sha256sum", file), " ")
		if !bytes.Contains(sums, []byte(sum+"  "+filepath.Base(file)+"\n")) {
			t.Errorf("SHA256SUMS does not have %s with %s:\n%s", filepath.Base(file), sum, sums)
		}
	}
}

// TestReproducible makes everything again: in another folder, with nothing of the first
// build at hand.
func TestReproducible(t *testing.T) {
	tree := filepath.Join(t.TempDir(), "elsewhere")
	if err := os.Mkdir(tree, 0o755); err != nil {
		t.Fatal(err)
	}
	output(t, "sh", "-euc", `cd ../..; git ls-files -z -co --exclude-standard | tar --null --no-recursion --files-from=- -c | tar -C "$1" -x`, "sh", tree)
	cmd := exec.CommandContext(t.Context(), "setup/packaging/package.sh", "tar", "deb", "rpm")
	cmd.Dir = tree
	epoch := strings.TrimSpace(output(t, "git", "log", "-1", "--format=%ct"))
	cmd.Env = append(os.Environ(), "SOURCE_DATE_EPOCH="+epoch, "GOCACHE="+t.TempDir(), "TMPDIR="+t.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("package.sh: %v\n%s", err, out)
	}
	again, err := os.ReadFile(filepath.Join(tree, "dist/SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	first, err := os.ReadFile(filepath.Join(filepath.Dir(dist(t, "SHA256SUMS")), "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	if len(bytes.Split(again, []byte("\n"))) != 7 {
		t.Errorf("six files were expected:\n%s", again)
	}
	for line := range strings.Lines(string(again)) {
		if !strings.Contains(string(first), line) {
			t.Errorf("made again, this one is another:\n%sat first there were:\n%s", line, first)
		}
	}
}

// TestARM64 does, with the static program for ARM64 on an emulated processor, what shows
// that its parts work: its SQLite, its reading of binaries, its cryptography. What it
// makes is byte for byte what the program for x86-64 makes.
func TestARM64(t *testing.T) {
	programs := make(map[string]string)
	for _, arch := range []string{"amd64", "arm64"} {
		dir := t.TempDir()
		output(t, "tar", "-C", dir, "--strip-components=1", "-xf", dist(t, "farmboot-VERSION-linux-"+arch+".tar.gz"))
		for _, name := range []string{"appliance.toml", "farmboot.service", "LICENSE"} {
			if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
				t.Errorf("the archive for %s: %v", arch, err)
			}
		}
		programs[arch] = filepath.Join(dir, "farmboot")
		if headers := output(t, "readelf", "--program-headers", programs[arch]); strings.Contains(headers, "INTERP") {
			t.Errorf("the program for %s is not static:\n%s", arch, headers)
		}
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "appliance.toml")
	text := fmt.Sprintf("base-host = \"http://192.0.2.1\"\nstate = \"state\"\n[ipxe]\ntemplate = %q\n", os.Getenv("FARMBOOT_TEMPLATE"))
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	arm64 := func(args ...string) string {
		return output(t, "qemu-aarch64-static", append([]string{programs["arm64"], "--config", config}, args...)...)
	}
	amd64 := func(args ...string) string {
		return output(t, programs["amd64"], append([]string{"--config", config}, args...)...)
	}
	if got := arm64("version", "--json"); !strings.Contains(got, `"arm64"`) || !strings.Contains(got, os.Getenv("VERSION")) {
		t.Errorf("version: %s", got)
	}
	arm64("config", "check", config)
	arm64("farmer", "add", "1234")
	arm64("node", "add", "52:54:00:00:13:04", "--farmer", "1234", "--runmode", "test", "--name", "rack 1")
	arm64("kernel", "add", testKernel(), "--name", "zos.efi")
	arm64("kernel", "use", "prod", "zos.efi")
	arm64("backup", filepath.Join(dir, "backup.db"))
	for _, list := range []string{"node", "farmer", "kernel"} {
		got := arm64(list, "list", "--json")
		if diff := gocmp.Diff(amd64(list, "list", "--json"), got); diff != "" {
			t.Errorf("%s list (-amd64 +arm64):\n%s", list, diff)
		}
		if len(got) < 20 {
			t.Errorf("%s list is empty: %s", list, got)
		}
	}
	for _, kind := range []string{"iso", "usb", "uefi", "uefimg", "krn"} {
		here, there := filepath.Join(dir, kind+".amd64"), filepath.Join(dir, kind+".arm64")
		amd64("image", kind, "prod", "1234", "-o", here)
		arm64("image", kind, "prod", "1234", "-o", there)
		output(t, "cmp", here, there)
	}
}
