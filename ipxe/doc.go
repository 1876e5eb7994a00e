// Package ipxe renders what iPXE runs: boot scripts and the kernel command lines
// in them.
//
// Everything here is a function of its arguments alone: a [Target] in, a script out, the
// same bytes every time. The last scripts rendered are kept, to be filled in again for
// the next node. The iPXE binaries that run the scripts are in
// package ipxe/binary, the media that carry them in ipxe/image, and the kernels
// that they fetch in ipxe/kernel.
package ipxe
