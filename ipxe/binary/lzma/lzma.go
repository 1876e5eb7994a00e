// Package lzma changes bytes inside the compressed part of iPXE's BIOS binaries.
//
// That part is a raw LZMA1 stream, as the LZMA specification (Igor Pavlov, in the
// LZMA SDK) describes it, without its header and with an end marker. [Decode]
// keeps the tokens that the stream consists of, and [Encode] writes the same
// tokens again, with literals where changed bytes no longer fit. So a changed
// payload keeps its size to within a few bytes, no search for matches is needed,
// and encoding what was decoded gives the very same stream, which proves for each
// file that this package understands it.
package lzma

import (
	"errors"
	"fmt"
)

// Token is one step of an LZMA stream: a literal byte, or a run of bytes that
// came before.
type Token struct {
	Length   uint32 // bytes; 0: a literal
	Distance uint32 // from the next byte back to the run, less one
	Rep      uint8  // 1…4: Distance is the last one used, … the fourth last; 0: spelled out
}

// Decode returns what a stream unpacks to, at most limit bytes, and the tokens
// that it consists of. The stream must end with its end marker.
func Decode(stream []byte, limit int) (data []byte, tokens []Token, err error) {
	tokens = make([]Token, 0, min(len(stream), limit)) // typical: three for four bytes
	data, err = decode(stream, limit, func(t Token) { tokens = append(tokens, t) })
	return data, tokens, err
}

// Unpack is [Decode] for those who do not need the tokens, which take more memory than
// all else.
func Unpack(stream []byte, limit int) ([]byte, error) {
	return decode(stream, limit, func(Token) {})
}

// decode calls found for each token.
func decode(stream []byte, limit int, found func(Token)) (data []byte, err error) {
	if len(stream) < 5 || stream[0] != 0 {
		return nil, errors.New("LZMA stream does not start with a zero byte")
	}
	d := newDecoder(stream)
	m := newModel()
	data = make([]byte, 0, min(4*len(stream), limit)) // typical: 2.5 times
	for !d.exhausted && len(data) <= limit {
		if m.state >= firstMatched && int64(m.rep[0]) >= int64(len(data)) {
			return nil, fmt.Errorf("LZMA stream goes back %d bytes after %d bytes", int64(m.rep[0])+1, len(data))
		}
		if d.bit(&m.isMatch[m.state], 0) == 0 {
			data = append(data, m.literal(d, data, 0))
			found(Token{})
			continue
		}
		t := m.match(d, Token{})
		if t.Distance == endOfStream {
			if d.exhausted || d.code != 0 || d.next != len(stream) {
				return nil, fmt.Errorf("LZMA stream of %d bytes has its end marker at %d", len(stream), d.next)
			}
			return data, nil
		}
		if int64(t.Distance) >= int64(len(data)) {
			return nil, fmt.Errorf("LZMA stream goes back %d bytes after %d bytes", int64(t.Distance)+1, len(data))
		}
		for range t.Length {
			data = append(data, data[len(data)-1-int(t.Distance)])
		}
		found(t)
	}
	if d.exhausted {
		return nil, fmt.Errorf("LZMA stream of %d bytes has no end marker", len(stream))
	}
	return nil, fmt.Errorf("LZMA stream unpacks to more than %d bytes", limit)
}

// Encode returns a stream that unpacks to data, made of the given tokens where
// data allows them and of literals where it does not. The tokens must be of as
// many bytes as there are.
func Encode(tokens []Token, data []byte) ([]byte, error) {
	e := newEncoder(len(data) / 2)
	m := newModel()
	pos := 0
	for _, t := range tokens {
		n := int(max(t.Length, 1))
		if n > len(data)-pos {
			return nil, fmt.Errorf("tokens of more than the %d bytes to encode", len(data))
		}
		if t.repeats(data, pos) && (t.Length > 1 || t.Rep == 1 && t.Distance == m.rep[0]) {
			e.bit(&m.isMatch[m.state], 1)
			m.match(e, m.fit(t))
			pos += n
			continue
		}
		for range n {
			e.bit(&m.isMatch[m.state], 0)
			m.literal(e, data[:pos], data[pos])
			pos++
		}
	}
	if pos != len(data) {
		return nil, fmt.Errorf("tokens of %d bytes, but %d bytes to encode", pos, len(data))
	}
	e.bit(&m.isMatch[m.state], 1)
	m.match(e, Token{Length: minMatch, Distance: endOfStream})
	return e.finish(), nil
}

// maxMatch is the longest length that can be coded.
const maxMatch = minMatch + 8 + 8 + 256 - 1

// repeats tells whether t stands for the bytes of data from pos on.
func (t Token) repeats(data []byte, pos int) bool {
	if t.Length == 0 || t.Length > maxMatch || int64(t.Distance) >= int64(pos) || t.Rep > 4 {
		return false
	}
	back := int(t.Distance) + 1
	for i := pos; i < pos+int(t.Length); i++ {
		if data[i] != data[i-back] {
			return false
		}
	}
	return true
}
