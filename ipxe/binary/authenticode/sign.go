// Package authenticode signs EFI programs so that firmware with Secure Boot, and shim,
// start them: Microsoft's Authenticode, as UEFI 2.10 chapter 32.2 takes it over.
//
// Signing is deterministic: a signature holds no time, so the same program and key
// always give the same bytes. A program that somebody else has signed keeps that
// signature, and ours stands behind it.
package authenticode

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"sync"

	uefi "github.com/foxboron/go-uefi/authenticode"
	"github.com/foxboron/go-uefi/pkcs7"

	"farmboot/ipxe/segment"
)

// Key is what programs are signed with.
type Key struct {
	Private crypto.Signer // RSA
	Cert    *x509.Certificate
}

// Sign returns a certificate table for the program: the signatures that it has, and
// one by each of the keys whose signature it lacks.
func (p *Program) Sign(keys ...Key) ([]byte, error) {
	digest, err := p.Digest()
	if err != nil {
		return nil, err
	}
	table := slices.Clone(p.table)
	for _, k := range keys {
		if signedBy(p.table, digest, k.Cert) {
			continue
		}
		content, err := uefi.CreateSpcIndirectDataContent(digest[:], crypto.SHA256)
		if err != nil {
			return nil, fmt.Errorf("sign: %w", err)
		}
		signature, err := pkcs7.SignPKCS7(k.Private, k.Cert, uefi.OIDSpcIndirectDataContent, content, pkcs7.NoAttr())
		if err != nil {
			return nil, fmt.Errorf("sign: %w", err)
		}
		table = appendCertificate(table, signature)
	}
	return table, nil
}

// ErrNotSigned is what [Program.Verify] says of a program that nobody trusted signed.
var ErrNotSigned = errors.New("no signature of a trusted key")

// Verify returns nil if one of the certificates' keys has signed the program as it is.
func (p *Program) Verify(trusted ...*x509.Certificate) error {
	digest, err := p.Digest()
	if err != nil {
		return err
	}
	for _, c := range trusted {
		if signedBy(p.table, digest, c) {
			return nil
		}
	}
	return ErrNotSigned
}

// signedBy tells whether a table has a good signature of that digest by cert's key.
func signedBy(table []byte, digest [sha256.Size]byte, cert *x509.Certificate) bool {
	return slices.ContainsFunc(certificates(table), func(signature []byte) bool {
		a, err := uefi.ParseAuthenticode(signature)
		return err == nil && bytes.Equal(a.Digest, digest[:]) && signs(a.Pkcs, cert)
	})
}

// signs tells whether a PKCS #7 signature is by cert's key. What is signed is its
// content (RFC 2315 section 9.3: without the tag and length of that), or attributes
// that hold the content's digest.
func signs(p *pkcs7.PKCS7, cert *x509.Certificate) bool {
	if !p.HasCertificate(cert) {
		return false
	}
	var content asn1.RawValue
	if _, err := asn1.Unmarshal(p.ContentInfo, &content); err != nil {
		return false
	}
	for _, by := range p.SignerInfo {
		text := content.Bytes
		if attributes := by.AuthenticatedAttributes; attributes != nil {
			if sum := sha256.Sum256(text); !bytes.Equal(attributes.MessageDigest, sum[:]) {
				continue
			}
			text = attributes.RawBytes
		}
		if cert.CheckSignature(x509.SHA256WithRSA, text, by.EncryptedDigest) == nil {
			return true
		}
	}
	return false
}

// attach returns the file f, which p was parsed from, with a certificate table. All but
// the start of its headers is shared.
func (p *Program) attach(f *segment.File, table []byte) (*segment.File, error) {
	head, err := p.head(table)
	if err != nil {
		return nil, err
	}
	var b segment.Builder
	b.Add(head)
	b.AppendRange(f, int64(len(head)), p.end)
	b.PadTo(p.end + p.padding())
	b.Add(table)
	return b.File()
}

// maxTables is how many certificate tables a [Signer] remembers, some 1.4 kB each.
const maxTables = 256

// Signer signs programs on demand, and remembers the signatures of the last ones. Its
// methods are safe for concurrent use.
type Signer struct {
	keys []Key

	mu     sync.Mutex
	tables map[string][]byte
}

// NewSigner returns a signer with these keys, each of which signs everything.
func NewSigner(keys ...Key) *Signer { return &Signer{keys: keys, tables: map[string][]byte{}} }

// Sign returns f signed. The tag stands for f's content: equal tags, equal bytes.
// Signing 1 MB costs some 5 ms of CPU, and a file that was signed before microseconds.
func (s *Signer) Sign(tag string, f *segment.File) (*segment.File, error) {
	p, err := Parse(f, f.Size())
	if err != nil {
		return nil, fmt.Errorf("sign a boot program: %w", err)
	}
	s.mu.Lock()
	table, ok := s.tables[tag]
	s.mu.Unlock()
	if !ok {
		if table, err = p.Sign(s.keys...); err != nil {
			return nil, err
		}
		s.mu.Lock()
		if len(s.tables) >= maxTables {
			clear(s.tables) // those that are asked for come back
		}
		s.tables[tag] = table
		s.mu.Unlock()
	}
	return p.attach(f, table)
}

// Certificates returns the certificates in the program's signatures: those of the signers,
// and those that issued them.
func (p *Program) Certificates() []*x509.Certificate {
	var all []*x509.Certificate
	for _, signature := range certificates(p.table) {
		if a, err := uefi.ParseAuthenticode(signature); err == nil {
			all = append(all, a.Pkcs.Certs...)
		}
	}
	return all
}
