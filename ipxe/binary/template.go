package binary

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"farmboot/ipxe/binary/bzimage"
	"farmboot/ipxe/binary/nbp"
	"farmboot/ipxe/binary/pe"
	"farmboot/ipxe/segment"
	"farmboot/provisioning"
	"farmboot/provisioning/filenames"
)

// Files of a template folder that machines do not fetch by themselves; the others are in
// package filenames. setup/template.sh gives them these names.
const (
	Kernel = "ipxe.lkrn" // Linux bzImage for BIOS
	ISO    = "ipxe.iso"  // only its boot blocks for BIOS are used

	SystemdBoot = "systemd-bootx64.efi" // writes keys into firmware that is in Setup Mode
)

// parsers say which files hold programs, and how each is read.
var parsers = map[string]func([]byte) (program, error){
	filenames.Undionly: biosParser(nbp.Parse),
	Kernel:             biosParser(bzimage.Parse),
	filenames.EFI:      parseEFI,
	filenames.SNPOnly:  parseEFI,
	filenames.ARM64:    parseEFI,
	filenames.RISCV64:  parseEFI,
}

// program is an iPXE binary of any format.
type program interface {
	// Bytes returns the file as it is.
	Bytes() []byte
	// WithScript returns the file with a boot script inside.
	WithScript(script []byte) (*segment.File, error)
	// Trust returns the program with root as the only certificate it trusts.
	Trust(root Fingerprint) (program, error)
}

// Template is a set of verified iPXE binaries.
type Template struct {
	files  map[string]file
	blocks BootBlocks
	broken error            // why there are no boot blocks
	shims  func() shimsFile // works once: 2 MB that nobody needs without Secure Boot
}

// file is a program in the template folder. Each of its functions works once and
// remembers.
type file struct {
	program func() (program, error)
	digest  func() [sha256.Size]byte // of what the program is made from
}

// Load reads a template folder and verifies every file in it. What is missing or
// broken does not keep the rest from working: see [Template.Problems].
func Load(dir string) *Template {
	sums, err := readChecksums(filepath.Join(dir, checksumsName))
	read := func(path string) ([]byte, error) {
		if err != nil {
			return nil, err
		}
		return sums.read(path)
	}
	t := &Template{files: map[string]file{}}
	var all sync.WaitGroup // what takes long is to read the files and to compute their sums
	var mu sync.Mutex
	for name, parse := range parsers {
		all.Go(func() {
			f := loadProgram(filepath.Join(dir, name), read, parse)
			mu.Lock()
			defer mu.Unlock()
			t.files[name] = f
		})
	}
	t.blocks, t.broken = loadBootBlocks(filepath.Join(dir, ISO), read)
	all.Wait()
	t.shims = sync.OnceValue(func() shimsFile { return loadShims(dir, read, t.files[filenames.EFI]) })
	return t
}

func loadProgram(path string, read func(string) ([]byte, error), parse func([]byte) (program, error)) file {
	data, err := read(path)
	var p program
	if err == nil {
		p, err = parse(data)
	}
	if err != nil {
		err = unusable(path, err)
	}
	return file{
		program: func() (program, error) { return p, err },
		digest:  sync.OnceValue(func() [sha256.Size]byte { return sha256.Sum256(data) }),
	}
}

// unusable says what is wrong with a template file, or that it is missing.
func unusable(path string, err error) error {
	name := filepath.Base(path)
	if _, missing := errors.AsType[*fs.PathError](err); missing && errors.Is(err, fs.ErrNotExist) {
		return provisioning.Errorf(provisioning.Unavailable, "the iPXE template folder has no %s: run setup/template.sh (%w)", name, err)
	}
	return provisioning.Errorf(provisioning.Unavailable, "%s in the iPXE template folder cannot be used: %w; run setup/template.sh", name, err)
}

// Problems returns what is wrong with which file of the folder; empty if nothing
// is. It puts every file through all that requests may need of it, about 0.3
// seconds the first time after [Template.Trust], so call it in the background.
// The errors are [provisioning.Error]s with code [provisioning.Unavailable].
func (t *Template) Problems() map[string]error {
	problems := map[string]error{}
	for name, f := range t.files {
		if _, err := f.program(); err != nil {
			problems[name] = err
		}
		f.digest() // with it, nobody holds the file as it was read any longer
	}
	if t.broken != nil {
		problems[ISO] = t.broken
	}
	return problems
}

// NBP returns the named program with a boot script inside, which it runs instead
// of all else. Refusals are [provisioning.Error]s: NotFound for a name that is not
// in the template, Unavailable for a file that cannot be used or is signed,
// Invalid for a script that does not fit.
func (t *Template) NBP(name string, script []byte) (*segment.File, error) {
	p, err := t.program(name)
	if err != nil {
		return nil, err
	}
	if err := CheckScript(script); err != nil {
		return nil, err
	}
	f, err := p.WithScript(script)
	if errors.Is(err, pe.ErrSigned) {
		return nil, provisioning.Errorf(provisioning.Unavailable, "%s cannot carry a script: %w", name, err)
	}
	if err != nil {
		return nil, provisioning.Errorf(provisioning.Invalid, "put a script into %s: %w", name, err)
	}
	return f, nil
}

// Plain returns the named program without a script. An EFI application runs the
// file autoexec.ipxe that it finds where it came from. Refusals are as for
// [Template.NBP].
func (t *Template) Plain(name string) (*segment.File, error) {
	p, err := t.program(name)
	if err != nil {
		return nil, err
	}
	return segment.Of(p.Bytes()), nil
}

func (t *Template) program(name string) (program, error) {
	f, ok := t.files[name]
	if !ok {
		return nil, provisioning.Errorf(provisioning.NotFound, "no iPXE binary %q: there are %s", name, strings.Join(slices.Sorted(maps.Keys(t.files)), ", "))
	}
	return f.program()
}

// Digest stands for the content of the named files, ISO among them: equal digests,
// equal bytes from NBP, Plain and BootBlocks. It is cheap: it does not put our
// trust into a file.
func (t *Template) Digest(names ...string) [sha256.Size]byte {
	h := sha256.New()
	for _, name := range names {
		digest := t.blocks.digest
		if f, ok := t.files[name]; ok {
			digest = f.digest()
		}
		fmt.Fprintf(h, "%s %x\n", name, digest)
	}
	return [sha256.Size]byte(h.Sum(nil))
}
