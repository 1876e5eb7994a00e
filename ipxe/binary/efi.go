package binary

import (
	"bytes"
	"fmt"
	"sync"

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
	image *pe.Image
	// noAutoexec is image without the search for autoexec.ipxe.
	noAutoexec func() (*pe.Image, error)
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
	return efiProgram{image, sync.OnceValues(func() (*pe.Image, error) {
		return pe.Parse(bytes.ReplaceAll(file, []byte(autoexecName), []byte(nowhere)))
	})}, nil
}

func (p efiProgram) Bytes() []byte { return p.image.Bytes() }

func (p efiProgram) WithScript(script []byte) (*segment.File, error) {
	image := p.image
	if !image.Signed() { // else WithLoadOptions refuses, and says why
		var err error
		if image, err = p.noAutoexec(); err != nil {
			return nil, err
		}
	}
	return image.WithLoadOptions(loadOptions(script))
}

func (p efiProgram) Trust(root Fingerprint) (program, error) {
	if p.image.Signed() {
		return p, nil
	}
	file := bytes.Clone(p.image.Bytes())
	if err := replaceRoot(file, root); err != nil {
		return nil, err
	}
	return parseEFI(file)
}
