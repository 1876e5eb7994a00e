package lzma

// iPXE filters its x86 code before it packs it: the operand of every call and
// jump (opcodes e8 and e9), a distance from the instruction, becomes an absolute
// address, so that many calls of one function look alike. The filter takes any
// byte e8 or e9 for an instruction, and leaves operands alone that no address
// inside the data can stand for. The unpacker in the binary undoes it.

const operandSize = 4

// filter makes operands absolute, in place.
func filter(data []byte) {
	limit := int32(len(data) - operandSize - 1)
	eachOperand(data, func(at, operand int32) int32 {
		switch {
		case operand >= -at && operand < limit-at:
			return operand + at
		case operand >= limit-at && operand < limit:
			return operand - limit
		}
		return operand
	})
}

// unfilter undoes filter, in place.
func unfilter(data []byte) {
	limit := int32(len(data) - operandSize - 1)
	eachOperand(data, func(at, operand int32) int32 {
		switch {
		case operand >= 0 && operand < limit:
			return operand - at
		case operand >= -at && operand < 0:
			return operand + limit
		}
		return operand
	})
}

// eachOperand replaces what follows each call or jump by what change makes of it;
// at is the offset of the opcode.
func eachOperand(data []byte, change func(at, operand int32) int32) {
	for at := 0; at <= len(data)-operandSize-1; at++ {
		if data[at]&^1 != 0xe8 {
			continue
		}
		operand := data[at+1:]
		le.PutUint32(operand, uint32(change(int32(at), int32(le.Uint32(operand)))))
		at += operandSize
	}
}
