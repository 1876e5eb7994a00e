// Package signed keeps a signed copy of each kernel, for machines with Secure Boot on.
//
// The kernel itself is never touched: it stays as its maker built it, with the digest
// that its maker published. A copy is made once, when a kernel is stored, or when it is
// first asked for.
package signed

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"farmboot/ipxe/binary/authenticode"
	"farmboot/ipxe/kernel"
	"farmboot/provisioning"
	"farmboot/provisioning/atomicfile"
	"farmboot/provisioning/owner"
)

// Store is the folder of signed copies. Its methods are safe for concurrent use.
type Store struct {
	Kernels *kernel.Store
	Dir     string // need not exist
	// Keys are those that sign each kernel; ID stands for them in the names of copies.
	Keys func() (keys []authenticode.Key, id string, err error)

	writing singleflight.Group // copies, by name: several may be asked for at once

	mu   sync.Mutex
	sums map[string]string // SHA-256 of copies, by name: a copy never changes
}

// Open opens the signed copy of a kernel, "NAME" or "net/NAME", which is made if it is
// not there: 64 MB take about a second. What is no EFI program for x86-64 has none, and
// is opened as it is. Other errors are those of [kernel.Store.Open].
func (s *Store) Open(rel string) (*os.File, fs.FileInfo, error) {
	original, fi, err := s.Kernels.Open(rel)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if original != nil {
			original.Close()
		}
	}()
	copied, keys, err := s.copyOf(rel, fi)
	if err != nil {
		return nil, nil, err
	}
	f, err := os.Open(copied)
	if errors.Is(err, fs.ErrNotExist) {
		p, parseErr := authenticode.Parse(original, fi.Size())
		if parseErr != nil || !p.AMD64() {
			as := original
			original = nil
			return as, fi, nil
		}
		_, err, _ = s.writing.Do(copied, func() (any, error) { return nil, s.write(copied, p, keys) })
		if err == nil {
			f, err = os.Open(copied)
		}
	}
	if err == nil {
		fi, err = f.Stat()
	}
	if err != nil {
		return nil, nil, provisioning.Errorf(provisioning.Unavailable, "signed copy of kernel %s: %w", rel, err)
	}
	return f, fi, nil
}

// Unsignable says why a kernel that is an EFI program cannot be signed, so that machines
// with Secure Boot on refuse it; nil for all others. The code is [provisioning.Invalid].
func Unsignable(kernels *kernel.Store, rel string) error {
	f, fi, err := kernels.Open(rel)
	if err != nil {
		return nil // told where it is opened
	}
	defer f.Close()
	if kernel.ReadHeader(f).Format != kernel.EFI {
		return nil
	}
	if _, err := authenticode.Parse(f, fi.Size()); err != nil {
		return provisioning.Errorf(provisioning.Invalid, "kernel %s cannot be signed, so machines with Secure Boot on refuse it: %w", rel, err)
	}
	return nil
}

// copyOf returns the name of a kernel's copy, and the keys that sign it.
func (s *Store) copyOf(rel string, fi fs.FileInfo) (name string, keys []authenticode.Key, err error) {
	keys, id, err := s.Keys()
	if err != nil {
		return "", nil, provisioning.Errorf(provisioning.Unavailable, "kernel %s cannot be signed: %w", rel, err)
	}
	return filepath.Join(s.Dir, kernel.Version(fi)+"."+id), keys, nil
}

// sign writes a signed program.
func sign(to io.Writer, p *authenticode.Program, keys []authenticode.Key) error {
	table, err := p.Sign(keys...)
	if err != nil {
		return err
	}
	return p.Write(to, table)
}

// write makes the copy in one step.
func (s *Store) write(name string, p *authenticode.Program, keys []authenticode.Key) error {
	if err := owner.MkdirAll(s.Dir, 0o755); err != nil {
		return err
	}
	f, err := atomicfile.Create(s.Dir, 0o644)
	if err != nil {
		return err
	}
	err = errors.Join(sign(f, p, keys), f.Inherit())
	if err == nil {
		err = f.Replace(name)
	}
	return errors.Join(err, f.Discard())
}

// Sum returns the SHA-256 of the signed copy, in hexadecimal digits, and whether there is
// one: a kernel that is no EFI program for x86-64 has none. Errors are those of
// [Store.Open].
func (s *Store) Sum(rel string) (sum string, ok bool, err error) {
	f, fi, err := s.Open(rel)
	if err != nil {
		return "", false, err
	}
	defer f.Close()
	plain, err := s.Kernels.Stat(rel)
	if err != nil {
		return "", false, err
	}
	if os.SameFile(plain, fi) {
		return "", false, nil
	}
	s.mu.Lock()
	sum, ok = s.sums[f.Name()]
	s.mu.Unlock()
	if ok {
		return sum, true, nil
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", false, provisioning.Errorf(provisioning.Unavailable, "signed kernel %s cannot be read: %w", rel, err)
	}
	sum = hex.EncodeToString(h.Sum(nil))
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sums == nil {
		s.sums = map[string]string{}
	}
	s.sums[f.Name()] = sum
	return sum, true, nil
}

// Digest is [Store.Sum] for those who only look: it signs, but keeps no copy.
func (s *Store) Digest(rel string) (sum string, ok bool, err error) {
	f, fi, err := s.Kernels.Open(rel)
	if err != nil {
		return "", false, err
	}
	defer f.Close()
	copied, keys, err := s.copyOf(rel, fi)
	if err != nil {
		return "", false, err
	}
	if _, err := os.Stat(copied); err == nil {
		return s.Sum(rel)
	}
	p, err := authenticode.Parse(f, fi.Size())
	if err != nil || !p.AMD64() {
		return "", false, nil
	}
	h := sha256.New()
	if err := sign(h, p, keys); err != nil {
		return "", false, provisioning.Errorf(provisioning.Unavailable, "kernel %s cannot be signed: %w", rel, err)
	}
	return hex.EncodeToString(h.Sum(nil)), true, nil
}

// Sweep signs every kernel that is not signed yet, and removes the copies of kernels that
// are gone, and of keys that sign no more. The error names those that cannot be signed.
func (s *Store) Sweep() error {
	kernels, err := s.Kernels.List()
	if err != nil {
		return err
	}
	defaults, err := s.Kernels.Defaults()
	if err != nil {
		return err
	}
	wanted := map[string]bool{}
	var errs []error
	for _, k := range append(kernels, defaults...) {
		f, _, err := s.Open(k.Name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		f.Close()
		if filepath.Dir(f.Name()) == filepath.Clean(s.Dir) {
			wanted[filepath.Base(f.Name())] = true
		} else if err := Unsignable(s.Kernels, k.Name); err != nil {
			errs = append(errs, err)
		}
	}
	entries, err := os.ReadDir(s.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		errs = append(errs, err)
	}
	for _, e := range entries {
		if wanted[e.Name()] || underWay(e) {
			continue
		}
		if err := os.Remove(filepath.Join(s.Dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("remove a signed kernel: %w", err))
		}
	}
	return errors.Join(errs...)
}

// longest is how long a copy takes at most, on the slowest disk.
const longest = time.Hour

// underWay tells whether a file is, or may be, a copy that some process is making.
func underWay(e fs.DirEntry) bool {
	fi, err := e.Info()
	return err == nil && strings.HasPrefix(e.Name(), ".") && time.Since(fi.ModTime()) < longest
}
