package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return strings.Join(list, " ")
}

func wantText(t *testing.T, name, want string) {
	t.Helper()
	if got, err := os.ReadFile(name); err != nil || string(got) != want {
		t.Errorf("%s holds %q, %v, want %q", name, got, err, want)
	}
}

// create makes a temporary file for name that holds text.
func create(t *testing.T, name, text string) *File {
	t.Helper()
	f, err := Create(filepath.Dir(name), 0o640)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	return f
}

func TestFile(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, strings.Repeat("n", 255)) // as long as names can be
	if err := create(t, name, "half").Discard(); err != nil || names(t, dir) != "" {
		t.Fatalf("%v, left %s", err, names(t, dir))
	}
	first := create(t, name, "first")
	if err := errors.Join(first.Add(name), first.Discard()); err != nil {
		t.Fatal(err)
	}
	second := create(t, name, "second")
	if err := second.Add(name); !errors.Is(err, fs.ErrExist) {
		t.Errorf("added over another: %v", err)
	}
	wantText(t, name, "first")
	if err := errors.Join(second.Replace(name), second.Discard()); err != nil {
		t.Error(err)
	}
	wantText(t, name, "second")
	if err := Write(name, 0o600, []byte("third")); err != nil {
		t.Error(err)
	}
	wantText(t, name, "third")
	if got := names(t, dir); got != filepath.Base(name) {
		t.Errorf("files %s", got)
	}
}

func TestErrorsDoNotNameTheTemporaryFile(t *testing.T) {
	absent := filepath.Join(t.TempDir(), "absent", "file")
	_, create := Create(filepath.Dir(absent), 0o600)
	for what, err := range map[string]error{"create": create, "write": Write(absent, 0o600, nil), "link": Symlink("x", absent), "sync": SyncFolder(filepath.Dir(absent))} {
		if !errors.Is(err, fs.ErrNotExist) || strings.Contains(err.Error(), "/") {
			t.Errorf("%s: %v", what, err)
		}
	}
	dir := t.TempDir()
	folder := filepath.Join(dir, "folder")
	if err := os.MkdirAll(filepath.Join(folder, "full"), 0o755); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{"write": Write(folder, 0o600, nil), "link": Symlink("x", folder)} {
		if err == nil || strings.Contains(err.Error(), "/") {
			t.Errorf("%s over a folder: %v", what, err)
		}
	}
	if got := names(t, dir); got != "folder" {
		t.Errorf("files %s", got)
	}
}

func TestSymlink(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "link")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{"a", "b"} {
		if err := Symlink(target, name); err != nil {
			t.Fatal(err)
		}
		if got, err := os.Readlink(name); got != target || err != nil {
			t.Errorf("link says %q, %v", got, err)
		}
	}
	if got := names(t, dir); got != "link" {
		t.Errorf("files %s", got)
	}
}

// TestSweep: what killed processes left goes, what is under way and what is not ours stays.
func TestSweep(t *testing.T) {
	dir := t.TempDir()
	if err := Sweep(filepath.Join(dir, "absent")); err != nil {
		t.Error(err)
	}
	underWay := create(t, filepath.Join(dir, "b"), "half")
	if err := underWay.Lock(); err != nil {
		t.Fatal(err)
	}
	for _, left := range []string{filePrefix + "LEFT", "a", ".hidden"} {
		if err := os.WriteFile(filepath.Join(dir, left), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	old := filepath.Join(dir, linkPrefix+"OLD")
	if err := errors.Join(os.Symlink("a", filepath.Join(dir, linkPrefix+"NEW")), os.Symlink("a", old)); err != nil {
		t.Fatal(err)
	}
	long := unix.NsecToTimespec(time.Now().Add(-time.Hour).UnixNano())
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, old, []unix.Timespec{long, long}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(Sweep(dir), underWay.Replace(filepath.Join(dir, "b"))); err != nil {
		t.Error(err)
	}
	if got := names(t, dir); got != ".hidden "+linkPrefix+"NEW a b" {
		t.Errorf("files: %q", got)
	}
	wantText(t, filepath.Join(dir, "b"), "half")
}
