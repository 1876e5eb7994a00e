package ca

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"farmboot/provisioning"
)

func TestSigning(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "secure-boot")
	now := time.Date(2026, 11, 28, 12, 0, 0, 5, time.UTC)
	s, other := OpenSigning(dir, func() time.Time { return now }), OpenSigning(dir, time.Now)
	keys, err := s.Keys()
	if err != nil || len(keys) != 1 {
		t.Fatalf("%d keys at first use: %v", len(keys), err)
	}
	first := keys[0].Cert
	if !first.IsCA || len(first.ExtKeyUsage) > 0 || keys[0].Private.N.BitLen() != 2048 || !first.NotBefore.Equal(now.Truncate(time.Second)) {
		t.Errorf("not a certificate that firmware takes: %+v", first)
	}
	if fi, err := os.Stat(filepath.Join(dir, signingFile)); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v, %v", fi.Mode(), err)
	}
	if err := s.Retire(); provisioning.ErrorCode(err) != provisioning.NotFound {
		t.Errorf("end of no rotation: %v", err)
	}
	if err := s.Rotate(); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*Signing{s, other} { // in another process, too
		keys, err := s.Keys()
		if err != nil || len(keys) != 2 || !keys[1].Cert.Equal(first) || keys[0].Cert.Equal(first) {
			t.Fatalf("after a rotation: %d keys, %v", len(keys), err)
		}
	}
	if err := s.Rotate(); provisioning.ErrorCode(err) != provisioning.Conflict {
		t.Errorf("a rotation in a rotation: %v", err)
	}
	if err := other.Retire(); err != nil {
		t.Fatal(err)
	}
	if keys, err := s.Keys(); err != nil || len(keys) != 1 || keys[0].Cert.Equal(first) {
		t.Errorf("after the rotation: %d keys, %v", len(keys), err)
	}
	if err := os.WriteFile(filepath.Join(dir, signingFile), []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Keys(); err == nil {
		t.Error("a damaged file is a key")
	}
}
