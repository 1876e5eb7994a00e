// UEFI entry point for AArch64: makes the text behind it the image's
// LoadOptions, then goes on to the original entry point. Position independent.
//
// Registers by the UEFI calling convention (UEFI 2.10, 2.3.6.4):
// x0 = ImageHandle, x1 = SystemTable.
//
//	aarch64-linux-gnu-as -o arm64.o arm64.S && objcopy -O binary -j .text arm64.o arm64.bin
//
// The Go side fills in the operand of the last "b" and the LoadOptionsSize.

	.text
	stp	x29, x30, [sp, #-48]!
	mov	x29, sp
	stp	x0, x1, [sp, #16]
	ldr	x9, [x1, #0x60]		// SystemTable->BootServices
	ldr	x9, [x9, #0x98]		// BootServices->HandleProtocol
	adr	x1, guid
	add	x2, sp, #32		// &loadedImage
	blr	x9			// HandleProtocol (ImageHandle, &guid, &loadedImage)
	cbnz	x0, enter
	ldr	x9, [sp, #32]
	ldr	w10, size
	str	w10, [x9, #0x30]	// loadedImage->LoadOptionsSize
	adr	x10, options
	str	x10, [x9, #0x38]	// loadedImage->LoadOptions
enter:	ldp	x0, x1, [sp, #16]
	ldp	x29, x30, [sp], #48
jump:	b	jump			// filled in: original entry point
	.balign	8
guid:	.byte	0xa1,0x31,0x1b,0x5b,0x62,0x95,0xd2,0x11,0x8e,0x3f,0x00,0xa0,0xc9,0x69,0x72,0x3b
size:	.long	0			// filled in: LoadOptionsSize, in bytes
	.balign	8
options:
