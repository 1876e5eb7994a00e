package secureboot

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"farmboot/ipxe/binary/authenticode"
	"farmboot/setup/ca"
	"farmboot/setup/needs"
)

// sign returns a program signed by a key of its own.
func sign(t *testing.T, program []byte) (signed []byte, by ca.SigningKey) {
	t.Helper()
	keys, err := ca.OpenSigning(t.TempDir(), time.Now).Keys()
	if err != nil {
		t.Fatal(err)
	}
	p, err := authenticode.Parse(bytes.NewReader(program), int64(len(program)))
	if err != nil {
		t.Fatal(err)
	}
	table, err := p.Sign(authenticode.Key{Private: keys[0].Private, Cert: keys[0].Cert})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := p.Write(&b, table); err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), keys[0]
}

// damage changes one bit in the middle.
func damage(b []byte) []byte {
	b = bytes.Clone(b)
	b[len(b)/2] ^= 1
	return b
}

func TestChain(t *testing.T) {
	shim := readShim(t)
	read := func(name string) []byte {
		b, err := os.ReadFile(filepath.Join(needs.Template(t), name))
		if err != nil {
			t.Fatalf("run make template: %v", err)
		}
		return b
	}
	mokManager, plain := read("mmx64.efi"), read("snponly.efi")
	ours, key := sign(t, plain)
	_, other := sign(t, plain)
	for name, c := range map[string]struct {
		err  error
		good bool
	}{
		"shim":                         {CheckShim(shim), true},
		"shim, damaged":                {CheckShim(damage(shim)), false},
		"MokManager as shim":           {CheckShim(mokManager), false},
		"our iPXE as shim":             {CheckShim(ours), false},
		"unsigned as shim":             {CheckShim(plain), false},
		"no program as shim":           {CheckShim([]byte("MZ")), false},
		"MokManager":                   {CheckStarted(shim, mokManager), true},
		"MokManager, damaged":          {CheckStarted(shim, damage(mokManager)), false},
		"our iPXE by shim's own trust": {CheckStarted(shim, ours), false},
		"started by no shim":           {CheckStarted(plain, mokManager), false},
		"our iPXE":                     {CheckSigned(ours, key.Cert), true},
		"our iPXE, damaged":            {CheckSigned(damage(ours), key.Cert), false},
		"our iPXE, another key":        {CheckSigned(ours, other.Cert), false},
		"unsigned iPXE":                {CheckSigned(plain, key.Cert), false},
		"nobody trusted":               {CheckSigned(ours), false},
	} {
		if (c.err == nil) != c.good {
			t.Errorf("%s: %v", name, c.err)
		}
	}
}
