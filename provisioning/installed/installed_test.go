package installed

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestTemplateScript(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "bin", "farmboot")
	packaged, beside := filepath.Join(dir, "share", "farmboot", "template.sh"), filepath.Join(dir, "bin", "template.sh")
	expect := func(where, want string) {
		t.Helper()
		if got := templateScript(program, nil); got != want {
			t.Errorf("%s it is %s, want %s", where, got, want)
		}
	}
	put := func(path string) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, nil, 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	expect("in the sources", "setup/template.sh")
	put(beside)
	expect("in an archive", beside)
	if err := os.MkdirAll(packaged, 0o755); err != nil {
		t.Fatal(err)
	}
	expect("where a folder has its name", beside)
	if err := os.Remove(packaged); err != nil {
		t.Fatal(err)
	}
	put(packaged)
	expect("with a package", packaged)
	if got := templateScript("", errors.New("no /proc")); got != "setup/template.sh" {
		t.Errorf("of an unknown program it is %s", got)
	}
}
