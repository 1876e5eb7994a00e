package owner

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"farmboot/setup/needs"
)

const stranger = 4242 // a user id, and a group id, that is not ours

// folder returns a folder of the stranger's. Only root can make one, and the tests of
// a network appliance run as root anyway.
func folder(t *testing.T) string {
	t.Helper()
	needs.Root(t)
	dir := t.TempDir()
	if err := os.Chown(dir, stranger, stranger); err != nil {
		t.Fatal(err)
	}
	return dir
}

func wantOwner(t *testing.T, path string, id uint32) {
	t.Helper()
	fi, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	if st := fi.Sys().(*syscall.Stat_t); st.Uid != id || st.Gid != id {
		t.Errorf("%s belongs to %d:%d, want %d:%[4]d", path, st.Uid, st.Gid, id)
	}
}

func TestInherit(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	dir := folder(t)
	for _, tt := range []struct {
		name string
		make func(path string) error
		want uint32
	}{
		{"file", func(p string) error { return os.WriteFile(p, nil, 0o600) }, stranger},
		{"folder", func(p string) error { return os.Mkdir(p, 0o700) }, stranger},
		{"link", func(p string) error { return os.Symlink(outside, p) }, stranger},
		{"another name of a file elsewhere", func(p string) error { return os.Link(outside, p) }, 0},
	} {
		path := filepath.Join(dir, tt.name)
		if err := tt.make(path); err != nil {
			t.Fatal(err)
		}
		if err := Inherit(path); err != nil {
			t.Error(err)
		}
		wantOwner(t, path, tt.want)
	}
	wantOwner(t, outside, 0) // it is the link that was given away
	if err := Inherit(filepath.Join(dir, "absent")); err == nil {
		t.Error("nothing was given away without an error")
	}
	others := filepath.Join(dir, "somebody else's")
	if err := os.WriteFile(others, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(others, 4343, 4343); err != nil {
		t.Fatal(err)
	}
	if err := Inherit(others); err != nil {
		t.Error(err)
	}
	wantOwner(t, others, 4343)
}

func TestMkdirAll(t *testing.T) {
	dir := folder(t)
	for range 2 { // the second time they are there
		if err := MkdirAll(filepath.Join(dir, "a", "b"), 0o750); err != nil {
			t.Fatal(err)
		}
		wantOwner(t, filepath.Join(dir, "a"), stranger)
		wantOwner(t, filepath.Join(dir, "a", "b"), stranger)
	}
	ours := filepath.Join(t.TempDir(), "c", "d")
	if err := MkdirAll(ours, 0o750); err != nil {
		t.Fatal(err)
	}
	wantOwner(t, ours, 0)
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, filepath.Join(file, "below")} {
		if err := MkdirAll(path, 0o750); err == nil {
			t.Errorf("%s is a folder now", path)
		}
	}
}
