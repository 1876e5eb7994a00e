package segment

import "io"

// Reader reads a [File]. It is fit for [net/http.ServeContent].
type Reader struct {
	*io.SectionReader
	file *File
}

// Reader returns a reader over the whole file.
func (f *File) Reader() *Reader { return &Reader{io.NewSectionReader(f, 0, f.size), f} }

// WriteTo implements [io.WriterTo] without copying.
func (r *Reader) WriteTo(w io.Writer) (int64, error) { return r.WriteNTo(w, r.Size()) }

// WriteNTo writes the next n bytes, or those up to the end, without copying: the
// shared slices themselves are what w gets.
func (r *Reader) WriteNTo(w io.Writer, n int64) (int64, error) {
	at, err := r.Seek(0, io.SeekCurrent)
	if err != nil {
		return 0, err
	}
	n, err = r.file.writeRange(w, at, at+min(n, r.Size()))
	if _, seekErr := r.Seek(at+n, io.SeekStart); err == nil {
		err = seekErr
	}
	return n, err
}
