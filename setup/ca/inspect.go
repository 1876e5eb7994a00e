package ca

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"
)

// soon is how long before its end an operator's certificate is worth a word.
const soon = 14 * day

// Inspect says, without making anything, what keeps a server from starting with the
// operator's files, or, if certFile is "", with the root in dir; and what clients
// will have against the operator's certificate.
func Inspect(dir, certFile, keyFile string, now time.Time) (weak []string, err error) {
	if certFile == "" {
		if _, err := loadRoot(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		return nil, nil
	}
	c, err := operators(certFile, keyFile)
	if err != nil {
		return nil, err
	}
	weak = weaknesses(c.Leaf, now)
	if end := c.Leaf.NotAfter; now.Before(end) && now.Add(soon).After(end) {
		weak = append(weak, "it ends on "+end.Format(time.DateOnly)+": renew it")
	}
	return weak, nil
}

// NotFor says that the operator's certificate is not for a name, or address, by which clients come;
// "": it is, or there is none that can be read.
func NotFor(host, certFile, keyFile string) (why string) {
	if host == "" || certFile == "" {
		return ""
	}
	c, err := operators(certFile, keyFile)
	if err != nil || c.Leaf.VerifyHostname(host) == nil {
		return ""
	}
	return fmt.Sprintf("it is for %s, and not for %s, which base-host names", namesOf(c.Leaf), host)
}

// namesOf lists what a certificate is for, some of it if that is much.
func namesOf(c *x509.Certificate) string {
	const some = 5
	names := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	if len(names) == 0 {
		return "no name" // clients look at no Common Name (RFC 9525 section 2)
	}
	if more := len(names) - some; more > 0 {
		names = append(names[:some], fmt.Sprintf("%d more", more))
	}
	return strings.Join(names, ", ")
}
