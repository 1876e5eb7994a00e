package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/alecthomas/kong"

	"farmboot/provisioning"
	"farmboot/provisioning/atomicfile"
	"farmboot/provisioning/ordinary"
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

// openInput opens a file for a command that accepts - for standard input too. A file that
// says it has no bytes is not even opened, for some in /proc wait for more.
func openInput(name string) (io.ReadCloser, error) {
	if err := noURL(name); err != nil {
		return nil, err
	}
	fi, err := os.Stat(name)
	switch {
	case err == nil && fi.Mode().IsRegular() && fi.Size() == 0:
		return io.NopCloser(strings.NewReader("")), nil
	case err == nil && fi.Mode().Type() == fs.ModeNamedPipe:
		return nil, provisioning.Errorf(provisioning.Invalid, "%s is a pipe: accepted are an ordinary file, and - for standard input", name)
	}
	return ordinary.Open(name)
}

// noURL refuses a URL where a file belongs.
func noURL(name string) error {
	if isURL(name) {
		return provisioning.Errorf(provisioning.Invalid, "%s is a URL: accepted is the name of a file", name)
	}
	return nil
}

// isURL tells a URL from the name of a file (RFC 3986 section 3.1).
func isURL(s string) bool { return withScheme.MatchString(s) }

var withScheme = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]*://`)

// isWebURL tells whether s is the URL of something that can be fetched.
func isWebURL(s string) bool {
	scheme, _, ok := strings.Cut(s, "://")
	return ok && (strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https"))
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

// notFolder refuses a folder where a file is to be written, and names one in it; and a URL.
func notFolder(name fileName, file string) error {
	if err := noURL(string(name)); err != nil {
		return err
	}
	if fi, err := os.Stat(string(name)); err != nil || !fi.IsDir() {
		return nil
	}
	return provisioning.Errorf(provisioning.Conflict, "%s is a folder: name a file, as %s", name, filepath.Join(string(name), file))
}

func exists(name string) error {
	return provisioning.Errorf(provisioning.Conflict, "%s exists already", name)
}
