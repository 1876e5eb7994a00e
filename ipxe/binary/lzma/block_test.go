package lzma

import (
	"bytes"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// blockFile returns a file of some front bytes and a packed block, as zbin in
// iPXE's build makes it.
func blockFile(t testing.TB, front int, data []byte) []byte {
	t.Helper()
	filtered := bytes.Clone(data)
	filter(filtered)
	// Packed by this package, for another encoder's end marker may differ.
	raw, tokens, err := Decode(pack(t, filtered), len(data))
	if err != nil {
		t.Fatal(err)
	}
	stream, err := Encode(tokens, raw)
	if err != nil {
		t.Fatal(err)
	}
	file := bytes.Repeat([]byte{0x90}, front)
	file = le.AppendUint32(file, uint32(len(stream)+crcSize))
	file = append(file, stream...)
	return le.AppendUint32(file, crc(stream))
}

func TestBlock(t *testing.T) {
	data := text(20_000)
	file := blockFile(t, 64, data)
	b, err := LastBlock(file)
	if err != nil {
		t.Fatal(err)
	}
	if b.Offset != 64 || !bytes.Equal(b.Data(), data) {
		t.Fatalf("block at %#x, data as packed: %v", b.Offset, bytes.Equal(b.Data(), data))
	}
	same, err := b.Pack(data)
	if err != nil || !bytes.Equal(same, file[64:]) {
		t.Errorf("packing the same data gives another block: %v", err)
	}

	changed := bytes.Clone(data)
	copy(changed[5000:], "\xe8 a fingerprint of 32 bytes \x00\xff\x80")
	packed, err := b.Pack(changed)
	if err != nil {
		t.Fatal(err)
	}
	if growth := len(packed) - len(same); growth < -64 || growth > 64 {
		t.Errorf("the block grows by %d bytes for 32 other ones", growth)
	}
	b, err = LastBlock(append(bytes.Clone(file[:64]), packed...))
	if err != nil || !bytes.Equal(b.Data(), changed) {
		t.Errorf("the packed block unpacks to other data: %v", err)
	}
	if _, err := b.Pack(data[1:]); err == nil || !strings.Contains(err.Error(), "want 20000 bytes") {
		t.Errorf("Pack of one byte less: error = %v", err)
	}
}

func TestLastBlockRefuses(t *testing.T) {
	good := blockFile(t, 32, text(3000))
	at := func(i int) func([]byte) []byte { return func(b []byte) []byte { b[i] ^= 1; return b } }
	for _, tt := range []struct {
		name   string
		change func([]byte) []byte
	}{
		{"length", at(32)},
		{"first byte", at(36)},
		{"stream", at(200)},
		{"CRC", at(len(good) - 1)},
		{"truncated", func(b []byte) []byte { return b[:len(b)-1] }},
		{"more", func(b []byte) []byte { return append(b, 0) }},
		{"not aligned", func(b []byte) []byte { return b[1:] }},
		{"empty", func([]byte) []byte { return nil }},
	} {
		if _, err := LastBlock(tt.change(bytes.Clone(good))); err == nil || !strings.Contains(err.Error(), "found none") {
			t.Errorf("%s: error = %v, want one that says there is no block", tt.name, err)
		}
	}
}

func TestFilterIsUndone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		// Dense in opcodes, and in operands near zero and near the length.
		data := rapid.SliceOf(rapid.SampledFrom([]byte{0xe8, 0xe9, 0, 0, 0, 1, 5, 20, 0xff, 0xff, 0x80})).Draw(t, "data")
		got := bytes.Clone(data)
		filter(got)
		unfilter(got)
		if !bytes.Equal(got, data) {
			t.Fatalf("%x comes back as %x", data, got)
		}
	})
}

func TestFilterMakesOperandsAbsolute(t *testing.T) {
	//                          0              5              10             15 …
	data := []byte("\xe8\x0a\x00\x00\x00\xe8\x05\x00\x00\x00\xe9\x00\x00\x00\x00AAAAAAAAAA")
	want := []byte("\xe8\x0a\x00\x00\x00\xe8\x0a\x00\x00\x00\xe9\x0a\x00\x00\x00AAAAAAAAAA")
	if filter(data); !bytes.Equal(data, want) {
		t.Errorf("filtered: %x, want %x", data, want)
	}
}

// FuzzLastBlock: no file makes it panic, and a block that it takes packs to itself.
func FuzzLastBlock(f *testing.F) {
	f.Add(blockFile(f, 16, text(200)))
	f.Add(blockFile(f, 0, nil))
	f.Fuzz(func(t *testing.T, file []byte) {
		b, err := LastBlock(file)
		if err != nil {
			return
		}
		packed, err := b.Pack(b.Data())
		if err != nil || !bytes.Equal(packed, file[b.Offset:]) {
			t.Fatalf("packing the same data gives another block: %v", err)
		}
	})
}

func BenchmarkLastBlock(b *testing.B) {
	file := blockFile(b, 64, text(800_000))
	b.ReportAllocs()
	b.SetBytes(int64(len(file)))
	for b.Loop() {
		if _, err := LastBlock(file); err != nil {
			b.Fatal(err)
		}
	}
}
