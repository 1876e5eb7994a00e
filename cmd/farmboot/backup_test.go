package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"farmboot/setup/needs"
)

// mount runs a program that mounts something at dir until the test ends.
func mount(t *testing.T, dir, program string, args ...string) error {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput()
	if err != nil {
		t.Logf("%s: %v: %s", program, err, out)
		return err
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	return nil
}

// TestBackupToFAT: a stick has no hard links, no permissions, and no room for files of
// any size; a backup goes there all the same, replaces nothing, and comes back.
func TestBackupToFAT(t *testing.T) {
	needs.Root(t)
	file, _ := daemonConfig(t, filepath.Join(t.TempDir(), "state"))
	d := &daemon{t: t, file: file}
	if status, _, stderr := d.command("node", "add", "52:54:00:00:00:01", "--name", "kept"); status != 0 {
		t.Fatal(stderr)
	}
	image, stick := filepath.Join(t.TempDir(), "stick.img"), t.TempDir()
	if out, err := exec.CommandContext(t.Context(), needs.Program(t, "mkfs.fat", "dosfstools"), "-C", image, "65536").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	// Not every kernel knows FAT. FUSE leaves less of a file system than that does.
	if mount(t, stick, needs.Program(t, "fusefat", "fusefat"), "-o", "rw+", image, stick) != nil {
		t.FailNow()
	}
	backup := filepath.Join(stick, "farmboot-2026-11-28.db")
	status, stdout, stderr := d.command("backup", backup)
	if status != 0 || stdout != "backed up to "+backup+"\n" {
		t.Fatalf("exit %d, %s%s", status, stdout, stderr)
	}
	if status, _, stderr := d.command("backup", backup); status != exitRefused || !strings.Contains(stderr, "exists already") {
		t.Errorf("once more: exit %d, %s", status, stderr)
	}
	other, _ := daemonConfig(t, filepath.Join(t.TempDir(), "state"))
	d.file = other
	if status, stdout, stderr := d.command("restore", backup); status != 0 {
		t.Errorf("exit %d, %s%s", status, stdout, stderr)
	}
	if _, stdout, _ := d.command("node", "list"); !strings.Contains(stdout, "kept") {
		t.Errorf("restored:\n%s", stdout)
	}
	entries, err := os.ReadDir(stick)
	if err != nil || len(entries) != 1 {
		t.Errorf("on the stick: %v, %v", entries, err)
	}
}

// TestBackupWithoutRoom: what stops a copy is said of the stick, not of the database, and
// nothing is left of it.
func TestBackupWithoutRoom(t *testing.T) {
	needs.Root(t)
	file, _ := daemonConfig(t, filepath.Join(t.TempDir(), "state"))
	d := &daemon{t: t, file: file}
	if status, _, stderr := d.command("node", "add", "52:54:00:00:00:01"); status != 0 {
		t.Fatal(stderr)
	}
	full := t.TempDir()
	if mount(t, full, "mount", "-t", "tmpfs", "-o", "size=40k", "tmpfs", full) != nil {
		t.FailNow()
	}
	status, _, stderr := d.command("backup", filepath.Join(full, "copy.db"))
	if want := "farmboot: write " + filepath.Join(full, "copy.db") + ": its disk is full\n"; status != exitRefused || stderr != want {
		t.Errorf("full: exit %d, %q, want %q", status, stderr, want)
	}
	if left, err := os.ReadDir(full); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	large := t.TempDir()
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `ulimit -f 40; exec farmboot --config "$1" backup copy.db`, "sh", file)
	cmd.Dir = large
	if out, err := cmd.CombinedOutput(); err == nil || !strings.HasPrefix(string(out), "farmboot: write copy.db: its file system holds no file as large as that (FAT: 4 GiB at most)") {
		t.Errorf("large: %v, %q", err, out)
	}
	if left, err := os.ReadDir(large); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
