package ca

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"farmboot/provisioning/ordinary"
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

// names are what a server is reached by, as a certificate holds them.
type names struct {
	dns []string
	ips []netip.Addr
}

// own is the source of certificates from our own root.
type own struct {
	dir   string
	root  *Root
	names func() []string
}

func (o *own) files() []string { return []string{filepath.Join(o.dir, rootFile)} }

// identity returns the stored certificate if it is still good, else a new one, of the
// root that is there now: it may have been restored from a backup.
func (o *own) identity(now time.Time) (identity, error) {
	root, err := loadRoot(o.dir)
	if err != nil {
		root = o.root // that of before is as good as ever
	}
	o.root = root
	cert, e := o.certificate(now)
	return identity{cert, root.trust()}, errors.Join(err, e)
}

// certificate returns a certificate of the root. With an error it may return one too:
// it is good, but could not be stored.
func (o *own) certificate(now time.Time) (*tls.Certificate, error) {
	want := parseNames(o.names())
	if c := o.stored(want, now); c != nil {
		return c, nil
	}
	unlock, err := lock(o.dir)
	if err == nil {
		defer unlock()
		if c := o.stored(want, now); c != nil { // another process may have made it meanwhile
			return c, nil
		}
	}
	key, e := rsa.GenerateKey(rand.Reader, keyBits)
	if e != nil {
		return nil, errors.Join(err, fmt.Errorf("make key of the server: %w", e))
	}
	cert, e := sign(serverTemplate(want, now), o.root.cert, key, o.root.key)
	if e != nil {
		return nil, errors.Join(err, fmt.Errorf("make server certificate: %w", e))
	}
	if err == nil {
		var text []byte
		if text, err = encode(key, cert.Raw, o.root.cert.Raw); err == nil {
			err = replace(filepath.Join(o.dir, serverFile), text)
		}
	}
	return chain(key, cert, o.root.cert), err
}

// stored returns the certificate of last time if it will do; nil if not, whatever
// the reason: a new one costs little.
func (o *own) stored(want names, now time.Time) *tls.Certificate {
	text, err := ordinary.ReadFile(filepath.Join(o.dir, serverFile))
	if err != nil {
		return nil
	}
	key, certs, err := decode(text)
	if err != nil || certs[0].CheckSignatureFrom(o.root.cert) != nil || !want.covered(certs[0]) ||
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

func serverTemplate(n names, now time.Time) *x509.Certificate {
	t := &x509.Certificate{
		SerialNumber:          serialNumber(),
		Subject:               pkix.Name{Organization: []string{"Farmboot"}, CommonName: "farmboot"},
		NotBefore:             now.Add(-backdated).Truncate(time.Second),
		NotAfter:              now.Add(validity).Truncate(time.Second),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		DNSNames:              n.dns,
	}
	for _, ip := range n.ips {
		t.IPAddresses = append(t.IPAddresses, ip.AsSlice())
	}
	return t
}

// A DNS name has at most maxName characters (RFC 1035, section 2.3.4). The expression does
// not count them: it would be a hundred times as large, and every command would compile it.
const maxName = 253

var dnsName = regexp.MustCompile(`^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?$`)

// parseNames returns the host names and addresses that a certificate can hold, each
// once, in order.
func parseNames(list []string) names {
	var n names
	for _, s := range list {
		if ip, err := netip.ParseAddr(s); err == nil {
			n.ips = append(n.ips, ip.Unmap().WithZone(""))
		} else if len(s) <= maxName && dnsName.MatchString(s) {
			n.dns = append(n.dns, s)
		}
	}
	slices.Sort(n.dns)
	slices.SortFunc(n.ips, netip.Addr.Compare)
	n.dns = slices.Compact(n.dns)
	n.ips = slices.Compact(n.ips)
	return n
}

// covered tells whether c is good for all names. It may hold more: an interface
// that comes and goes causes no new certificate.
func (n names) covered(c *x509.Certificate) bool {
	lacksName := func(d string) bool { return !slices.Contains(c.DNSNames, d) }
	lacksIP := func(ip netip.Addr) bool { return c.VerifyHostname(ip.String()) != nil }
	return !slices.ContainsFunc(n.dns, lacksName) && !slices.ContainsFunc(n.ips, lacksIP)
}
