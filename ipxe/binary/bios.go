package binary

import (
	"farmboot/ipxe/binary/bzimage"
	"farmboot/ipxe/binary/nbp"
	"farmboot/ipxe/segment"
)

// kernelProgram is ipxe.lkrn.
type kernelProgram struct{ *bzimage.Image }

func parseKernel(file []byte) (program, error) {
	image, err := bzimage.Parse(file)
	if err != nil {
		return nil, err
	}
	return kernelProgram{image}, nil
}

func (p kernelProgram) WithScript(script []byte) (*segment.File, error) {
	return p.WithCommandLine(biosCommandLine(script))
}

func (p kernelProgram) Trust(root Fingerprint) (program, error) {
	offset, tail, err := repack(p.Bytes(), root)
	if err != nil {
		return nil, err
	}
	image, err := p.WithTail(offset, tail)
	if err != nil {
		return nil, err
	}
	return kernelProgram{image}, nil
}

// nbpProgram is undionly.kpxe, or ipxe.pxe under that name.
type nbpProgram struct{ *nbp.Image }

func parseNBP(file []byte) (program, error) {
	image, err := nbp.Parse(file)
	if err != nil {
		return nil, err
	}
	return nbpProgram{image}, nil
}

func (p nbpProgram) WithScript(script []byte) (*segment.File, error) {
	return p.WithCommandLine(biosCommandLine(script))
}

func (p nbpProgram) Trust(root Fingerprint) (program, error) {
	offset, tail, err := repack(p.Bytes(), root)
	if err != nil {
		return nil, err
	}
	image, err := p.WithTail(offset, tail)
	if err != nil {
		return nil, err
	}
	return nbpProgram{image}, nil
}
