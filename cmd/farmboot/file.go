package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/alecthomas/kong"
	"golang.org/x/sys/unix"

	"farmboot/provisioning"
)

// fileName is the name of a file as it was typed; never empty.
type fileName string

// Decode takes the name from the command line.
func (f *fileName) Decode(ctx *kong.DecodeContext) error {
	token, err := ctx.Scan.PopValue("file")
	if err != nil {
		return err
	}
	name := token.String()
	switch {
	case name == "":
		return errors.New("the name of the file is empty")
	case strings.HasPrefix(name, "~/"): // shells leave --config=~/x as it is
		name = kong.ExpandPath(name)
	}
	*f = fileName(name)
	return nil
}

// writeFile makes a file of what fill writes, whole or not at all. A file that is
// there is replaced, or refused with code [provisioning.Conflict].
func writeFile(name string, mode fs.FileMode, replace bool, fill func(io.Writer) error) (err error) {
	if _, err := os.Lstat(name); err == nil && !replace {
		return exists(name)
	}
	// Its own name may be as long as names can be, so this one does not have it.
	tmp, err := os.OpenFile(filepath.Join(filepath.Dir(name), ".farmboot-"+rand.Text()), os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write %s: there is no folder %s", name, filepath.Dir(name))
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, cause(err))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, tmp.Close(), os.Remove(tmp.Name()))
		}
	}()
	if err := errors.Join(fill(tmp), tmp.Sync()); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := place(tmp.Name(), name, replace); errors.Is(err, fs.ErrExist) {
		return exists(name)
	} else if err != nil {
		return fmt.Errorf("write %s: %w", name, cause(err))
	}
	return tmp.Close()
}

func exists(name string) error {
	return provisioning.Errorf(provisioning.Conflict, "%s exists already", name)
}

// place gives a file its name; one of that name is replaced, or refused.
func place(tmp, name string, replace bool) error {
	if replace {
		return os.Rename(tmp, name)
	}
	err := unix.Renameat2(unix.AT_FDCWD, tmp, unix.AT_FDCWD, name, unix.RENAME_NOREPLACE)
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) {
		return err
	}
	// NFS cannot do that; but it has links, unlike FAT.
	if err := os.Link(tmp, name); err != nil {
		return err
	}
	return os.Remove(tmp)
}

// cause is an error of a file without the name of the file, which may be a
// temporary one.
func cause(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.Err
	}
	return err
}
