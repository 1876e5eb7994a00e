// Package atomicfile puts files and symbolic links in their place whole or not at all:
// a reader, a process that is killed or a power cut finds the old one or the new one.
//
// A file is written beside its place under a temporary name, flushed to the disk and
// renamed; then the folder is flushed. In folders that are swept, temporary files are
// locked by who writes them, so that [Sweep] tells those that are under way from those
// that were left behind.
package atomicfile

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"farmboot/provisioning/owner"
)

const (
	filePrefix = ".new-"  // of a file that is being written
	linkPrefix = ".link-" // of a symbolic link that is about to be renamed
)

// File is a file on its way to its place. Errors of all functions here are without the
// name of a file, which may be the temporary one.
type File struct {
	*os.File
	done bool
}

// Create makes a temporary file in the folder dir. End it with [File.Replace] or
// [File.Add]; [File.Discard] removes it otherwise. [fs.ErrNotExist]: there is no such
// folder.
func Create(dir string, mode fs.FileMode) (*File, error) {
	f, err := os.OpenFile(filepath.Join(dir, filePrefix+rand.Text()), os.O_RDWR|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrNotExist) {
		if _, gone := os.Stat(dir); gone == nil { // proc(5)
			return nil, errors.New("no file can be made in its folder")
		}
	}
	if err != nil {
		return nil, bare(err)
	}
	return &File{File: f}, nil
}

// Lock tells [Sweep] that the file is being written.
func (f *File) Lock() error { return lock(f.File) }

// Inherit gives the file to the owner of its folder, as [owner.Inherit] does.
func (f *File) Inherit() error { return owner.Inherit(f.Name()) }

// Replace puts the file in its place, name, which is in the same folder; one that is
// there is replaced.
func (f *File) Replace(name string) error { return f.commit(name, os.Rename) }

// Add puts the file in its place, where none may be: else the error is [fs.ErrExist],
// and the file may still be put elsewhere, or discarded.
func (f *File) Add(name string) error { return f.commit(name, add) }

func (f *File) commit(name string, rename func(from, to string) error) error {
	if err := f.Sync(); err != nil {
		return bare(err)
	}
	if err := rename(f.Name(), name); err != nil {
		return bare(err)
	}
	f.done = true
	return errors.Join(bare(f.Close()), SyncFolder(filepath.Dir(name)))
}

// add renames a file to a name that no other has.
func add(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOSYS) {
		return err
	}
	// NFS cannot do that; but it has links.
	if err = os.Link(from, to); err == nil {
		return os.Remove(from)
	}
	if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EOPNOTSUPP) {
		return err
	}
	// Nor has FAT links, where FUSE or a network is between it and us.
	if _, err := os.Lstat(to); err == nil {
		return fs.ErrExist
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Rename(from, to)
}

// Discard removes the temporary file. After it was put in its place it does nothing.
func (f *File) Discard() error {
	if f.done {
		return nil
	}
	f.done = true
	return errors.Join(bare(f.Close()), bare(os.Remove(f.Name())))
}

// Write makes a file of text, replacing one that is there; it belongs to the owner of
// its folder.
func Write(name string, mode fs.FileMode, text []byte) error {
	f, err := Create(filepath.Dir(name), mode)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(bare(err), f.Inherit()); err == nil {
		err = f.Replace(name)
	}
	return errors.Join(err, f.Discard())
}

// Symlink makes name a symbolic link that says target, replacing a file or link that
// is there; it belongs to the owner of its folder.
func Symlink(target, name string) error {
	tmp := filepath.Join(filepath.Dir(name), linkPrefix+rand.Text())
	if err := os.Symlink(target, tmp); err != nil {
		return bare(err)
	}
	err := owner.Inherit(tmp)
	if err == nil {
		err = os.Rename(tmp, name)
	}
	if err != nil {
		return errors.Join(bare(err), bare(os.Remove(tmp)))
	}
	return SyncFolder(filepath.Dir(name))
}

// SyncFolder makes the names in a folder last through a power cut, where the file system
// can do that for a folder alone: network shares cannot.
func SyncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return bare(err)
	}
	err = d.Sync()
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
		err = nil
	}
	return bare(errors.Join(err, d.Close()))
}

// linkAge is how old a temporary link must be to be nobody's: it lives for
// microseconds.
const linkAge = time.Minute

// Sweep removes temporary files in a folder, and links, that a killed process left.
// Those that are under way, of whichever process, are left alone. A folder that does
// not exist is clean.
func Sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		path, problem := filepath.Join(dir, e.Name()), error(nil)
		switch {
		case strings.HasPrefix(e.Name(), filePrefix):
			problem = removeAbandoned(path)
		case strings.HasPrefix(e.Name(), linkPrefix):
			if fi, infoErr := e.Info(); infoErr == nil && time.Since(fi.ModTime()) > linkAge {
				problem = os.Remove(path)
			}
		}
		if !errors.Is(problem, fs.ErrNotExist) {
			err = errors.Join(err, bare(problem))
		}
	}
	return err
}

// removeAbandoned removes a file that is not locked. A lock ends with its
// process, however that ends (flock(2)).
func removeAbandoned(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if lock(f) != nil {
		return nil
	}
	return os.Remove(path)
}

// lock locks a file for this process, at once or not at all.
func lock(f *os.File) error {
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
}

// bare is an error of a file without the file's name.
func bare(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	if e, ok := errors.AsType[*os.LinkError](err); ok {
		return e.Err
	}
	return err
}
