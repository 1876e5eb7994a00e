package segment_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"

	"farmboot/ipxe/segment"
)

// drawFile draws a file together with the bytes that it ought to have.
func drawFile(t *rapid.T) (*segment.File, []byte) {
	var b segment.Builder
	var want []byte
	for range rapid.IntRange(0, 8).Draw(t, "steps") {
		switch rapid.IntRange(0, 5).Draw(t, "step") {
		case 0:
			p := rapid.SliceOf(rapid.Byte()).Draw(t, "data")
			b.Add(p)
			want = append(want, p...)
		case 1:
			n := rapid.IntRange(0, 70_000).Draw(t, "zeros")
			b.PadTo(int64(len(want) + n))
			want = append(want, make([]byte, n)...)
		case 2:
			b.Align(16)
			want = append(want, make([]byte, -len(want)&15)...)
		case 3:
			p := rapid.SliceOf(rapid.Byte()).Draw(t, "inner")
			b.Append(segment.Of(p, nil, p))
			want = append(append(want, p...), p...)
		case 4:
			p := rapid.SliceOf(rapid.Byte()).Draw(t, "range")
			var inner segment.Builder
			inner.Add(p)
			inner.PadTo(int64(len(p) + 40))
			f, err := inner.File()
			if err != nil {
				t.Fatal(err)
			}
			end := rapid.IntRange(0, len(p)+40).Draw(t, "end")
			off := rapid.IntRange(0, end).Draw(t, "off")
			b.AppendRange(f, int64(off), int64(end))
			want = append(want, f.Bytes()[off:end]...)
		case 5:
			inner := rapid.SliceOf(rapid.Byte()).Draw(t, "replaced")
			off := rapid.IntRange(0, len(inner)).Draw(t, "at")
			p := rapid.SliceOfN(rapid.Byte(), 0, len(inner)-off).Draw(t, "by")
			f, err := segment.Of(inner).Replace(int64(off), p)
			if err != nil {
				t.Fatal(err)
			}
			b.Append(f)
			want = append(append(append(want, inner[:off]...), p...), inner[off+len(p):]...)
		}
	}
	f, err := b.File()
	if err != nil {
		t.Fatal(err)
	}
	return f, want
}

func TestFileHoldsWhatWasAdded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f, want := drawFile(t)
		if f.Size() != int64(len(want)) {
			t.Fatalf("Size() = %d, want %d", f.Size(), len(want))
		}
		if got := f.Bytes(); !bytes.Equal(got, want) {
			t.Fatal("Bytes() differs from what was added")
		}
		var out bytes.Buffer
		if n, err := f.WriteTo(&out); err != nil || n != f.Size() || !bytes.Equal(out.Bytes(), want) {
			t.Fatalf("WriteTo wrote %d bytes, error %v", n, err)
		}
		begin := rapid.Int64Range(0, f.Size()+10).Draw(t, "begin")
		n := rapid.Int64Range(0, f.Size()+10).Draw(t, "n")
		r := f.Reader()
		if _, err := r.Seek(begin, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		out.Reset()
		part := want[min(begin, f.Size()):min(begin+n, f.Size())]
		if wrote, err := r.WriteNTo(&out, n); err != nil || wrote != int64(len(part)) || !bytes.Equal(out.Bytes(), part) {
			t.Fatalf("WriteNTo from %d wrote %d of %d bytes, or others, error %v", begin, wrote, n, err)
		}
		if rest, err := io.ReadAll(r); err != nil || !bytes.Equal(rest, want[min(begin+n, f.Size()):]) {
			t.Fatalf("after WriteNTo %d bytes are left, error %v", len(rest), err)
		}
		if f.SHA256() != sha256.Sum256(want) {
			t.Fatal("SHA256() differs from the digest of what was added")
		}

		off := rapid.Int64Range(0, f.Size()+10).Draw(t, "offset")
		p := make([]byte, rapid.IntRange(0, 2000).Draw(t, "length"))
		rest := want[min(off, f.Size()):]
		got, err := f.ReadAt(p, off)
		if got != min(len(p), len(rest)) || !bytes.Equal(p[:got], rest[:got]) {
			t.Fatalf("ReadAt(%d bytes, %d) read %d bytes, or others", len(p), off, got)
		}
		if short := got < len(p); short != errors.Is(err, io.EOF) {
			t.Fatalf("ReadAt read %d of %d bytes with error %v", got, len(p), err)
		}
	})
}

func TestReader(t *testing.T) {
	var b segment.Builder
	b.Add([]byte("front"))
	b.PadTo(100)
	b.Add([]byte("back"))
	f, err := b.File()
	if err != nil {
		t.Fatal(err)
	}
	if err := iotest.TestReader(f.Reader(), f.Bytes()); err != nil {
		t.Error(err)
	}
}

func TestMistakeSticks(t *testing.T) {
	var b segment.Builder
	b.Add(make([]byte, 32))
	b.PadTo(16)
	b.PadTo(64)
	if _, err := b.File(); err == nil || !strings.Contains(err.Error(), "pad to offset 0x10") {
		t.Errorf("File() error = %v, want one about padding to 0x10", err)
	}
}

func TestReplaceRefuses(t *testing.T) {
	f := segment.Of([]byte("0123456789"))
	for _, off := range []int64{-1, 8, 11} {
		if _, err := f.Replace(off, []byte("abc")); err == nil {
			t.Errorf("3 bytes at offset %d of a file of 10: no error", off)
		}
	}
}

func TestReadAtNegativeOffset(t *testing.T) {
	if _, err := segment.Of([]byte("x")).ReadAt(make([]byte, 1), -1); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("ReadAt(-1) error = %v, want a refusal", err)
	}
}

// failAfter fails when more than n bytes are written to it.
type failAfter struct{ n int }

var errFull = errors.New("disk full")

func (w *failAfter) Write(p []byte) (int, error) {
	if len(p) > w.n {
		n := w.n
		w.n = 0
		return n, errFull
	}
	w.n -= len(p)
	return len(p), nil
}

func TestWriteToReportsWhatWasWritten(t *testing.T) {
	var b segment.Builder
	b.Add(make([]byte, 10))
	b.PadTo(100_000)
	f, err := b.File()
	if err != nil {
		t.Fatal(err)
	}
	for _, limit := range []int{0, 5, 10, 50_000} {
		if n, err := f.WriteTo(&failAfter{limit}); n != int64(limit) || !errors.Is(err, errFull) {
			t.Errorf("WriteTo with room for %d bytes = %d, %v", limit, n, err)
		}
	}
}
