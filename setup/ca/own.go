package ca

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"
)

// Times of a server certificate. Nodes' clocks are often wrong: it is valid for a
// year past, and renewed while it has months to go. No more than 825 days in all,
// or Apple's browsers refuse it.
const (
	day         = 24 * time.Hour
	backdated   = 365 * day
	validity    = 400 * day
	renewBefore = 130 * day
)

const serverFile = "server.pem"

// Names are what a server is reached by.
type Names struct {
	DNS []string
	IPs []netip.Addr
}

// own is the source of certificates from our own root.
type own struct {
	dir   string
	root  *Root
	names func() Names
}

func (o *own) trust() trust {
	return trust{fingerprint: o.root.Fingerprint(), own: true, pem: o.root.PEM()}
}

// certificate returns the stored certificate if it is still good, else a new one.
func (o *own) certificate(now time.Time) (*tls.Certificate, error) {
	names := o.names().clean()
	if c := o.stored(names, now); c != nil {
		return c, nil
	}
	unlock, err := lock(o.dir)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if c := o.stored(names, now); c != nil { // another process may have made it meanwhile
		return c, nil
	}
	key, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return nil, fmt.Errorf("make key of the server: %w", err)
	}
	cert, err := sign(serverTemplate(names, now), o.root.cert, key, o.root.key)
	if err != nil {
		return nil, fmt.Errorf("make server certificate: %w", err)
	}
	text, err := encode(key, cert.Raw, o.root.cert.Raw)
	if err != nil {
		return nil, err
	}
	return chain(key, cert, o.root.cert), replace(filepath.Join(o.dir, serverFile), text)
}

// stored returns the certificate of last time if it will do; nil if not, whatever
// the reason: a new one costs little.
func (o *own) stored(names Names, now time.Time) *tls.Certificate {
	text, err := os.ReadFile(filepath.Join(o.dir, serverFile))
	if err != nil {
		return nil
	}
	key, certs, err := decode(text)
	if err != nil || certs[0].CheckSignatureFrom(o.root.cert) != nil || !names.covered(certs[0]) ||
		now.Before(certs[0].NotBefore) || now.After(certs[0].NotAfter.Add(-renewBefore)) {
		return nil
	}
	return chain(key, certs[0], o.root.cert)
}

// chain puts the root into what the server sends: iPXE, which keeps only its
// fingerprint, cannot do without.
func chain(key *rsa.PrivateKey, cert, root *x509.Certificate) *tls.Certificate {
	return &tls.Certificate{Certificate: [][]byte{cert.Raw, root.Raw}, PrivateKey: key, Leaf: cert}
}

func serverTemplate(names Names, now time.Time) *x509.Certificate {
	t := &x509.Certificate{
		SerialNumber:          serialNumber(),
		Subject:               pkix.Name{Organization: []string{"Farmboot"}, CommonName: "farmboot"},
		NotBefore:             now.Add(-backdated).Truncate(time.Second),
		NotAfter:              now.Add(validity).Truncate(time.Second),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		DNSNames:              names.DNS,
	}
	for _, ip := range names.IPs {
		t.IPAddresses = append(t.IPAddresses, ip.AsSlice())
	}
	return t
}

var dnsName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?$`)

// clean returns the names that a certificate can hold, each once, in order.
func (n Names) clean() Names {
	var c Names
	for _, d := range n.DNS {
		if dnsName.MatchString(d) {
			c.DNS = append(c.DNS, d)
		}
	}
	for _, ip := range n.IPs {
		c.IPs = append(c.IPs, ip.Unmap().WithZone(""))
	}
	slices.Sort(c.DNS)
	slices.SortFunc(c.IPs, netip.Addr.Compare)
	c.DNS = slices.Compact(c.DNS)
	c.IPs = slices.Compact(c.IPs)
	return c
}

// covered tells whether c is good for all names. It may hold more: an interface
// that comes and goes causes no new certificate.
func (n Names) covered(c *x509.Certificate) bool {
	for _, d := range n.DNS {
		if !slices.Contains(c.DNSNames, d) {
			return false
		}
	}
	for _, ip := range n.IPs {
		if c.VerifyHostname(ip.String()) != nil {
			return false
		}
	}
	return true
}
