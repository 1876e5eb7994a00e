package authenticode

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"farmboot/ipxe/segment"
	"farmboot/setup/needs"
)

// testKeys are made once: making one takes a tenth of a second.
var testKeys = sync.OnceValue(func() [2]Key { return [2]Key{newKey("first"), newKey("second")} })

func newKey(name string) Key {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(int64(len(name))), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Unix(1e9, 0), NotAfter: time.Unix(2e9, 0), BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return Key{private, cert}
}

// read returns a file of the template folder.
func read(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(needs.Template(t), name))
	if err != nil {
		t.Fatalf("run make template: %v", err)
	}
	return data
}

func parse(t testing.TB, data []byte) *Program {
	t.Helper()
	p, err := Parse(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// signed returns a file signed with these keys.
func signed(t testing.TB, data []byte, keys ...Key) []byte {
	t.Helper()
	p := parse(t, data)
	table, err := p.Sign(keys...)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := p.Write(&b, table); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// sbverify asks another program whether a key has signed a file.
func sbverify(t testing.TB, data []byte, key Key) error {
	t.Helper()
	program := needs.Program(t, "sbverify", "sbsigntool")
	dir := t.TempDir()
	file, cert := filepath.Join(dir, "file.efi"), filepath.Join(dir, "cert.pem")
	if err := errors.Join(os.WriteFile(file, data, 0o600), os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: key.Cert.Raw}), 0o600)); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), program, "--cert", cert, file).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "Signature verification OK") {
		return fmt.Errorf("sbverify: %w: %s", err, out)
	}
	return nil
}

// samples are programs of other builders, of a length that is a multiple of 8 and not.
func samples(t testing.TB) map[string][]byte {
	ipxe := read(t, "ipxe.efi")
	return map[string][]byte{
		"ipxe.efi": ipxe, "snponly.efi": read(t, "snponly.efi"), "ipxe-arm64.efi": read(t, "ipxe-arm64.efi"),
		"odd length": append(bytes.Clone(ipxe), 1, 2, 3),
		"shim":       read(t, "shimx64.efi"), // signed by Microsoft
	}
}

func TestSignedProgramsAreGood(t *testing.T) {
	keys := testKeys()
	for name, data := range samples(t) {
		t.Run(name, func(t *testing.T) {
			out := signed(t, data, keys[0])
			if !bytes.Equal(out, signed(t, data, keys[0])) {
				t.Error("signed again, it is another file")
			}
			if err := sbverify(t, out, keys[0]); err != nil {
				t.Error(err)
			}
			// sbverify 0.9.4 takes Microsoft's signature for anybody's.
			if !parse(t, data).Signed() && sbverify(t, out, keys[1]) == nil {
				t.Error("sbverify takes any key")
			}
			if err := parse(t, out).Verify(keys[0].Cert); err != nil {
				t.Error(err)
			}
			if err := parse(t, out).Verify(keys[1].Cert); !errors.Is(err, ErrNotSigned) {
				t.Errorf("the other key: %v", err)
			}
			out[len(data)/2] ^= 1
			if err := parse(t, out).Verify(keys[0].Cert); !errors.Is(err, ErrNotSigned) {
				t.Errorf("a changed byte: %v", err)
			}
			if sbverify(t, out, keys[0]) == nil {
				t.Error("sbverify takes a changed file")
			}
		})
	}
}

// TestSignaturesStandSideBySide: a second key, and a key that has signed already.
func TestSignaturesStandSideBySide(t *testing.T) {
	keys := testKeys()
	data := read(t, "shimx64.efi")
	before := parse(t, data).table
	both := signed(t, data, keys[0], keys[1])
	for _, k := range keys {
		if err := errors.Join(sbverify(t, both, k), parse(t, both).Verify(k.Cert)); err != nil {
			t.Error(err)
		}
	}
	if !bytes.HasPrefix(parse(t, both).table, before) {
		t.Error("the signature that was there is gone")
	}
	if !bytes.Equal(both, signed(t, signed(t, both, keys[0]), keys[1])) {
		t.Error("a key that has signed signs again")
	}
}

func TestSigner(t *testing.T) {
	keys := testKeys()
	for name, data := range samples(t) {
		f := segment.Of(data[:1000], data[1000:1001], data[1001:])
		s := NewSigner(keys[0])
		want := signed(t, data, keys[0])
		for _, time := range []string{"first", "second"} {
			got, err := s.Sign(name, f)
			if err != nil || !bytes.Equal(got.Bytes(), want) {
				t.Errorf("%s, the %s time: other bytes (%v)", name, time, err)
			}
		}
	}
	s := NewSigner(keys[0])
	for n := range maxTables + 2 {
		s.tables[fmt.Sprint(n)] = nil
	}
	if _, err := s.Sign("one more", segment.Of(read(t, "snponly.efi"))); err != nil || len(s.tables) != 1 {
		t.Errorf("%d signatures are remembered (%v)", len(s.tables), err)
	}
	if _, err := s.Sign("text", segment.Of([]byte("no program"))); err == nil {
		t.Error("a text was signed")
	}
}

// TestBadPrograms cuts and damages a header: all of that is refused or signed, and
// nothing panics.
func TestBadPrograms(t *testing.T) {
	data := read(t, "shimx64.efi")
	for _, n := range []int{0, 1, 2, 0x3f, 0x40, 0x100, 0x3ff, len(data) - 1} {
		if _, err := Parse(bytes.NewReader(data[:n]), int64(n)); err == nil {
			t.Errorf("the first %d bytes of a program are taken for one", n)
		}
	}
	for at := range 0x400 {
		for _, b := range []byte{0xff, 0x7f, 1} {
			damaged := bytes.Clone(data)
			damaged[at] ^= b
			if p, err := Parse(bytes.NewReader(damaged), int64(len(damaged))); err == nil {
				certificates(p.table)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	data := read(f, "shimx64.efi")
	f.Add(uint32(0x3c), []byte{0x80}, uint32(0))
	f.Add(uint32(0x128), []byte{0xff, 0xff}, uint32(9))
	f.Fuzz(func(t *testing.T, at uint32, change []byte, cut uint32) {
		file := bytes.Clone(data)
		copy(file[int(at)%len(file):], change)
		file = file[:len(file)-int(cut)%len(file)]
		p, err := Parse(bytes.NewReader(file), int64(len(file)))
		if err != nil {
			return
		}
		if err := p.Verify(testKeys()[0].Cert); err == nil {
			t.Error("a file that nobody signed is good")
		}
	})
}

func BenchmarkSign(b *testing.B) {
	f := segment.Of(read(b, "ipxe.efi"))
	b.Run("new", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := NewSigner(testKeys()[0]).Sign("", f); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("known", func(b *testing.B) {
		s := NewSigner(testKeys()[0])
		b.ReportAllocs()
		for b.Loop() {
			if _, err := s.Sign("", f); err != nil {
				b.Fatal(err)
			}
		}
	})
}
