# Real-mode code that gives a bzImage a default command line.
#
# The setup code is made to return here instead of to its own next instruction,
# with CS = DS = setup segment (which boot protocol fields are relative to) and
# free use of all other registers. It sets cmd_line_ptr to the text behind this
# code, unless the boot loader passed a command line of its own: words that boot
# loaders add by themselves do not count as one. Then it goes on where the setup
# code would have.
#
#	as --32 -o cmdline.o cmdline.S && objcopy -O binary -j .text cmdline.o cmdline.bin
#
# The Go side fills in the last word, "resume".

	.set	cmd_line_ptr, 0x228	# Linux boot protocol

	.code16
	.text
	call	here			# position independent: %bx = here
here:	popw	%bx
	cld
	movl	cmd_line_ptr, %edx
	testl	%edx, %edx
	jz	default
	movw	%dx, %di		# %es:%di = command line
	andw	$0xf, %di
	shrl	$4, %edx
	movw	%dx, %es
next:	movb	%es:(%di), %al
	testb	%al, %al
	jz	default			# the end, and nothing of its own
	cmpb	$' ', %al
	ja	word
	incw	%di
	jmp	next
word:	leaw	(image - here)(%bx), %si
	movw	$(initrd - image), %cx
	call	match
	je	skip
	leaw	(initrd - here)(%bx), %si
	movw	$(end - initrd), %cx
	call	match
	jne	leave			# a command line of its own: keep it
skip:	cmpb	$' ', %es:(%di)		# to the end of the word
	jbe	next
	incw	%di
	jmp	skip
match:	pushw	%di
	repe	cmpsb
	popw	%di
	ret
default:
	movw	%cs, %ax		# linear address of text
	movzwl	%ax, %eax
	shll	$4, %eax
	leaw	(text - here)(%bx), %dx
	movzwl	%dx, %edx
	addl	%edx, %eax
	movl	%eax, cmd_line_ptr
leave:	jmp	*(resume - here)(%bx)
image:	.ascii	"BOOT_IMAGE="
initrd:	.ascii	"initrd="
end:
	.balign 2, 0
resume:	.word	0			# filled in: where the setup code goes on
text:
