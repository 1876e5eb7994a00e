package ca

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"farmboot/provisioning/atomicfile"
	"farmboot/provisioning/ordinary"
)

// A file of ours holds a private key and the certificates that belong to it, in
// one piece, so that they cannot get out of step.

// encode writes key and certificates (DER) as PEM.
func encode(key *rsa.PrivateKey, certs ...[]byte) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode private key: %w", err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	for _, c := range certs {
		text = append(text, certPEM(c)...)
	}
	return text, nil
}

func certPEM(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// decode reads what encode wrote, and checks that key and first certificate
// belong together.
func decode(text []byte) (*rsa.PrivateKey, []*x509.Certificate, error) {
	var key *rsa.PrivateKey
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "PRIVATE KEY" {
			continue
		}
		any, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return nil, nil, err
		}
		key, _ = any.(*rsa.PrivateKey)
	}
	certs, err := parseCerts(text)
	switch {
	case err != nil:
		return nil, nil, err
	case key == nil:
		return nil, nil, errors.New("it has no RSA private key")
	case len(certs) == 0:
		return nil, nil, errors.New("it has no certificate")
	case !key.PublicKey.Equal(certs[0].PublicKey):
		return nil, nil, errors.New("its key and its certificate do not belong together")
	}
	return key, certs, nil
}

// load reads a file of ours that holds such a thing, which check judges; a new one would be
// one that it says.
func load(what, name, new string, check func([]*x509.Certificate) error) (*rsa.PrivateKey, *x509.Certificate, error) {
	text, err := ordinary.ReadFile(name)
	if err != nil {
		return nil, nil, fmt.Errorf("read %s: %w", what, err)
	}
	key, certs, err := decode(text)
	if err == nil {
		err = check(certs)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%s %s is damaged: %w; restore it from a backup, or remove it to have a new one made, which %s", what, name, err, new)
	}
	return key, certs[0], nil
}

// parseCerts returns the certificates of a PEM text.
func parseCerts(text []byte) ([]*x509.Certificate, error) {
	var certs []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		certs = append(certs, c)
	}
	return certs, nil
}

// replace writes a private file in one step: a reader, or a process that is killed
// at any moment, leaves the old content or the new.
func replace(name string, text []byte) error {
	if err := atomicfile.Write(name, 0o600, text); err != nil {
		return fmt.Errorf("write %s: %w", filepath.Base(name), err)
	}
	return nil
}

// lock waits until no other process holds the folder. The lock goes with its
// holder, however that ends.
func lock(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("lock certificate authority: %w", err)
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock certificate authority %s: %w", dir, err)
	}
	return func() { f.Close() }, nil
}
