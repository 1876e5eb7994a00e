package lzma

import (
	"bytes"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	xz "github.com/ulikunitz/xz/lzma"
	"pgregory.net/rapid"
)

// drawTokens draws data together with tokens that describe it: a mix of literals
// and of runs that came before, some at distances that were used before.
func drawTokens(t *rapid.T) (data []byte, tokens []Token) {
	rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
	alphabet := 1 + rng.IntN(256)
	var recent [4]uint32
	for range rng.IntN(400) {
		if len(data) == 0 || rng.IntN(3) == 0 {
			data = append(data, byte(rng.IntN(alphabet)))
			tokens = append(tokens, Token{})
			continue
		}
		tok := Token{Length: uint32(2 + rng.IntN(maxMatch-1)), Distance: uint32(rng.IntN(len(data)))}
		if rng.IntN(2) == 0 {
			tok.Length = uint32(2 + rng.IntN(20))
		}
		if i := rng.IntN(8); i < 4 && int(recent[i]) < len(data) {
			tok.Distance, tok.Rep = recent[i], uint8(i+1)
			if i == 0 && rng.IntN(2) == 0 {
				tok.Length = 1
			}
			copy(recent[1:i+1], recent[:i])
		} else {
			copy(recent[1:], recent[:3])
		}
		recent[0] = tok.Distance
		for range tok.Length {
			data = append(data, data[len(data)-1-int(tok.Distance)])
		}
		tokens = append(tokens, tok)
	}
	return data, tokens
}

// oracle unpacks a stream with another implementation.
func oracle(stream []byte) ([]byte, error) {
	header := []byte{literalContextBits, 0, 0, 16, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff} // 1 MiB dictionary, size not known
	r, err := xz.NewReader(io.MultiReader(bytes.NewReader(header), bytes.NewReader(stream)))
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

func TestEncodeDecode(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data, tokens := drawTokens(t)
		stream, err := Encode(tokens, data)
		if err != nil {
			t.Fatal(err)
		}
		got, gotTokens, err := Decode(stream, len(data))
		if err != nil || !bytes.Equal(got, data) {
			t.Fatalf("decoded %d bytes of %d, or others: %v", len(got), len(data), err)
		}
		again, err := Encode(gotTokens, got)
		if err != nil || !bytes.Equal(again, stream) {
			t.Fatalf("encoding what was decoded gives another stream: %v", err)
		}
		if other, err := oracle(stream); err != nil || !bytes.Equal(other, data) {
			t.Fatalf("another implementation decodes %d bytes of %d, or others: %v", len(other), len(data), err)
		}
	})
}

// TestEncodeChangedData encodes data that its tokens no longer fit everywhere.
func TestEncodeChangedData(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		data, tokens := drawTokens(t)
		for range rapid.IntRange(0, 40).Draw(t, "changes") {
			if len(data) > 0 {
				data[rapid.IntRange(0, len(data)-1).Draw(t, "at")] = rapid.Byte().Draw(t, "byte")
			}
		}
		stream, err := Encode(tokens, data)
		if err != nil {
			t.Fatal(err)
		}
		if got, _, err := Decode(stream, len(data)); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("decoded %d bytes of %d, or others: %v", len(got), len(data), err)
		}
		if got, err := oracle(stream); err != nil || !bytes.Equal(got, data) {
			t.Fatalf("another implementation decodes %d bytes of %d, or others: %v", len(got), len(data), err)
		}
	})
}

// pack returns a stream as another implementation packs it, which searches for
// matches.
func pack(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := xz.WriterConfig{Properties: &xz.Properties{LC: literalContextBits}, DictCap: 1 << 20}.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()[13:] // without the header
}

// text is something to pack that has long and short, near and far repetitions.
func text(n int) []byte {
	rng := rand.New(rand.NewPCG(7, 7))
	words := strings.Fields("the quick brown fox jumps over the lazy dog \xe8\x10\x00\x00\x00 call \xe9\xff\xff\xff\xff jump")
	var b strings.Builder
	for b.Len() < n {
		b.WriteString(words[rng.IntN(len(words))] + " ")
	}
	return []byte(b.String()[:n])
}

func TestDecodeOtherEncoder(t *testing.T) {
	for _, n := range []int{0, 1, 2, 100, 300_000} {
		data := text(n)
		got, tokens, err := Decode(pack(t, data), n)
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("decoded %d bytes of %d, or others: %v", len(got), n, err)
		}
		again, err := Encode(tokens, got)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := oracle(again); err != nil || !bytes.Equal(back, data) {
			t.Errorf("encoded again, another implementation decodes %d bytes of %d: %v", len(back), n, err)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	good := pack(t, text(5000))
	for _, tt := range []struct {
		name   string
		stream []byte
		limit  int
		want   string
	}{
		{"empty", nil, 10, "does not start with a zero byte"},
		{"first byte", append([]byte{1}, good[1:]...), 5000, "does not start with a zero byte"},
		{"truncated", good[:len(good)/2], 5000, "no end marker"},
		{"data behind", append(bytes.Clone(good), 0), 5000, "end marker"},
		{"too large", good, 4999, "more than 4999 bytes"},
		{"all ones", append([]byte{0}, bytes.Repeat([]byte{0xff}, 100)...), 5000, "goes back"},
	} {
		if _, _, err := Decode(tt.stream, tt.limit); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error = %v, want one with %q", tt.name, err, tt.want)
		}
	}
}

func TestEncodeRefusesWrongLength(t *testing.T) {
	for _, tokens := range [][]Token{nil, {{}}, {{}, {}, {}}, {{}, {Length: 1 << 31}}} {
		if _, err := Encode(tokens, []byte("ab")); err == nil {
			t.Errorf("Encode of 2 bytes with the tokens %v gives no error", tokens)
		}
	}
}

// FuzzDecode: no stream makes it panic, and what it decodes it can encode.
func FuzzDecode(f *testing.F) {
	f.Add(pack(f, nil))
	f.Add(pack(f, text(300)))
	f.Fuzz(func(t *testing.T, stream []byte) {
		const limit = 1 << 16
		data, tokens, err := Decode(stream, limit)
		if err != nil {
			return
		}
		again, err := Encode(tokens, data)
		if err != nil {
			t.Fatalf("encode what was decoded: %v", err)
		}
		if back, _, err := Decode(again, limit); err != nil || !bytes.Equal(back, data) {
			t.Fatalf("decoding what was encoded gives other bytes: %v", err)
		}
	})
}
