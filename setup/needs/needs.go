// Package needs leaves tests out on a machine that lacks what they need: root, iPXE's
// binaries, other programs. With FARMBOOT_TEST_ALL set, as make test sets it, such a
// test fails instead.
package needs

import (
	"cmp"
	"os"
	"os/exec"
	"testing"
)

// All is the environment variable that lets no test be left out.
const All = "FARMBOOT_TEST_ALL"

// Root leaves t out unless it runs as root.
func Root(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		Leave(t, "root, for namespaces, mounts and other people's files", "run it as root")
	}
}

// TemplateDir is the folder that iPXE's binaries are in, if there are any.
func TemplateDir() string { return cmp.Or(os.Getenv("FARMBOOT_TEMPLATE"), "/opt/ipxe-template") }

// Template returns the folder with iPXE's binaries, and leaves t out if there is none.
func Template(t testing.TB) string {
	t.Helper()
	dir := TemplateDir()
	if _, err := os.Stat(dir); err != nil {
		Leave(t, "iPXE's binaries in "+dir, "make template, or set FARMBOOT_TEMPLATE")
	}
	return dir
}

// Program returns the path of a program, and leaves t out if it is not installed. pkg is
// the package that has it.
func Program(t testing.TB, name, pkg string) string {
	t.Helper()
	path, err := Find(name)
	if err != nil {
		Leave(t, name, "apt-get install "+pkg)
	}
	return path
}

// Find looks for a program also where only root's PATH leads.
func Find(name string) (string, error) {
	if path, err := exec.LookPath("/usr/sbin/" + name); err == nil {
		return path, nil
	}
	return exec.LookPath(name)
}

// Leave leaves t out, or fails it where nothing may be left out. The reason is one line:
// what t needs, and how to get it.
func Leave(t testing.TB, what, how string) {
	t.Helper()
	if os.Getenv(All) != "" {
		t.Fatalf("needs %s: %s", what, how)
	}
	t.Skipf("left out: needs %s: %s", what, how)
}
