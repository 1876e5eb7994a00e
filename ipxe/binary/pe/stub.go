package pe

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// A stub is the machine code that becomes an image's entry point. It calls
// HandleProtocol for its own image's EFI_LOADED_IMAGE_PROTOCOL, points
// LoadOptions at the text that follows the stub, and goes on to the original
// entry point with the registers as the firmware set them.
//
// The assembler sources, and the commands that turn them into bytes, are in
// folder stub. Every stub ends with the 32-bit LoadOptionsSize and four bytes of
// padding; code behind the branch at jump is data.
type stub struct {
	code   string
	jump   int // offset of the branch to the original entry point
	branch func(code []byte, distance int64) error
}

// tail is how many bytes from its end a stub keeps the LoadOptionsSize.
const tail = 8

// loadedImageGUID is EFI_LOADED_IMAGE_PROTOCOL_GUID (UEFI 2.10, 9.1.1) as it lies
// in memory.
const loadedImageGUID = "\xa1\x31\x1b\x5b\x62\x95\xd2\x11\x8e\x3f\x00\xa0\xc9\x69\x72\x3b"

// stubFor returns the stub for a machine, or an error if there is none.
func stubFor(m Machine) (stub, error) {
	switch m {
	case AMD64:
		return stub{amd64Code, 0x40, branchAMD64}, nil
	case ARM64:
		return stub{words(arm64Code), 0x40, branchARM64}, nil
	case RISCV64:
		return stub{words(riscv64Code), 0x5c, branchRISCV64}, nil
	}
	return stub{}, fmt.Errorf("at the COFF header: want machine %v, %v or %v, found %v", AMD64, ARM64, RISCV64, m)
}

// assemble returns the stub's bytes, to be put at address rva of an image that
// starts at entry, with size bytes of LoadOptions to follow.
func (s stub) assemble(rva, entry uint32, size int) ([]byte, error) {
	code := []byte(s.code)
	le.PutUint32(code[len(code)-tail:], uint32(size))
	distance := int64(entry) - int64(rva) - int64(s.jump)
	if err := s.branch(code[s.jump:], distance); err != nil {
		return nil, err
	}
	return code, nil
}

const amd64Code = "\x51" + //              push rcx
	"\x52" + //                            push rdx
	"\x48\x83\xec\x28" + //                sub  rsp, 0x28
	"\x48\x8b\x42\x60" + //                mov  rax, [rdx+0x60]      SystemTable->BootServices
	"\x48\x8d\x15\x37\x00\x00\x00" + //    lea  rdx, [rip+guid]
	"\x4c\x8d\x44\x24\x20" + //            lea  r8, [rsp+0x20]
	"\xff\x90\x98\x00\x00\x00" + //        call [rax+0x98]           HandleProtocol
	"\x48\x85\xc0" + //                    test rax, rax
	"\x75\x19" + //                        jnz  enter
	"\x48\x8b\x44\x24\x20" + //            mov  rax, [rsp+0x20]
	"\x8b\x0d\x2c\x00\x00\x00" + //        mov  ecx, [rip+size]
	"\x89\x48\x30" + //                    mov  [rax+0x30], ecx      LoadOptionsSize
	"\x48\x8d\x0d\x2a\x00\x00\x00" + //    lea  rcx, [rip+options]
	"\x48\x89\x48\x38" + //                mov  [rax+0x38], rcx      LoadOptions
	"\x48\x83\xc4\x28" + //         enter: add  rsp, 0x28
	"\x5a" + //                            pop  rdx
	"\x59" + //                            pop  rcx
	"\xe9\x00\x00\x00\x00" + //            jmp  rel32                filled in
	"\x00\x00\x00" + //                    (alignment)
	loadedImageGUID + //            guid:
	"\x00\x00\x00\x00" + //         size:  filled in
	"\x00\x00\x00\x00" //                  (alignment)

// branchAMD64 fills in the operand of a jmp rel32, which counts from its end.
func branchAMD64(code []byte, distance int64) error {
	le.PutUint32(code[1:], uint32(int32(distance-5)))
	return nil
}

// arm64Code is a list of instructions.
var arm64Code = []uint32{
	0xa9bd7bfd, //        stp  x29, x30, [sp, #-48]!
	0x910003fd, //        mov  x29, sp
	0xa90107e0, //        stp  x0, x1, [sp, #16]
	0xf9403029, //        ldr  x9, [x1, #0x60]           SystemTable->BootServices
	0xf9404d29, //        ldr  x9, [x9, #0x98]           HandleProtocol
	0x100001a1, //        adr  x1, guid
	0x910083e2, //        add  x2, sp, #32
	0xd63f0120, //        blr  x9
	0xb50000c0, //        cbnz x0, enter
	0xf94013e9, //        ldr  x9, [sp, #32]
	0x1800018a, //        ldr  w10, size
	0xb900312a, //        str  w10, [x9, #0x30]          LoadOptionsSize
	0x1000018a, //        adr  x10, options
	0xf9001d2a, //        str  x10, [x9, #0x38]          LoadOptions
	0xa94107e0, // enter: ldp  x0, x1, [sp, #16]
	0xa8c37bfd, //        ldp  x29, x30, [sp], #48
	0x14000000, //        b    imm26                     filled in
	0xd503201f, //        nop  (alignment)
	0x5b1b31a1, // guid:
	0x11d29562,
	0xa0003f8e,
	0x3b7269c9,
	0x00000000, // size:  filled in
	0xd503201f, //        (alignment)
}

// branchARM64 fills in the operand of a b imm26, in units of four bytes.
func branchARM64(code []byte, distance int64) error {
	if distance%4 != 0 || distance < -1<<27 || distance >= 1<<27 {
		return fmt.Errorf("entry point is %d bytes away: want a multiple of 4 within 128 MiB", distance)
	}
	le.PutUint32(code, 0x14000000|uint32(distance/4)&0x03ffffff)
	return nil
}

// riscv64Code is a list of instructions, none of them compressed.
var riscv64Code = []uint32{
	0xfe010113, //        addi  sp, sp, -32
	0x00113c23, //        sd    ra, 24(sp)
	0x00a13823, //        sd    a0, 16(sp)
	0x00b13423, //        sd    a1, 8(sp)
	0x0605b283, //        ld    t0, 0x60(a1)             SystemTable->BootServices
	0x0982b283, //        ld    t0, 0x98(t0)             HandleProtocol
	0x00000597, //        auipc a1, 0
	0x05058593, //        addi  a1, a1, 80               guid
	0x00010613, //        mv    a2, sp
	0x000280e7, //        jalr  t0
	0x02051263, //        bnez  a0, enter
	0x00013283, //        ld    t0, 0(sp)
	0x00000317, //        auipc t1, 0
	0x04830313, //        addi  t1, t1, 72               size
	0x00032303, //        lw    t1, 0(t1)
	0x0262a823, //        sw    t1, 0x30(t0)             LoadOptionsSize
	0x00000317, //        auipc t1, 0
	0x04030313, //        addi  t1, t1, 64               options
	0x0262bc23, //        sd    t1, 0x38(t0)             LoadOptions
	0x00813583, // enter: ld    a1, 8(sp)
	0x01013503, //        ld    a0, 16(sp)
	0x01813083, //        ld    ra, 24(sp)
	0x02010113, //        addi  sp, sp, 32
	0x00000297, //        auipc t0, imm20                filled in
	0x00028067, //        jr    imm12(t0)                filled in
	0x00000013, //        nop   (alignment)
	0x5b1b31a1, // guid:
	0x11d29562,
	0xa0003f8e,
	0x3b7269c9,
	0x00000000, // size:  filled in
	0x00000000, //        (alignment)
}

// branchRISCV64 fills in the operands of an auipc, whose immediate is the upper
// 20 bits, and of the jalr behind it, which adds the lower 12 as a signed number.
func branchRISCV64(code []byte, distance int64) error {
	lower := int32(distance) << 20 >> 20
	upper := uint32(int32(distance) - lower)
	le.PutUint32(code, le.Uint32(code)|upper)
	le.PutUint32(code[4:], le.Uint32(code[4:])|uint32(lower)<<20)
	return nil
}

// words returns instructions as they lie in memory.
func words(instructions []uint32) string {
	var b strings.Builder
	for _, w := range instructions {
		b.Write(binary.LittleEndian.AppendUint32(nil, w))
	}
	return b.String()
}
