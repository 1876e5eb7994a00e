package binary

import (
	"bytes"
	"fmt"

	"farmboot/ipxe/binary/pe"
	"farmboot/ipxe/segment"
)

// Strings in an iPXE EFI application. It registers its command line as an image
// of the name cmdlineName since 2023; before, it ran none. What it finds as
// autoexec.ipxe beside itself goes before its command line, so for a baked script
// that name is replaced by one of the same length in a URI scheme that there is
// not, which fails at once.
const (
	cmdlineName  = "<CMDLINE>\x00"
	autoexecName = "autoexec.ipxe\x00"
	nowhere      = "none:autoexec\x00"

	maxAutoexecNames = 6 // measured: 2, and 3 for RISC-V
)

// efiProgram is an iPXE EFI application.
type efiProgram struct {
	file       []byte    // as it was built
	image      *pe.Image // as it is without a script
	noAutoexec *pe.Image // the same, without the search for autoexec.ipxe
}

func parseEFI(file []byte) (program, error) {
	image, err := pe.Parse(file)
	if err != nil {
		return nil, err
	}
	if n := bytes.Count(file, []byte(cmdlineName)); n != 1 {
		return nil, fmt.Errorf("want the string <CMDLINE> once, which iPXE has since 2023, found it %d times", n)
	}
	if n := bytes.Count(file, []byte(autoexecName)); n < 1 || n > maxAutoexecNames {
		return nil, fmt.Errorf("want the string autoexec.ipxe 1 to %d times, found it %d times", maxAutoexecNames, n)
	}
	p := efiProgram{file: file, image: image, noAutoexec: image}
	for at := 0; ; at += len(nowhere) {
		next := bytes.Index(file[at:], []byte(autoexecName))
		if next < 0 {
			return p, nil
		}
		at += next
		if p.noAutoexec, err = p.noAutoexec.Replace(at, []byte(nowhere)); err != nil {
			return nil, err
		}
	}
}

func (p efiProgram) File() *segment.File { return p.image.File() }

// WithScript implements [program]. A signed program refuses, and says why.
func (p efiProgram) WithScript(script []byte) (*segment.File, error) {
	return p.noAutoexec.WithLoadOptions(loadOptions(script))
}

func (p efiProgram) Trust(root Fingerprint) (program, error) {
	if p.image.Signed() {
		return p, nil
	}
	at, err := findRoot(p.file, root)
	if err != nil || at < 0 {
		return p, err
	}
	if p.image, err = p.image.Replace(at, root[:]); err != nil {
		return nil, err
	}
	p.noAutoexec, err = p.noAutoexec.Replace(at, root[:])
	return p, err
}
