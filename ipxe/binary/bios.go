package binary

import "farmboot/ipxe/segment"

// biosImage is what the two formats of BIOS programs have in common: bzImages and
// network boot programs.
type biosImage[T any] interface {
	Bytes() []byte
	WithCommandLine(text []byte) (*segment.File, error)
	WithTail(offset int, tail []byte) (T, error)
}

// biosProgram is ipxe.lkrn, undionly.kpxe, or ipxe.pxe under that name.
type biosProgram[T biosImage[T]] struct{ image T }

// biosParser makes a parser of programs from one of images.
func biosParser[T biosImage[T]](parse func([]byte) (T, error)) func([]byte) (program, error) {
	return func(file []byte) (program, error) {
		image, err := parse(file)
		if err != nil {
			return nil, err
		}
		return biosProgram[T]{image}, nil
	}
}

func (p biosProgram[T]) File() *segment.File { return segment.Of(p.image.Bytes()) }

func (p biosProgram[T]) WithScript(script []byte) (*segment.File, error) {
	return p.image.WithCommandLine(biosCommandLine(script))
}

func (p biosProgram[T]) Trust(root Fingerprint) (program, error) {
	offset, tail, err := repack(p.image.Bytes(), root)
	if err != nil {
		return nil, err
	}
	image, err := p.image.WithTail(offset, tail)
	if err != nil {
		return nil, err
	}
	return biosProgram[T]{image}, nil
}
