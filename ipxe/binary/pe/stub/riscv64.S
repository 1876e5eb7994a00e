# UEFI entry point for RISC-V: makes the text behind it the image's
# LoadOptions, then goes on to the original entry point. Position independent.
#
# Registers by the UEFI calling convention (UEFI 2.10, 2.3.7.3):
# a0 = ImageHandle, a1 = SystemTable.
#
#	riscv64-linux-gnu-as -march=rv64g -mno-relax -o riscv64.o riscv64.S
#	riscv64-linux-gnu-ld -Ttext=0 -o riscv64.elf riscv64.o
#	riscv64-linux-gnu-objcopy -O binary -j .text riscv64.elf riscv64.bin
#
# The Go side fills in the operands of the last "auipc" and "jr" and the
# LoadOptionsSize.

	.option	norvc
	.text
	.globl	_start
_start:	addi	sp, sp, -32
	sd	ra, 24(sp)
	sd	a0, 16(sp)
	sd	a1, 8(sp)
	ld	t0, 0x60(a1)		# SystemTable->BootServices
	ld	t0, 0x98(t0)		# BootServices->HandleProtocol
	lla	a1, guid
	mv	a2, sp			# &loadedImage
	jalr	t0			# HandleProtocol (ImageHandle, &guid, &loadedImage)
	bnez	a0, enter
	ld	t0, 0(sp)
	lla	t1, size
	lw	t1, 0(t1)
	sw	t1, 0x30(t0)		# loadedImage->LoadOptionsSize
	lla	t1, options
	sd	t1, 0x38(t0)		# loadedImage->LoadOptions
enter:	ld	a1, 8(sp)
	ld	a0, 16(sp)
	ld	ra, 24(sp)
	addi	sp, sp, 32
	auipc	t0, 0			# filled in: original entry point, upper 20 bits
	jr	0(t0)			# filled in: lower 12 bits
	.balign	8
guid:	.byte	0xa1,0x31,0x1b,0x5b,0x62,0x95,0xd2,0x11,0x8e,0x3f,0x00,0xa0,0xc9,0x69,0x72,0x3b
size:	.long	0			# filled in: LoadOptionsSize, in bytes
	.balign	8, 0
options:
