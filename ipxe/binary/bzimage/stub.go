package bzimage

// stub is real-mode code that sets cmd_line_ptr to the text that follows it,
// unless the boot loader passed a command line of its own, and then jumps to the
// offset in its last word. Its source, and how it becomes these bytes, is
// stub/cmdline.S; a test assembles it.
//
// Loaders add words by themselves: ISOLINUX, PXELINUX and GRUB always pass
// BOOT_IMAGE=…, some initrd=…, and QEMU passes an empty line. Those do not count
// as a command line.
const stub = "\xe8\x00\x00" + //       call here
	"\x5b" + //                 here:  pop  %bx
	"\xfc" + //                        cld
	"\x66\x8b\x16\x28\x02" + //        mov  cmd_line_ptr, %edx
	"\x66\x85\xd2" + //                test %edx, %edx
	"\x74\x3f" + //                    jz   default
	"\x89\xd7" + //                    mov  %dx, %di            %es:%di = command line
	"\x83\xe7\x0f" + //                and  $0xf, %di
	"\x66\xc1\xea\x04" + //            shr  $4, %edx
	"\x8e\xc2" + //                    mov  %dx, %es
	"\x26\x8a\x05" + //         next:  mov  %es:(%di), %al
	"\x84\xc0" + //                    test %al, %al
	"\x74\x2d" + //                    jz   default
	"\x3c\x20" + //                    cmp  $' ', %al
	"\x77\x03" + //                    ja   word
	"\x47" + //                        inc  %di
	"\xeb\xf2" + //                    jmp  next
	"\x8d\xb7\x68\x00" + //     word:  lea  image(%bx), %si
	"\xb9\x0b\x00" + //                mov  $11, %cx
	"\xe8\x17\x00" + //                call match
	"\x74\x0c" + //                    je   skip
	"\x8d\xb7\x73\x00" + //            lea  initrd(%bx), %si
	"\xb9\x07\x00" + //                mov  $7, %cx
	"\xe8\x0b\x00" + //                call match
	"\x75\x27" + //                    jne  leave
	"\x26\x80\x3d\x20" + //     skip:  cmpb $' ', %es:(%di)
	"\x76\xd4" + //                    jbe  next
	"\x47" + //                        inc  %di
	"\xeb\xf7" + //                    jmp  skip
	"\x57" + //                 match: push %di
	"\xf3\xa6" + //                    repe cmpsb
	"\x5f" + //                        pop  %di
	"\xc3" + //                        ret
	"\x8c\xc8" + //           default: mov  %cs, %ax            linear address of text
	"\x66\x0f\xb7\xc0" + //            movzwl %ax, %eax
	"\x66\xc1\xe0\x04" + //            shl  $4, %eax
	"\x8d\x97\x7d\x00" + //            lea  text(%bx), %dx
	"\x66\x0f\xb7\xd2" + //            movzwl %dx, %edx
	"\x66\x01\xd0" + //                add  %edx, %eax
	"\x66\xa3\x28\x02" + //            mov  %eax, cmd_line_ptr
	"\xff\xa7\x7b\x00" + //     leave: jmp  *resume(%bx)
	"BOOT_IMAGE=" + //          image:
	"initrd=" + //             initrd:
	"\x00" + //                        (alignment)
	"\x00\x00" //              resume: filled in
