// Package ordinary opens ordinary files, and refuses what else may stand where a person, or
// the configuration, names one.
//
// A pipe may never be written to, a device may have no end, and opening either may
// do something: nothing of ours is read from them.
package ordinary

import (
	"io"
	"io/fs"
	"os"
	"syscall"

	"farmboot/provisioning"
)

// Check refuses what is there under a name and is no ordinary file, or no link to one.
// What is not there, or cannot be looked at, is for who opens it to find out.
func Check(name string) error {
	fi, err := os.Stat(name)
	if err != nil {
		return nil
	}
	return check(name, fi)
}

func check(name string, fi fs.FileInfo) error {
	switch fi.Mode().Type() {
	case 0:
		return nil
	case fs.ModeDir:
		return provisioning.Errorf(provisioning.Invalid, "%s is a folder: name the file in it", name)
	default:
		return provisioning.Errorf(provisioning.Invalid, "%s is not an ordinary file, which is what is accepted: it is %s", name, kind(fi.Mode()))
	}
}

func kind(m fs.FileMode) string {
	switch {
	case m&fs.ModeNamedPipe != 0:
		return "a pipe"
	case m&fs.ModeSocket != 0:
		return "a socket"
	default:
		return "a device"
	}
}

// Open opens an ordinary file for reading.
func Open(name string) (*os.File, error) {
	if err := Check(name); err != nil {
		return nil, err
	}
	// Should a pipe have come in its place since, that is not waited for.
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err == nil {
		err = check(name, fi)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// ReadFile reads an ordinary file whole.
func ReadFile(name string) ([]byte, error) {
	f, err := Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}
