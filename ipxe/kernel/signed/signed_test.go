package signed

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"farmboot/ipxe/binary/authenticode"
	"farmboot/ipxe/kernel"
	"farmboot/provisioning"
	"farmboot/setup/ca"
	"farmboot/setup/needs"
)

// open returns a store with the kernels of a folder, and the keys that sign them.
func open(t *testing.T, kernels string) (*Store, *ca.Signing) {
	t.Helper()
	signing := ca.OpenSigning(t.TempDir(), time.Now)
	return &Store{
		Kernels: kernel.Open(kernels, filepath.Join(kernels, "net")), Dir: filepath.Join(t.TempDir(), "signed"),
		Keys: func() (keys []authenticode.Key, id string, err error) {
			all, err := signing.Keys()
			for _, k := range all {
				f := k.Fingerprint()
				keys, id = append(keys, authenticode.Key{Private: k.Private, Cert: k.Cert}), id+fmt.Sprintf("%x", f[:4])
			}
			return keys, id, err
		},
	}, signing
}

// program is a real EFI program; put stores it.
func program(t *testing.T) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(needs.Template(t), "snponly.efi"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func put(t *testing.T, dir, name string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	tmp := filepath.Join(dir, ".new")
	if err := os.WriteFile(tmp, data, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(tmp, filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

func content(t *testing.T, s *Store, rel string) []byte {
	t.Helper()
	f, fi, err := s.Open(rel)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil || int64(len(data)) != fi.Size() {
		t.Fatalf("%d bytes of %d: %v", len(data), fi.Size(), err)
	}
	return data
}

func TestKernelsAreSigned(t *testing.T) {
	dir, data := t.TempDir(), program(t)
	put(t, dir, "a.efi", data)
	put(t, dir, "text", []byte("no kernel"))
	if err := os.MkdirAll(filepath.Join(dir, "net"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../a.efi", filepath.Join(dir, "net", "prod.efi")); err != nil {
		t.Fatal(err)
	}
	s, signing := open(t, dir)
	foretold, ok, err := s.Digest("a.efi")
	if err != nil || !ok {
		t.Fatalf("digest %v, %v", ok, err)
	}
	if _, err := os.Stat(s.Dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("who only looked has made a copy: %v", err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if f, _, err := s.Open("a.efi"); err != nil {
				t.Error(err)
			} else {
				f.Close()
			}
		})
	}
	wg.Wait()
	one := content(t, s, "a.efi")
	keys, err := signing.Keys()
	if err != nil {
		t.Fatal(err)
	}
	check := func(data []byte, want bool, keys ...ca.SigningKey) {
		t.Helper()
		p, err := authenticode.Parse(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range keys {
			if err := p.Verify(k.Cert); (err == nil) != want {
				t.Errorf("signed: %v", err)
			}
		}
	}
	check(one, true, keys...)
	if !bytes.Equal(content(t, s, "net/prod.efi"), one) {
		t.Error("the default kernel is another one")
	}
	if !bytes.Equal(content(t, s, "text"), []byte("no kernel")) {
		t.Error("what is no EFI program was changed")
	}
	if got, err := os.ReadFile(filepath.Join(dir, "a.efi")); err != nil || !bytes.Equal(got, data) {
		t.Error("the kernel itself was changed")
	}
	if foretold != fmt.Sprintf("%x", sha256.Sum256(one)) {
		t.Errorf("digest %s before there was a copy", foretold)
	}
	for _, digest := range []func(string) (string, bool, error){s.Sum, s.Sum, s.Digest} {
		if sum, ok, err := digest("a.efi"); err != nil || !ok || sum != foretold {
			t.Errorf("digest %s, %v, %v", sum, ok, err)
		}
		if _, ok, err := digest("text"); ok || err != nil {
			t.Errorf("digest of what is not signed: %v, %v", ok, err)
		}
	}
	if _, _, err := s.Open("b.efi"); provisioning.ErrorCode(err) != provisioning.NotFound {
		t.Errorf("a kernel that is not there: %v", err)
	}

	// Another kernel under the name, and another key.
	put(t, dir, "a.efi", append(bytes.Clone(data), make([]byte, 64)...))
	two := content(t, s, "a.efi")
	if len(two) == len(one) {
		t.Error("the copy of the former kernel was opened")
	}
	if err := signing.Rotate(); err != nil {
		t.Fatal(err)
	}
	if keys, err = signing.Keys(); err != nil {
		t.Fatal(err)
	}
	check(content(t, s, "a.efi"), true, keys...)
	check(two, false, keys[0])
	if err := s.Sweep(); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(s.Dir); err != nil || len(left) != 1 {
		t.Errorf("%d copies of one kernel are left: %v", len(left), err)
	}
}

// TestSweepNames: the error of a sweep names the kernels that cannot be signed; the others
// keep their copies, and what is no EFI program is no error.
func TestSweepNames(t *testing.T) {
	kernels := t.TempDir()
	s, _ := open(t, kernels)
	put(t, kernels, "good.efi", program(t))
	if err := s.Sweep(); err != nil {
		t.Fatal(err)
	}
	put(t, kernels, "behind.efi", append(content(t, s, "good.efi"), 'x')) // behind its signature
	put(t, kernels, "vmlinuz", []byte("no EFI program"))
	err := s.Sweep()
	if err == nil || !strings.Contains(err.Error(), "kernel behind.efi cannot be signed") || strings.Contains(err.Error(), "vmlinuz") || strings.Contains(err.Error(), "good.efi") {
		t.Errorf("a sweep over what cannot be signed: %v", err)
	}
	if left, err := os.ReadDir(s.Dir); err != nil || len(left) != 1 {
		t.Errorf("%d copies are left, want that of good.efi: %v", len(left), err)
	}
}
