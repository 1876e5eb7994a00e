package binary

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"

	"farmboot/ipxe/binary/bzimage"
	"farmboot/ipxe/binary/nbp"
	"farmboot/ipxe/binary/pe"
	"farmboot/ipxe/segment"
	"farmboot/provisioning"
	"farmboot/provisioning/filenames"
	"farmboot/provisioning/installed"
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
	// File returns the file as it is.
	File() *segment.File
	// WithScript returns the file with a boot script inside.
	WithScript(script []byte) (*segment.File, error)
	// Trust returns the program with root as the only certificate it trusts.
	Trust(root Fingerprint) (program, error)
}

// Template is a set of verified iPXE binaries. Each of its functions works once and
// remembers.
type Template struct {
	files  map[string]file
	blocks func() (BootBlocks, error)
	shims  func() shimsFile // 2 MB that nobody needs without Secure Boot
}

// file is a program in the template folder. Each of its functions works once and
// remembers.
type file struct {
	program func() (program, error)
	digest  func() [sha256.Size]byte // of what the program is made from
}

// Load returns the template in a folder. Each file is read and verified when it is first
// asked for. What is missing or broken does not keep the rest from working: see
// [Template.Problems].
func Load(dir string) *Template {
	d := openFolder(dir)
	t := &Template{files: map[string]file{}, blocks: sync.OnceValues(d.bootBlocks)}
	for name, parse := range parsers {
		t.files[name] = d.program(name, parse)
	}
	t.shims = sync.OnceValue(func() shimsFile { return d.shims(t.files[filenames.EFI]) })
	return t
}

func (d folder) program(name string, parse func([]byte) (program, error)) file {
	type content struct {
		program program
		err     error
		digest  [sha256.Size]byte
	}
	read := sync.OnceValue(func() (c content) {
		data, sum, err := d.read(name)
		if err == nil {
			c.program, err = parse(data)
		}
		if err != nil {
			c.err = unusable(name, err)
		}
		c.digest = sum
		return c
	})
	return file{
		program: func() (program, error) { c := read(); return c.program, c.err },
		digest:  func() [sha256.Size]byte { return read().digest },
	}
}

// unusable says what is wrong with a template file, or that it is missing.
func unusable(name string, err error) error {
	if _, missing := errors.AsType[*fs.PathError](err); missing && errors.Is(err, fs.ErrNotExist) {
		return provisioning.Errorf(provisioning.Unavailable, "the iPXE template folder has no %s: run %s (%w)", name, installed.TemplateScript, err)
	}
	return provisioning.Errorf(provisioning.Unavailable, "%s in the iPXE template folder cannot be used: %w; run %s", name, err, installed.TemplateScript)
}

// Problems returns what is wrong with which file of the folder; empty if nothing
// is. It reads every file and puts it through all that requests may need of it, 0.3
// seconds the first time after [Template.Trust], so call it in the background.
// The errors are [provisioning.Error]s with code [provisioning.Unavailable].
func (t *Template) Problems() map[string]error {
	problems := map[string]error{}
	for name, f := range t.files {
		if _, err := f.program(); err != nil {
			problems[name] = err
		}
	}
	if _, err := t.blocks(); err != nil {
		problems[ISO] = err
	}
	return problems
}

// Boots tells whether a program can be used, of whichever architecture.
func (t *Template) Boots() bool {
	for _, f := range t.files {
		if _, err := f.program(); err == nil {
			return true
		}
	}
	return false
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
	return p.File(), nil
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
		var digest [sha256.Size]byte
		if f, ok := t.files[name]; ok {
			digest = f.digest()
		} else if b, err := t.blocks(); err == nil {
			digest = b.digest
		}
		fmt.Fprintf(h, "%s %x\n", name, digest)
	}
	return [sha256.Size]byte(h.Sum(nil))
}
