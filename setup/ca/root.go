package ca

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"path/filepath"
	"strings"
	"time"

	"farmboot/provisioning/owner"
)

// keyBits is the size of our RSA keys. Measured on 2 cores: making one of 2,048
// bits takes 35 ms (median; 9 of 10 under 115 ms), one of 3,072 bits 150 ms, and
// the first start waits for it.
const keyBits = 2048

// The root is valid for these fixed times, not relative to a clock that may have
// been wrong on the day it was made. After 2049 dates change their encoding
// (RFC 5280, 4.1.2.5).
var (
	rootNotBefore = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	rootNotAfter  = time.Date(2049, 12, 31, 23, 59, 59, 0, time.UTC)
)

const rootFile = "root.pem"

// Root is a certificate authority: a self-signed certificate and its key.
type Root struct {
	cert *x509.Certificate
	key  *rsa.PrivateKey
}

// OpenRoot returns the root that is kept in folder dir, and makes folder and root
// if they are not there. However many processes do so at once, and whenever one of
// them is killed, there is one root in the end: it appears in one step, made by
// one process at a time.
func OpenRoot(dir string) (*Root, error) {
	r, err := loadRoot(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return r, err
	}
	if err := owner.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make folder for the certificate authority: %w", err)
	}
	unlock, err := lock(dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	r, err = loadRoot(dir) // another process may have made it meanwhile
	if !errors.Is(err, fs.ErrNotExist) {
		return r, err
	}
	r, err = newRoot()
	if err != nil {
		return nil, err
	}
	text, err := encode(r.key, r.cert.Raw)
	if err != nil {
		return nil, err
	}
	return r, replace(filepath.Join(dir, rootFile), text)
}

// loadRoot reads the root in dir; the error is fs.ErrNotExist if there is none.
func loadRoot(dir string) (*Root, error) {
	key, cert, err := load("certificate authority", filepath.Join(dir, rootFile), "images made so far will not trust", func(certs []*x509.Certificate) error {
		if len(certs) != 1 || !certs[0].IsCA || certs[0].CheckSignatureFrom(certs[0]) != nil {
			return errors.New("it is no self-signed root certificate")
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &Root{cert: cert, key: key}, nil
}

func newRoot() (*Root, error) {
	key, cert, err := selfSigned("Farmboot CA", x509.Certificate{
		NotBefore:      rootNotBefore,
		KeyUsage:       x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		MaxPathLenZero: true, // it signs servers only
	})
	if err != nil {
		return nil, fmt.Errorf("make certificate authority: %w", err)
	}
	return &Root{cert: cert, key: key}, nil
}

// selfSigned makes a key, and a certificate authority of it that is as like says. A number
// behind the name tells two appliances apart in a browser's list.
func selfSigned(name string, like x509.Certificate) (*rsa.PrivateKey, *x509.Certificate, error) {
	key, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return nil, nil, err
	}
	like.SerialNumber = serialNumber()
	like.Subject = pkix.Name{Organization: []string{"Farmboot"}, CommonName: name + " " + hex.EncodeToString(like.SerialNumber.Bytes()[:4])}
	like.NotAfter, like.IsCA, like.BasicConstraintsValid = rootNotAfter, true, true
	cert, err := sign(&like, &like, key, key)
	return key, cert, err
}

// Colons writes a fingerprint as openssl and browsers do: 07:39:….
func Colons(fingerprint [sha256.Size]byte) string {
	return strings.ReplaceAll(strings.TrimSpace(fmt.Sprintf("% X", fingerprint)), " ", ":")
}

// Fingerprint returns the SHA-256 of the certificate's DER form: what iPXE keeps
// of a root that it trusts.
func (r *Root) Fingerprint() [sha256.Size]byte { return sha256.Sum256(r.cert.Raw) }

func (r *Root) trust() trust {
	return trust{fingerprint: r.Fingerprint(), own: true, pem: r.PEM()}
}

// PEM returns the certificate for browsers and own builds of iPXE.
func (r *Root) PEM() []byte { return certPEM(r.cert.Raw) }

// serialNumber returns a random positive number of 127 bits, with the top one set
// (RFC 5280, 4.1.2.2: unique, and 20 octets at most).
func serialNumber() *big.Int {
	var b [16]byte
	rand.Read(b[:]) // never fails
	b[0] = b[0]&0x7f | 0x40
	return new(big.Int).SetBytes(b[:])
}

// sign makes a certificate of template for key, signed by parent's.
func sign(template, parent *x509.Certificate, key, parentKey *rsa.PrivateKey) (*x509.Certificate, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, parentKey)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}
