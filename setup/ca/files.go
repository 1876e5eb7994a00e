package ca

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"farmboot/provisioning/ordinary"
)

// files is the source of an operator's certificate. It reads the files again each
// time it is asked, for others renew them.
type files struct {
	certFile, keyFile string
	public            func(chain []*x509.Certificate, now time.Time) (root *x509.Certificate, public bool)
}

func (f *files) files() []string { return []string{f.certFile, f.keyFile} }

func (f *files) identity(now time.Time) (identity, error) {
	c, err := operators(f.certFile, f.keyFile)
	if err != nil {
		return identity{}, err
	}
	certs := make([]*x509.Certificate, len(c.Certificate))
	for i, der := range c.Certificate {
		if certs[i], err = x509.ParseCertificate(der); err != nil {
			return identity{}, fmt.Errorf("http.tls-cert %s: %w", f.certFile, err)
		}
	}
	root, public := f.public(certs, now)
	if root == nil {
		// iPXE pins an intermediate certificate or the server's own as well (measured).
		root = certs[len(certs)-1]
	} else if !bytes.Equal(root.Raw, certs[len(certs)-1].Raw) {
		c.Certificate = append(c.Certificate, root.Raw) // iPXE wants the root sent
	}
	return identity{&c, trust{fingerprint: sha256.Sum256(root.Raw), own: !public, pem: certPEM(root.Raw)}}, nil
}

// operators reads an operator's certificate and its key.
func operators(certFile, keyFile string) (tls.Certificate, error) {
	read := func(key, file string) ([]byte, error) {
		text, err := ordinary.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", key, err)
		}
		return text, nil
	}
	cert, noCert := read("http.tls-cert", certFile)
	key, noKey := read("http.tls-key", keyFile)
	if err := errors.Join(noCert, noKey); err != nil {
		return tls.Certificate{}, err
	}
	c, err := tls.X509KeyPair(cert, key)
	if err != nil && encrypted(key) {
		return tls.Certificate{}, fmt.Errorf("http.tls-key: %s is encrypted, and nobody is there to type its passphrase when the daemon starts: openssl pkey -in %[1]s -out FILE writes the key without one, to be named instead; let nobody else read it", keyFile)
	}
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("http.tls-cert %s, http.tls-key %s: %w", certFile, keyFile, err)
	}
	return c, nil
}

// encrypted tells whether a key in PEM needs a passphrase (RFC 7468 section 11, RFC 1421 section
// 4.6.1.1).
func encrypted(text []byte) bool {
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			return false
		}
		if block.Type == "ENCRYPTED PRIVATE KEY" || strings.HasSuffix(block.Headers["Proc-Type"], "ENCRYPTED") {
			return true
		}
		text = rest
	}
}

// hostRoots returns the function that finds the root of a chain among those that
// this host trusts, and says whether it is a public one: not one of those that the
// host's administrator added in the folders local.
func hostRoots(local ...string) func([]*x509.Certificate, time.Time) (*x509.Certificate, bool) {
	return func(chain []*x509.Certificate, now time.Time) (*x509.Certificate, bool) {
		pool, err := x509.SystemCertPool()
		if err != nil {
			pool = x509.NewCertPool()
		}
		return rootOf(chain, pool, added(local), now)
	}
}

// localRoots are where administrators put roots of their own on Debian and on
// Fedora, and their kin.
var localRoots = []string{"/usr/local/share/ca-certificates", "/etc/pki/ca-trust/source/anchors"}

// added returns the certificates in those folders.
func added(folders []string) []*x509.Certificate {
	var certs []*x509.Certificate
	for _, dir := range folders {
		names, _ := filepath.Glob(filepath.Join(dir, "*"))
		for _, name := range names {
			text, err := ordinary.ReadFile(name)
			if err != nil {
				continue
			}
			more, _ := parseCerts(text)
			certs = append(certs, more...)
		}
	}
	return certs
}

// rootOf returns the root at the end of chain, from the roots given or, self-signed,
// from the chain itself; nil if it is nowhere. It is public if the roots have it and
// private has not.
func rootOf(chain []*x509.Certificate, roots *x509.CertPool, private []*x509.Certificate, now time.Time) (root *x509.Certificate, public bool) {
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	found, err := chain[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: now})
	if err == nil {
		root = found[0][len(found[0])-1]
		return root, !slices.ContainsFunc(private, root.Equal)
	}
	if last := chain[len(chain)-1]; last.CheckSignatureFrom(last) == nil {
		return last, false
	}
	return nil, false
}

// weaknesses says what clients will have against a certificate.
func weaknesses(c *x509.Certificate, now time.Time) []string {
	var all []string
	if now.After(c.NotAfter) {
		all = append(all, "it ended on "+c.NotAfter.Format(time.DateOnly)+": renew it")
	}
	if now.Before(c.NotBefore) {
		all = append(all, "it begins only on "+c.NotBefore.Format(time.DateOnly)+": is the clock right?")
	}
	if c.PublicKeyAlgorithm != x509.RSA {
		all = append(all, fmt.Sprintf("its key is %v, and nodes accept only RSA: get an RSA certificate", c.PublicKeyAlgorithm))
	}
	return all
}
