package kernel

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	uploadPrefix = ".upload-" // of a file that is being uploaded, locked by who writes it
	linkPrefix   = ".link-"   // of a symbolic link that is about to be renamed
)

// linkAge is how old a temporary link must be to be nobody's: it lives for
// microseconds.
const linkAge = time.Minute

// Sweep removes what uploads left whose process was killed. No request ever sees
// such files, but a disk fills up with them. Uploads that go on, of whichever
// process, are left alone.
func (s *Store) Sweep() error {
	return errors.Join(sweep(s.dir), sweep(s.net))
}

func sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return storage("clean up "+dir, err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		switch {
		case strings.HasPrefix(e.Name(), uploadPrefix):
			err = removeAbandoned(path)
		case strings.HasPrefix(e.Name(), linkPrefix):
			if fi, statErr := e.Info(); statErr == nil && time.Since(fi.ModTime()) > linkAge {
				err = os.Remove(path)
			}
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return storage("clean up "+dir, err)
		}
	}
	return nil
}

// removeAbandoned removes a file that nobody has locked. A lock ends with its
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
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}
