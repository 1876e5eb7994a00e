package installed

import (
	"os"
	"path/filepath"
	"testing"
)

func TestFirst(t *testing.T) {
	dir := t.TempDir()
	packaged, beside := filepath.Join(dir, "share", "template.sh"), filepath.Join(dir, "template.sh")
	if got := first(packaged, beside); got != "setup/template.sh" {
		t.Errorf("in the sources it is %s", got)
	}
	if err := os.WriteFile(beside, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if got := first(packaged, beside); got != beside {
		t.Errorf("in an archive it is %s", got)
	}
	if err := os.MkdirAll(packaged, 0o755); err != nil {
		t.Fatal(err)
	}
	if got := first(packaged, beside); got != beside {
		t.Errorf("where there is a folder in its place it is %s", got)
	}
	if err := os.Remove(packaged); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(packaged, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if got := first(packaged, beside); got != packaged {
		t.Errorf("with a package it is %s", got)
	}
}
