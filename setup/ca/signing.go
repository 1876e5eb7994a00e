package ca

import (
	"bytes"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"farmboot/provisioning"
	"farmboot/provisioning/ordinary"
	"farmboot/provisioning/owner"
)

// Files of a [Signing] folder.
const (
	signingFile = "key.pem"    // the key
	formerFile  = "former.pem" // the one before, while nodes are enrolled anew
)

// SigningKey is a key that boot programs and kernels are signed with, for Secure Boot.
type SigningKey struct {
	Private *rsa.PrivateKey
	Cert    *x509.Certificate // self-signed; firmware trusts it
}

// Fingerprint is the SHA-256 of the certificate's DER, as firmware shows it.
func (k SigningKey) Fingerprint() [sha256.Size]byte { return sha256.Sum256(k.Cert.Raw) }

// Since is when the key was made.
func (k SigningKey) Since() time.Time { return k.Cert.NotBefore }

// Signing keeps the signing keys in a folder. Its methods are safe for concurrent use,
// by several processes too: what one changes the others see at once.
type Signing struct {
	dir string
	now func() time.Time

	mu    sync.Mutex
	seen  string // which files keys are from
	known []SigningKey
}

// OpenSigning returns the keys of that folder, which need not exist yet.
func OpenSigning(dir string, now func() time.Time) *Signing { return &Signing{dir: dir, now: now} }

// Made tells whether there is a key.
func (s *Signing) Made() bool { return s.state() != "" }

// Keys returns the key, which is made if there is none, and behind it the former one,
// if there is one that still signs too.
func (s *Signing) Keys() ([]SigningKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if seen := s.state(); seen != "" && seen == s.seen {
		return s.known, nil
	}
	err := s.locked(func() error {
		if _, err := os.Stat(s.path(signingFile)); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return s.make()
	})
	if err != nil {
		return nil, err
	}
	seen := s.state()
	var keys []SigningKey
	for _, name := range []string{signingFile, formerFile} {
		k, err := loadSigningKey(s.path(name))
		if errors.Is(err, fs.ErrNotExist) && name == formerFile {
			continue
		}
		if err != nil {
			return nil, err
		}
		if len(keys) == 0 || !k.Cert.Equal(keys[0].Cert) { // else a rotation was killed half way
			keys = append(keys, k)
		}
	}
	s.seen, s.known = seen, keys
	return keys, nil
}

// Rotate makes a new key. The one that there was goes on signing beside it, so that
// nodes that trust only that boot on, until [Signing.Retire].
func (s *Signing) Rotate() error {
	keys, err := s.Keys()
	if err != nil {
		return err
	}
	if len(keys) > 1 {
		return provisioning.Errorf(provisioning.Conflict, "the former key still signs: end that rotation first (farmboot secureboot rotate --finish)")
	}
	return s.locked(func() error {
		text, err := ordinary.ReadFile(s.path(signingFile))
		if err == nil {
			err = replace(s.path(formerFile), text)
		}
		if err != nil {
			return fmt.Errorf("keep the former signing key: %w", err)
		}
		return s.make()
	})
}

// Retire ends a rotation: the former key signs no more.
func (s *Signing) Retire() error {
	return s.locked(func() error {
		err := os.Remove(s.path(formerFile))
		if errors.Is(err, fs.ErrNotExist) {
			return provisioning.Errorf(provisioning.NotFound, "there is no former key: nothing to end")
		}
		return err
	})
}

func (s *Signing) path(name string) string { return filepath.Join(s.dir, name) }

// locked calls f while no other process changes the keys.
func (s *Signing) locked(f func() error) error {
	if err := owner.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("make folder for the signing key: %w", err)
	}
	unlock, err := lock(s.dir)
	if err != nil {
		return err
	}
	defer unlock()
	return f()
}

// state stands for the content of the two files; "" if there is no key.
func (s *Signing) state() string {
	state := ""
	for _, name := range []string{signingFile, formerFile} {
		fi, err := os.Stat(s.path(name))
		if err != nil && name == signingFile {
			return ""
		}
		if err == nil {
			state += fmt.Sprintf("%s %d %d;", name, fi.ModTime().UnixNano(), fi.Size())
		}
	}
	return state
}

// make makes a key and puts it in place. Its certificate is what every firmware is
// known to take: RSA of 2,048 bits, a certificate authority, for any use.
func (s *Signing) make() error {
	key, cert, err := selfSigned("Farmboot Secure Boot", x509.Certificate{
		NotBefore: s.now().UTC().Truncate(time.Second), // firmware and shim look at no date
	})
	if err != nil {
		return fmt.Errorf("make signing key: %w", err)
	}
	text, err := encode(key, cert.Raw)
	if err != nil {
		return err
	}
	return replace(s.path(signingFile), text)
}

func loadSigningKey(name string) (SigningKey, error) {
	key, cert, err := load("signing key", name, "every node must be enrolled for", func(certs []*x509.Certificate) error {
		if !bytes.Equal(certs[0].RawIssuer, certs[0].RawSubject) {
			return errors.New("its certificate is not self-signed")
		}
		return nil
	})
	return SigningKey{Private: key, Cert: cert}, err
}
