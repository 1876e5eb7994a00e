package sqlite

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"farmboot/provisioning"
	"farmboot/setup/needs"
)

// writable opens a store with one node in it.
func writable(t *testing.T) *Store {
	t.Helper()
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "p.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := put(t, s, 1); err != nil {
		t.Fatal(err)
	}
	return s
}

var big = string(make([]byte, 100_000))

func put(t *testing.T, s *Store, n byte) error {
	return s.Update(t.Context(), func(tx provisioning.Tx) error {
		return tx.PutNode(t.Context(), provisioning.Node{MAC: provisioning.MAC{2, n}, RunMode: "prod", Args: big})
	})
}

// wantTrouble checks that writes are refused in plain words while reads go on.
func wantTrouble(t *testing.T, s *Store) {
	t.Helper()
	if err := put(t, s, 2); provisioning.ErrorCode(err) != provisioning.Unavailable {
		t.Errorf("write: %v, want a clear error", err)
	}
	if n, err := s.Node(t.Context(), provisioning.MAC{2, 1}); err != nil || n.RunMode != "prod" {
		t.Errorf("read: %+v, %v", n, err)
	}
	if _, err := s.Node(t.Context(), provisioning.MAC{2, 2}); provisioning.ErrorCode(err) != provisioning.NotFound {
		t.Errorf("read of what was not written: %v", err)
	}
}

func TestDiskFull(t *testing.T) {
	s := writable(t)
	if _, err := s.durable.Exec(`PRAGMA max_page_count = 1`); err != nil { // SQLite takes the present size
		t.Fatal(err)
	}
	wantTrouble(t, s)
	if _, err := s.durable.Exec(`PRAGMA max_page_count = 100000`); err != nil {
		t.Fatal(err)
	}
	if err := put(t, s, 2); err != nil {
		t.Errorf("write with room again: %v", err)
	}
}

// TestDiskFullForReal fills a small file system.
func TestDiskFullForReal(t *testing.T) {
	folder := mount(t, "size=2m")
	s, err := Open(t.Context(), filepath.Join(folder, "p.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := put(t, s, 1); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "ballast"), make([]byte, 2<<20), 0o600); err == nil {
		t.Fatal("the file system is larger than it should be")
	}
	wantTrouble(t, s)
	if err := os.Remove(filepath.Join(folder, "ballast")); err != nil {
		t.Fatal(err)
	}
	if err := put(t, s, 2); err != nil {
		t.Errorf("write with room again: %v", err)
	}
}

// TestReadOnlyFileSystem opens a database on one, and has one turn so.
func TestReadOnlyFileSystem(t *testing.T) {
	folder := mount(t, "size=8m")
	file := filepath.Join(folder, "p.db")
	remount := func(flags uintptr) {
		t.Helper()
		if err := syscall.Mount("", folder, "", syscall.MS_REMOUNT|flags, ""); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Open(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	if err := put(t, s, 1); err != nil {
		t.Fatal(err)
	}
	if s.ReadOnly() != nil {
		t.Errorf("read only: %v", s.ReadOnly())
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	remount(syscall.MS_RDONLY)
	s, err = Open(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.ReadOnly(); err == nil || !strings.Contains(err.Error(), file+": the file cannot be written: read-only file system") {
		t.Errorf("read only: %v, want the system's reason", err)
	}
	if _, err := Open(t.Context(), filepath.Join(folder, "new.db")); provisioning.ErrorCode(err) != provisioning.Unavailable || !strings.Contains(err.Error(), "new.db: read-only file system") {
		t.Errorf("a new file: %v, want the system's reason", err)
	}
	wantTrouble(t, s)
	backup := filepath.Join(t.TempDir(), "copy.db")
	if err := s.Backup(t.Context(), backup); err != nil {
		t.Errorf("backup of a read-only database: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	remount(0)
}

// mount mounts an empty file system of that size.
func mount(t *testing.T, size string) string {
	t.Helper()
	needs.Root(t)
	folder := t.TempDir()
	if err := syscall.Mount("none", folder, "tmpfs", 0, size); err != nil {
		t.Fatalf("mount a file system of our own: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(folder, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return folder
}

func TestLockedByAnotherProcess(t *testing.T) {
	s := writable(t)
	other, err := pool(s.file, "_txlock=immediate", 1)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	tx, err := other.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.durable.Exec(`PRAGMA busy_timeout = 10`); err != nil {
		t.Fatal(err)
	}
	wantTrouble(t, s)
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := put(t, s, 2); err != nil {
		t.Errorf("write after the other one: %v", err)
	}
}

func TestBackup(t *testing.T) {
	s := writable(t)
	folder := t.TempDir()
	file := filepath.Join(folder, "copy.db")
	if err := s.Backup(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	if err := s.Backup(t.Context(), file); provisioning.ErrorCode(err) != provisioning.Conflict {
		t.Errorf("a second backup to the same file: %v, want a refusal", err)
	}
	if err := s.Backup(t.Context(), filepath.Join(folder, "no", "copy.db")); provisioning.ErrorCode(err) != provisioning.Unavailable {
		t.Errorf("a backup into a folder that is not there: %v, want a clear error", err)
	}
	list, err := os.ReadDir(folder)
	if err != nil || len(list) != 1 {
		t.Errorf("%v, %v: want the backup alone, without what was temporary", list, err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v: hashes of secrets are in it", info.Mode(), err)
	}
	restored, err := Open(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	defer restored.Close()
	if n, err := restored.Node(t.Context(), provisioning.MAC{2, 1}); err != nil || n.Args != big {
		t.Errorf("restored node: %v", err)
	}
}
