package lzma

import "math/bits"

// Properties of the streams that iPXE's build makes: lc=2, lp=0, pb=0. With no
// position bits, nothing depends on the position in the output.
const (
	literalContextBits = 2
	minMatch           = 2
	endOfStream        = 0xffffffff // as a distance: the end marker
)

// state remembers the kinds of the last tokens: below 7 the last was a literal.
type state uint8

const (
	states       = 12
	firstMatched = 7
)

func (s state) afterLiteral() state {
	switch {
	case s < 4:
		return 0
	case s < 10:
		return s - 3
	}
	return s - 6
}

// after returns lit if the token before was a literal, else match.
func (s state) after(lit, match state) state {
	if s < firstMatched {
		return lit
	}
	return match
}

// lengths models the length of a match.
type lengths struct {
	choice, choice2 prob
	low, mid        [1 << 3]prob
	high            [1 << 8]prob
}

// model holds all that decoder and encoder have to agree on.
type model struct {
	isMatch, isRep, isRepG0, isRepG1, isRepG2, isRep0Long [states]prob

	literals   [1 << literalContextBits][0x300]prob
	matchLen   lengths
	repLen     lengths
	posSlot    [4][1 << 6]prob
	posSpecial [128]prob
	posAlign   [1 << 4]prob

	state state
	rep   [4]uint32 // the last four distances, less one each, newest first
}

// newModel returns the model at the start of a stream.
func newModel() *model {
	m := &model{}
	for _, probs := range [][]prob{
		m.isMatch[:], m.isRep[:], m.isRepG0[:], m.isRepG1[:], m.isRepG2[:], m.isRep0Long[:],
		m.posSpecial[:], m.posAlign[:],
	} {
		reset(probs)
	}
	for i := range m.literals {
		reset(m.literals[i][:])
	}
	for i := range m.posSlot {
		reset(m.posSlot[i][:])
	}
	for _, l := range []*lengths{&m.matchLen, &m.repLen} {
		l.choice, l.choice2 = probInit, probInit
		reset(l.low[:])
		reset(l.mid[:])
		reset(l.high[:])
	}
	return m
}

func reset(probs []prob) {
	for i := range probs {
		probs[i] = probInit
	}
}

// length codes the length of a match, at least minMatch.
func (l *lengths) length(c coder, n uint32) uint32 {
	n -= minMatch
	if c.bit(&l.choice, truth(n >= 8)) == 0 {
		return minMatch + tree(c, l.low[:], 3, n)
	}
	if c.bit(&l.choice2, truth(n >= 16)) == 0 {
		return minMatch + 8 + tree(c, l.mid[:], 3, n-8)
	}
	return minMatch + 16 + tree(c, l.high[:], 8, n-16)
}

func truth(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}

// distance codes a distance, less one, of a match of the given length: its
// magnitude as a slot, then the bits below.
func (m *model) distance(c coder, length, d uint32) uint32 {
	const (
		firstWithBits   = 4  // slots below are the distance itself
		firstWithDirect = 14 // from here on only the lowest four bits are modelled
		alignBits       = 4
	)
	slot := tree(c, m.posSlot[min(length-minMatch, 3)][:], 6, slotOf(d))
	if slot < firstWithBits {
		return slot
	}
	n := uint(slot>>1 - 1)
	base := (2 | slot&1) << n
	if slot < firstWithDirect {
		return base + reverseTree(c, m.posSpecial[base-slot:], n, d-base)
	}
	high := c.direct(n-alignBits, (d-base)>>alignBits)
	return base + high<<alignBits + reverseTree(c, m.posAlign[:], alignBits, (d-base)&(1<<alignBits-1))
}

// slotOf returns the slot of a distance: twice the number of its highest bit, plus
// the bit below.
func slotOf(d uint32) uint32 {
	if d < 4 {
		return d
	}
	top := uint(bits.Len32(d) - 1)
	return uint32(top)<<1 | d>>(top-1)&1
}

// literal codes one byte that follows history. After a match the byte at the last
// distance, which must lie inside history, predicts it.
func (m *model) literal(c coder, history []byte, value byte) byte {
	var before byte
	if len(history) > 0 {
		before = history[len(history)-1]
	}
	probs := &m.literals[before>>(8-literalContextBits)]
	node := uint32(1)
	if m.state >= firstMatched {
		predicted := history[len(history)-1-int(m.rep[0])]
		for same := true; same && node < 0x100; {
			shift := 8 - uint(bits.Len32(node))
			guess := uint32(predicted>>shift) & 1
			b := c.bit(&probs[(1+guess)<<8+node], uint32(value>>shift)&1)
			node = node<<1 | b
			same = b == guess
		}
	}
	for node < 0x100 {
		shift := 8 - uint(bits.Len32(node))
		node = node<<1 | c.bit(&probs[node], uint32(value>>shift)&1)
	}
	m.state = m.state.afterLiteral()
	return byte(node)
}

// match codes a token that is not a literal. An encoder must pass one for which
// fit was called.
func (m *model) match(c coder, t Token) Token {
	if c.bit(&m.isRep[m.state], truth(t.Rep > 0)) == 0 {
		t.Rep = 0
		t.Length = m.matchLen.length(c, t.Length)
		t.Distance = m.distance(c, t.Length, t.Distance)
		m.state = m.state.after(7, 10)
		m.rep = [4]uint32{t.Distance, m.rep[0], m.rep[1], m.rep[2]}
		return t
	}
	t.Rep = m.repIndex(c, t.Rep)
	if t.Rep == 1 && c.bit(&m.isRep0Long[m.state], truth(t.Length > 1)) == 0 {
		m.state = m.state.after(9, 11)
		return Token{Length: 1, Distance: m.rep[0], Rep: 1}
	}
	t.Distance = m.rep[t.Rep-1]
	copy(m.rep[1:t.Rep], m.rep[:t.Rep-1])
	m.rep[0] = t.Distance
	t.Length = m.repLen.length(c, t.Length)
	m.state = m.state.after(8, 11)
	return t
}

// repIndex codes which of the last four distances is meant, 1 to 4.
func (m *model) repIndex(c coder, rep uint8) uint8 {
	if c.bit(&m.isRepG0[m.state], truth(rep > 1)) == 0 {
		return 1
	}
	if c.bit(&m.isRepG1[m.state], truth(rep > 2)) == 0 {
		return 2
	}
	if c.bit(&m.isRepG2[m.state], truth(rep > 3)) == 0 {
		return 3
	}
	return 4
}

// fit returns t with a Rep that means its Distance here and now. The distances
// before may be others than when t was decoded, if a match became literals.
func (m *model) fit(t Token) Token {
	if t.Rep > 0 && m.rep[t.Rep-1] == t.Distance {
		return t
	}
	if t.Rep > 0 {
		t.Rep = 0
		for i, d := range m.rep {
			if d == t.Distance {
				t.Rep = uint8(i + 1)
				break
			}
		}
	}
	return t
}
