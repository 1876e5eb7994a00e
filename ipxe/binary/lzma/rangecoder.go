package lzma

// The range coder turns bits, each with the probability that its model gives it,
// into bytes and back. Decoder and encoder are two sides of one interface, so
// that the rest of the format is written down once: every routine takes the value
// that an encoder is to write and returns the value that was coded, which is all
// that a decoder needs.
type coder interface {
	// bit codes one bit and adapts its probability.
	bit(p *prob, value uint32) uint32
	// direct codes n bits that are 0 or 1 with equal probability.
	direct(n uint, value uint32) uint32
}

// prob is the probability that a bit is 0, in units of 1/2048.
type prob uint16

const (
	probBits = 11
	probInit = 1 << probBits / 2
	moveBits = 5       // how fast probabilities adapt
	topValue = 1 << 24 // the range is kept at or above this
)

func (p *prob) saw0() { *p += (1<<probBits - *p) >> moveBits }
func (p *prob) saw1() { *p -= *p >> moveBits }

// decoder reads in. It reads zeros behind the end; exhausted tells.
type decoder struct {
	in        []byte
	next      int
	exhausted bool
	rng, code uint32
}

// newDecoder starts at the first byte, which is always zero, and the four after.
func newDecoder(in []byte) *decoder {
	d := &decoder{in: in, next: 1, rng: 0xffffffff}
	for range 4 {
		d.shift()
	}
	return d
}

func (d *decoder) shift() {
	d.code <<= 8
	if d.next < len(d.in) {
		d.code |= uint32(d.in[d.next])
		d.next++
	} else {
		d.exhausted = true
	}
}

func (d *decoder) normalize() {
	if d.rng < topValue {
		d.rng <<= 8
		d.shift()
	}
}

func (d *decoder) bit(p *prob, _ uint32) uint32 {
	var b uint32
	if bound := d.rng >> probBits * uint32(*p); d.code < bound {
		d.rng = bound
		p.saw0()
	} else {
		d.rng -= bound
		d.code -= bound
		p.saw1()
		b = 1
	}
	d.normalize()
	return b
}

func (d *decoder) direct(n uint, _ uint32) uint32 {
	var value uint32
	for range n {
		d.rng >>= 1
		value <<= 1
		if d.code >= d.rng {
			d.code -= d.rng
			value |= 1
		}
		d.normalize()
	}
	return value
}

// encoder writes out. The last byte that is sure to be right but for a carry is
// held back in cache, with the 0xff bytes behind it that a carry would run through.
type encoder struct {
	out     []byte
	low     uint64
	rng     uint32
	cache   byte
	pending int // bytes held back: cache and the 0xff bytes
}

func newEncoder(sizeHint int) *encoder {
	return &encoder{out: make([]byte, 0, sizeHint), rng: 0xffffffff, pending: 1}
}

func (e *encoder) shift() {
	if uint32(e.low) < 0xff000000 || e.low > 0xffffffff {
		carry := byte(e.low >> 32)
		e.out = append(e.out, e.cache+carry)
		for ; e.pending > 1; e.pending-- {
			e.out = append(e.out, 0xff+carry)
		}
		e.pending = 0
		e.cache = byte(e.low >> 24)
	}
	e.pending++
	e.low = e.low & 0x00ffffff << 8
}

func (e *encoder) normalize() {
	if e.rng < topValue {
		e.rng <<= 8
		e.shift()
	}
}

func (e *encoder) bit(p *prob, value uint32) uint32 {
	bound := e.rng >> probBits * uint32(*p)
	if value == 0 {
		e.rng = bound
		p.saw0()
	} else {
		e.low += uint64(bound)
		e.rng -= bound
		p.saw1()
	}
	e.normalize()
	return value
}

func (e *encoder) direct(n uint, value uint32) uint32 {
	for i := n; i > 0; i-- {
		e.rng >>= 1
		if value>>(i-1)&1 == 1 {
			e.low += uint64(e.rng)
		}
		e.normalize()
	}
	return value
}

// finish writes what is held back and returns the whole stream.
func (e *encoder) finish() []byte {
	for range 5 {
		e.shift()
	}
	return e.out
}

// tree codes a value of n bits, highest first, along a binary tree of
// probabilities whose root is probs[1].
func tree(c coder, probs []prob, n uint, value uint32) uint32 {
	node := uint32(1)
	for i := n; i > 0; i-- {
		node = node<<1 | c.bit(&probs[node], value>>(i-1)&1)
	}
	return node - 1<<n
}

// reverseTree is tree with the lowest bit first.
func reverseTree(c coder, probs []prob, n uint, value uint32) uint32 {
	node, coded := uint32(1), uint32(0)
	for i := range n {
		b := c.bit(&probs[node], value>>i&1)
		node = node<<1 | b
		coded |= b << i
	}
	return coded
}
