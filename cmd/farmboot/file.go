package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/alecthomas/kong"

	"farmboot/provisioning"
	"farmboot/provisioning/atomicfile"
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
	f, err := atomicfile.Create(filepath.Dir(name), mode)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("write %s: there is no folder %s", name, filepath.Dir(name))
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	defer func() { err = errors.Join(err, f.Discard()) }()
	if err := fill(f); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	place := f.Add
	if replace {
		place = f.Replace
	}
	if err := place(name); errors.Is(err, fs.ErrExist) {
		return exists(name)
	} else if err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

func exists(name string) error {
	return provisioning.Errorf(provisioning.Conflict, "%s exists already", name)
}
