package secureboot

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"debug/pe"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"farmboot/ipxe/binary/authenticode"
)

// microsoft are Microsoft's certificates for other people's programs, which x64 machines
// are sold with: the SHA-256 of each.
var microsoft = []string{
	"48e99b991f57fc52f76149599bff0a58c47154229b9f8d603ac40d3500248507", // Microsoft Corporation UEFI CA 2011
	"f6124e34125bee3fe6d79a574eaa7b91c0e7bd9d929c1a321178efd611dad901", // Microsoft UEFI CA 2023
}

// CheckShim returns nil if firmware with Microsoft's certificates starts a shim, as far as
// its signatures go.
func CheckShim(shim []byte) error {
	p, err := authenticode.Parse(bytes.NewReader(shim), int64(len(shim)))
	if err != nil {
		return err
	}
	trusted := slices.DeleteFunc(p.Certificates(), func(c *x509.Certificate) bool {
		sum := sha256.Sum256(c.Raw)
		return !slices.Contains(microsoft, hex.EncodeToString(sum[:]))
	})
	return check(p, trusted)
}

// CheckStarted returns nil if shim starts a program by itself: one by whoever built that
// shim, such as MokManager.
func CheckStarted(shim, program []byte) error {
	trusted, err := vendors(shim)
	if err != nil {
		return fmt.Errorf("whom shim trusts: %w", err)
	}
	return CheckSigned(program, trusted...)
}

// CheckSigned returns nil if what trusts these certificates starts a program.
func CheckSigned(program []byte, trusted ...*x509.Certificate) error {
	p, err := authenticode.Parse(bytes.NewReader(program), int64(len(program)))
	if err != nil {
		return err
	}
	return check(p, trusted)
}

// check wants a good signature by one of the trusted, or by somebody for whom one of them
// vouches.
func check(p *authenticode.Program, trusted []*x509.Certificate) error {
	for _, c := range append(p.Certificates(), trusted...) {
		vouched := slices.ContainsFunc(trusted, func(by *x509.Certificate) bool { return c.Equal(by) || c.CheckSignatureFrom(by) == nil })
		if vouched && p.Verify(c) == nil {
			return nil
		}
	}
	return authenticode.ErrNotSigned
}

// vendors returns the certificates that are built into a shim. Its section .vendor_cert
// begins with the sizes of what is trusted and of what is not, and where each begins
// (shim 16, shim.h, struct on top of cert.S).
func vendors(shim []byte) ([]*x509.Certificate, error) {
	f, err := pe.NewFile(bytes.NewReader(shim))
	if err != nil {
		return nil, err
	}
	// Shim's section headers have the whole name in a string table, where it is longer
	// than eight bytes.
	section := f.Section(".vendor_cert")
	if section == nil {
		return nil, errors.New("want a section .vendor_cert, found none")
	}
	data, err := section.Data()
	if err != nil {
		return nil, err
	}
	const header = 16
	if len(data) < header {
		return nil, fmt.Errorf("want %d bytes in .vendor_cert, found %d", header, len(data))
	}
	size, start := uint64(binary.LittleEndian.Uint32(data)), uint64(binary.LittleEndian.Uint32(data[8:]))
	if start+size > uint64(len(data)) {
		return nil, fmt.Errorf("in .vendor_cert: want certificates within %#x bytes, found %#x to %#x", len(data), start, start+size)
	}
	trusted := data[start : start+size]
	if c, err := x509.ParseCertificate(trusted); err == nil {
		return []*x509.Certificate{c}, nil
	}
	return certificatesOf(trusted)
}
