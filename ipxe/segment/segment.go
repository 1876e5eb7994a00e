// Package segment describes a large file as a list of shared slices and runs of
// zeros.
//
// A disk image of several megabytes that is mostly somebody else's bytes costs a
// few kilobytes of metadata, is never copied, and can be read by any number of
// goroutines at once. A [File] is put together by a [Builder] and never changes
// afterwards; nor may the slices that were given to the Builder.
package segment

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"sort"
)

// segment is a run of bytes that are all in one slice, or all zero.
type segment struct {
	start int64
	size  int64
	data  []byte // nil: zeros
}

// File is an immutable file. The zero value is an empty one.
type File struct {
	segments []segment
	size     int64
}

// Of returns the file that consists of the given parts, one after the other.
func Of(parts ...[]byte) *File {
	var b Builder
	for _, p := range parts {
		b.Add(p)
	}
	f, _ := b.File() // Add cannot go wrong
	return f
}

// Size returns the length in bytes.
func (f *File) Size() int64 { return f.size }

// ReadAt implements [io.ReaderAt]. It may be called concurrently.
func (f *File) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("segment: read at a negative offset")
	}
	n := 0
	for i := f.find(off); i < len(f.segments) && n < len(p); i++ {
		n += f.segments[i].copy(p[n:], off+int64(n))
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// find returns the index of the segment that holds the byte at off, or the number
// of segments if off is behind the end.
func (f *File) find(off int64) int {
	return sort.Search(len(f.segments), func(i int) bool {
		return f.segments[i].start+f.segments[i].size > off
	})
}

// copy fills p with the segment's bytes from offset off of the file, and returns
// how many it had.
func (s *segment) copy(p []byte, off int64) int {
	skip := off - s.start
	p = p[:min(int64(len(p)), s.size-skip)]
	if s.data == nil {
		clear(p)
	} else {
		copy(p, s.data[skip:])
	}
	return len(p)
}

// WriteTo implements [io.WriterTo] without copying.
func (f *File) WriteTo(w io.Writer) (int64, error) { return f.writeRange(w, 0, f.size) }

// writeRange writes the bytes from offset off up to end, or up to the file's end.
func (f *File) writeRange(w io.Writer, off, end int64) (int64, error) {
	var total int64
	for i := f.find(off); i < len(f.segments) && f.segments[i].start < end; i++ {
		s := &f.segments[i]
		n, err := s.writeRange(w, max(off-s.start, 0), min(end-s.start, s.size))
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// zeros is what runs of zeros are written from; it is only ever read.
var zeros [32 << 10]byte

// writeRange writes the segment's own bytes from off to end.
func (s *segment) writeRange(w io.Writer, off, end int64) (int64, error) {
	if s.data != nil {
		n, err := w.Write(s.data[off:end])
		return int64(n), err
	}
	var total int64
	for total < end-off {
		n, err := w.Write(zeros[:min(end-off-total, int64(len(zeros)))])
		total += int64(n)
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// Bytes returns a copy of the whole file in one slice.
func (f *File) Bytes() []byte {
	b := make([]byte, f.size)
	f.ReadAt(b, 0) // it has them all
	return b
}

// Replace returns the file with p in the place of as many bytes from offset off on. All
// else is shared with f, and so is p, which must not be changed any more.
func (f *File) Replace(off int64, p []byte) (*File, error) {
	var b Builder
	b.AppendRange(f, 0, off)
	b.Add(p)
	b.AppendRange(f, off+int64(len(p)), f.size)
	return b.File()
}

// SHA256 reads the whole file and returns its digest.
func (f *File) SHA256() [sha256.Size]byte {
	h := sha256.New()
	f.WriteTo(h) // a hash never returns an error
	return [sha256.Size]byte(h.Sum(nil))
}

// Builder puts a [File] together from front to back. The zero value is ready to
// use. Its first mistake sticks and comes out of [Builder.File], so that a layout
// reads as a list of steps.
type Builder struct {
	file File
	err  error
}

// Add appends p, which is shared, not copied: it must not be changed any more.
func (b *Builder) Add(p []byte) {
	if len(p) > 0 {
		b.append(segment{size: int64(len(p)), data: p})
	}
}

// Append appends all of f, sharing its slices.
func (b *Builder) Append(f *File) {
	for _, s := range f.segments {
		b.append(s)
	}
}

// AppendRange appends the bytes of f from offset off up to end, sharing its slices. It
// is a mistake if f has no such bytes.
func (b *Builder) AppendRange(f *File, off, end int64) {
	if (off < 0 || off > end || end > f.size) && b.err == nil {
		b.err = fmt.Errorf("segment: append %#x to %#x of a file of %#x bytes", off, end, f.size)
	}
	for i := f.find(max(off, 0)); i < len(f.segments) && f.segments[i].start < end; i++ {
		s := f.segments[i]
		from, to := max(off-s.start, 0), min(end-s.start, s.size)
		if s.data != nil {
			s.data = s.data[from:to]
		}
		s.size = to - from
		b.append(s)
	}
}

// PadTo appends zeros up to the offset off. It is a mistake if the file is longer
// already.
func (b *Builder) PadTo(off int64) {
	switch n := off - b.file.size; {
	case n > 0:
		b.append(segment{size: n})
	case n < 0 && b.err == nil:
		b.err = fmt.Errorf("segment: pad to offset %#x, but there are %#x bytes already", off, b.file.size)
	}
}

// Align appends zeros up to the next multiple of n bytes, n > 0.
func (b *Builder) Align(n int64) { b.PadTo((b.file.size + n - 1) / n * n) }

func (b *Builder) append(s segment) {
	s.start = b.file.size
	b.file.segments = append(b.file.segments, s)
	b.file.size += s.size
}

// File returns the finished file, or the first mistake that was made. The Builder
// must not be used any more.
func (b *Builder) File() (*File, error) {
	if b.err != nil {
		return nil, b.err
	}
	return &b.file, nil
}
