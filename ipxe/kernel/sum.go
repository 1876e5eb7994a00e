package kernel

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"io/fs"
	"sync"
)

// sum is the digest of one version of a file.
type sum struct {
	version string

	mu  sync.Mutex
	hex string // "": not computed yet
}

// SHA256 returns the digest of a kernel in hexadecimal digits. It is computed once
// for each version of the file. Errors are those of [Store.Stat].
func (s *Store) SHA256(rel string) (string, error) {
	f, fi, err := s.Open(rel)
	if err != nil {
		return "", err
	}
	defer f.Close()
	digest, err := s.sumOf(rel, fi).of(f)
	if err != nil {
		return "", missing(rel, err)
	}
	return digest, nil
}

// sumOf returns the digest of that version of a kernel, computed or not.
func (s *Store) sumOf(rel string, fi fs.FileInfo) *sum {
	version := Version(fi)
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.sums[rel]
	if c == nil || c.version != version {
		c = &sum{version: version}
		s.sums[rel] = c
	}
	return c
}

// of returns the digest of what file gives, which is read only if it is not known.
// An error is not remembered: the next one who asks reads again.
func (c *sum) of(file io.Reader) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hex == "" {
		h := sha256.New()
		if _, err := io.Copy(h, file); err != nil {
			return "", err
		}
		c.hex = hex.EncodeToString(h.Sum(nil))
	}
	return c.hex, nil
}

// set notes a digest that was computed elsewhere.
func (c *sum) set(digest string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hex = digest
}
