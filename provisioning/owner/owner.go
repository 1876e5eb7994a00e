// Package owner gives what root makes in a folder to the owner of that folder.
//
// The daemon runs as a user of its own, who owns the state folder, while its admin
// runs commands as root: without this the daemon could not replace, change or even
// read what they leave there.
package owner

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Inherit gives a file, folder or symbolic link that this process has just made to
// the owner of the folder it is in, user and group. It is for root to do so: for
// anybody else it does nothing.
func Inherit(path string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	if err := inherit(path); err != nil {
		return fmt.Errorf("give %s to the owner of its folder: %w", path, err)
	}
	return nil
}

// inherit looks at what it gives away, not at its name: whose folder it is may put
// something else in its place at any moment, and gets only what root has made.
func inherit(path string) error {
	dir, err := unix.Open(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	made, err := unix.Openat(dir, filepath.Base(path), unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(made)
	var folder, is unix.Stat_t
	if err := errors.Join(unix.Fstat(dir, &folder), unix.Fstat(made, &is)); err != nil {
		return err
	}
	// A second hard link would be another name of a file of root's elsewhere.
	foreign := is.Uid != 0 || is.Mode&unix.S_IFMT != unix.S_IFDIR && is.Nlink != 1
	if foreign || folder.Uid == 0 {
		return nil
	}
	return unix.Fchownat(made, "", int(folder.Uid), int(folder.Gid), unix.AT_EMPTY_PATH)
}

// MkdirAll is [os.MkdirAll], and each folder that it makes belongs to the owner of
// the one above it, as by [Inherit].
func MkdirAll(path string, mode fs.FileMode) error {
	if fi, err := os.Stat(path); err == nil && fi.IsDir() {
		return nil
	}
	if parent := filepath.Dir(path); parent != path {
		if err := MkdirAll(parent, mode); err != nil {
			return err
		}
	}
	switch err := os.Mkdir(path, mode); {
	case err == nil:
		return Inherit(path)
	case errors.Is(err, fs.ErrExist): // somebody has just made it, or it is no folder
		return os.MkdirAll(path, mode)
	default:
		return err
	}
}
