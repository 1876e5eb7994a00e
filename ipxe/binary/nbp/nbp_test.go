package nbp

import (
	"bytes"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// Places in a synthesized program.
const (
	sizeCode    = 0x28
	cmdlineCode = 0x300
	loadCode    = 0x400
	sizeAt      = 0x432
	cmdlineAt   = 0x440
)

// synthesize returns a small program of that many bytes.
func synthesize(size int) []byte {
	file := bytes.Repeat([]byte{0x90}, size)
	copy(file, "\xea\x05\x00\xc0\x07")
	operand := func(b string, at int) []byte { return le.AppendUint16([]byte(b), uint16(at)) }
	copy(file[sizeCode:], append(operand("\x8c\xc8\x03\x06", sizeAt), "\x8e\xd0\x66\xbc\x00\x08\x00\x00"...))
	copy(file[cmdlineCode:], operand("\x66\xc1\xe6\x04\x66\x81\xc6\xec\x0c\x00\x00\x66\x89\x36", cmdlineAt))
	copy(file[loadCode:], operand("\x66\x8b\x36", cmdlineAt))
	le.PutUint16(file[sizeAt:], uint16(paragraphs(size)))
	le.PutUint32(file[cmdlineAt:], 0)
	return file
}

const testSize = 0x2345

func parse(t testing.TB, file []byte) *Image {
	t.Helper()
	m, err := Parse(file)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestWithCommandLine(t *testing.T) {
	original := synthesize(testSize)
	image := parse(t, original)
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.SliceOfN(rapid.ByteRange(1, 255), 0, 30_000).Draw(t, "text")
		f, err := image.WithCommandLine(text)
		if err != nil {
			t.Fatal(err)
		}
		got := f.Bytes()
		if size := int(le.Uint16(got[sizeAt:])) * paragraph; size != len(got) {
			t.Fatalf("image_size_pgh says %d bytes, there are %d", size, len(got))
		}
		at := int(le.Uint32(got[cmdlineAt:])) - loadAddress
		if at < testSize || at%paragraph != 0 {
			t.Fatalf("the command line is at %#x", at)
		}
		line, _, ended := bytes.Cut(got[at:], []byte{0})
		if !ended || !bytes.Equal(line, text) {
			t.Fatalf("the command line has %d bytes of %d, or others", len(line), len(text))
		}
		copy(got[sizeAt:], original[sizeAt:sizeAt+2])
		copy(got[cmdlineAt:], original[cmdlineAt:cmdlineAt+4])
		if !bytes.Equal(got[:testSize], original) {
			t.Fatal("more than the two variables is changed")
		}
	})
}

func TestWithCommandLineRefuses(t *testing.T) {
	m := parse(t, synthesize(testSize))
	if _, err := m.WithCommandLine([]byte("a\x00b")); err == nil || !strings.Contains(err.Error(), "NUL at offset 1") {
		t.Errorf("with a NUL: error = %v", err)
	}
	room := memoryEnd - workspace - loadAddress - paragraphs(testSize)*paragraph - 1
	if _, err := m.WithCommandLine(bytes.Repeat([]byte("x"), room)); err != nil {
		t.Errorf("%d bytes: %v", room, err)
	}
	if _, err := m.WithCommandLine(bytes.Repeat([]byte("x"), room+1)); err == nil || !strings.Contains(err.Error(), "fit in base memory") {
		t.Errorf("%d bytes: error = %v, want one about base memory", room+1, err)
	}
}

func TestWithTail(t *testing.T) {
	m := parse(t, synthesize(testSize))
	for _, n := range []int{0, 1, 15, 16, 5000} {
		got, err := m.WithTail(0x2010, bytes.Repeat([]byte("t"), n))
		if err != nil {
			t.Errorf("%d bytes: %v", n, err)
			continue
		}
		if size := int(le.Uint16(got.Bytes()[sizeAt:])); size != paragraphs(0x2010+n) {
			t.Errorf("%d bytes: image_size_pgh %#x, want %#x", n, size, paragraphs(0x2010+n))
		}
	}
	for _, at := range []int{-1, 0, cmdlineAt, testSize + 1} {
		if _, err := m.WithTail(at, nil); err == nil {
			t.Errorf("a tail from %#x on gives no error", at)
		}
	}
	if _, err := m.WithTail(0x2010, make([]byte, memoryEnd)); err == nil || !strings.Contains(err.Error(), "fit in base memory") {
		t.Errorf("a long tail: error = %v, want one about base memory", err)
	}
}

func TestParseRefuses(t *testing.T) {
	set := func(at int, v ...byte) func([]byte) []byte {
		return func(b []byte) []byte { copy(b[at:], v); return b }
	}
	for _, tt := range []struct {
		name   string
		change func([]byte) []byte
		want   string
	}{
		{"empty", func([]byte) []byte { return nil }, "want a network boot program of at least 8192 bytes, found 0"},
		{"EFI", set(0, 'M', 'Z'), "at 0x0: want a far jump to segment 07c0, found 4d5a00c007"},
		{"no stack code", set(sizeCode, 0), "look for image_size_pgh: want the code 8cc80306 once before 0x200, found it 0 times"},
		{"other stack code", set(sizeCode+6, 0), "look for image_size_pgh: at 0x2e: want the code 8ed066bc00080000"},
		{"size outside", set(sizeCode+4, 0xff, 0xff), "want the address of a variable before 0x2000, found 0xffff"},
		{"truncated", func(b []byte) []byte { return b[:len(b)-16] }, "at 0x432 (image_size_pgh): want 0x234, the size of this file, found 0x235"},
		{"no store", set(cmdlineCode, 0), "look for pxe_cmdline: want the code 66c1e604"},
		{"two stores", set(0x500, []byte("\x66\xc1\xe6\x04\x66\x81\xc6\xec\x0c\x00\x00\x66\x89\x36")...), "found it 2 times"},
		{"no load", set(loadCode, 0), "look for pxe_cmdline: want 668b364004 once before 0x2000, found it 0 times"},
		{"used already", set(cmdlineAt, 1), "at 0x440 (pxe_cmdline): want 0, found 0x1"},
	} {
		if _, err := Parse(tt.change(synthesize(testSize))); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error = %v\nwant one with %q", tt.name, err, tt.want)
		}
	}
}

// FuzzParse: no file makes it panic, and what it takes can be given a command line
// once.
func FuzzParse(f *testing.F) {
	f.Add(synthesize(prefixSize), []byte("#!ipxe\n"))
	f.Fuzz(func(t *testing.T, file, text []byte) {
		m, err := Parse(file)
		if err != nil {
			return
		}
		if _, err := m.WithTail(len(file), text); err != nil && len(file)+len(text) < 1<<16 {
			t.Fatalf("another tail of %d bytes: %v", len(text), err)
		}
		out, err := m.WithCommandLine(text)
		if err != nil {
			return
		}
		if _, err := Parse(out.Bytes()); err == nil {
			t.Fatal("extending twice is not refused")
		}
	})
}
