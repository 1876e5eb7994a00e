# UEFI entry point for x86-64: makes the text behind it the image's
# LoadOptions, then goes on to the original entry point. Position independent.
#
# Registers by the UEFI calling convention (UEFI 2.10, 2.3.4.1):
# rcx = ImageHandle, rdx = SystemTable; 32 bytes of shadow space for callees.
#
#	as --64 -o amd64.o amd64.S && objcopy -O binary -j .text amd64.o amd64.bin
#
# The Go side fills in the operand of "jmp" and the LoadOptionsSize.

	.intel_syntax noprefix
	.text
	push	rcx
	push	rdx
	sub	rsp, 0x28
	mov	rax, [rdx + 0x60]	# SystemTable->BootServices
	lea	rdx, [rip + guid]
	lea	r8, [rsp + 0x20]	# &loadedImage
	call	[rax + 0x98]		# HandleProtocol (ImageHandle, &guid, &loadedImage)
	test	rax, rax
	jnz	enter
	mov	rax, [rsp + 0x20]
	mov	ecx, [rip + size]
	mov	[rax + 0x30], ecx	# loadedImage->LoadOptionsSize
	lea	rcx, [rip + options]
	mov	[rax + 0x38], rcx	# loadedImage->LoadOptions
enter:	add	rsp, 0x28
	pop	rdx
	pop	rcx
	.byte	0xe9			# jmp rel32
	.long	0			# filled in: original entry point
	.balign	8, 0
guid:	.byte	0xa1,0x31,0x1b,0x5b,0x62,0x95,0xd2,0x11,0x8e,0x3f,0x00,0xa0,0xc9,0x69,0x72,0x3b
size:	.long	0			# filled in: LoadOptionsSize, in bytes
	.balign	8, 0
options:
