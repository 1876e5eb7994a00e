package binary

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"farmboot/ipxe/segment"
	"farmboot/provisioning/filenames"
	"farmboot/setup/needs"
)

// realFiles reads them.
func realFiles(t testing.TB) map[string][]byte {
	t.Helper()
	dir := needs.Template(t)
	files := map[string][]byte{}
	for name := range parsers {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		files[name] = data
	}
	return files
}

// FuzzDamagedProgram writes bytes into a real binary and cuts it off: it is refused,
// or can be given a script and our trust, but nothing panics.
func FuzzDamagedProgram(f *testing.F) {
	files := realFiles(f)
	names := slices.Sorted(maps.Keys(files))
	f.Add(uint8(0), uint32(0x1f1), uint32(0), []byte{0xff})
	f.Add(uint8(1), uint32(0x40+6), uint32(0), []byte{0xff, 0xff})
	f.Add(uint8(2), uint32(0x432), uint32(1), []byte{0})
	f.Fuzz(func(t *testing.T, which uint8, at, cut uint32, change []byte) {
		name := names[int(which)%len(names)]
		file := bytes.Clone(files[name])
		copy(file[int(at)%len(file):], change)
		file = file[:len(file)-int(cut)%len(file)]
		p, err := parsers[name](file)
		if err != nil {
			return
		}
		if _, err := p.WithScript([]byte("#!ipxe\n")); err != nil {
			t.Logf("%s takes no script: %v", name, err)
		}
		if _, err := p.Trust(Fingerprint{1}); err != nil {
			t.Logf("%s takes no trust: %v", name, err)
		}
	})
}

// TestDamagedHeaders writes bytes of the headers and prefixes wrong, one at a time, in
// every program: none of that may panic.
func TestDamagedHeaders(t *testing.T) {
	headers, step := 0x400, 3
	if testing.Short() {
		step = 29
	}
	for name, file := range realFiles(t) {
		for at := 0; at < headers; at += step {
			was := file[at]
			for _, b := range []byte{^was, was ^ 1} {
				file[at] = b
				if p, err := parsers[name](file); err == nil {
					if _, err := p.WithScript([]byte("#!ipxe\n")); err != nil {
						t.Logf("%s with %#02x at %#x takes no script: %v", name, b, at, err)
					}
				}
			}
			file[at] = was
		}
	}
}

// TestConcurrentFirstUse asks a new template for a program many times at once: it is
// given our trust once, and everybody gets the same.
func TestConcurrentFirstUse(t *testing.T) {
	template := Load(needs.Template(t)).Trust(Fingerprint{1})
	const callers = 8
	var wg sync.WaitGroup
	for _, name := range []string{filenames.Undionly, filenames.EFI} {
		got := make([]*segment.File, callers)
		for i := range got {
			wg.Go(func() {
				var err error
				if got[i], err = template.NBP(name, []byte("#!ipxe\n")); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if t.Failed() {
			return
		}
		for _, f := range got[1:] {
			if !bytes.Equal(f.Bytes(), got[0].Bytes()) {
				t.Errorf("%s is not the same for everybody", name)
			}
		}
	}
}
