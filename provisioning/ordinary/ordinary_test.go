package ordinary_test

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"farmboot/provisioning/ordinary"
)

func TestReadFile(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(at("file"), []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	for link, target := range map[string]string{"link": "file", "loop": "loop", "link-to-pipe": "pipe"} {
		if err := os.Symlink(target, at(link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, pipe := range []string{"pipe", "written"} {
		if err := syscall.Mkfifo(at(pipe), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	writer, err := os.OpenFile(at("written"), os.O_RDWR, 0) // nobody has to read
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	if _, err := writer.WriteString("text"); err != nil {
		t.Fatal(err)
	}
	socket, err := net.Listen("unix", at("socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()

	const no = " is not an ordinary file, which is what is accepted: it is "
	for name, want := range map[string]string{
		at("file"): "", at("link"): "",
		at("pipe"):         at("pipe") + no + "a pipe",
		at("written"):      at("written") + no + "a pipe",
		at("link-to-pipe"): at("link-to-pipe") + no + "a pipe",
		at("socket"):       at("socket") + no + "a socket",
		"/dev/zero":        "/dev/zero" + no + "a device",
		"/dev/null":        "/dev/null" + no + "a device",
		dir:                dir + " is a folder: name the file in it",
		at("loop"):         "open " + at("loop") + ": " + syscall.ELOOP.Error(),
		at("none"):         "open " + at("none") + ": " + syscall.ENOENT.Error(),
	} {
		text, err := ordinary.ReadFile(name)
		if err == nil && (want != "" || string(text) != "text") || err != nil && err.Error() != want {
			t.Errorf("%s: %q, %v, want %q", name, text, err, want)
		}
	}
	if _, err := ordinary.Open(at("none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is not there: %v", err)
	}
}
