// Package ipxe renders what iPXE runs: boot scripts and the kernel command lines
// in them.
//
// Everything here is a pure function of its arguments: a [Target] in, a script
// out, the same bytes every time. The iPXE binaries that run the scripts are in
// package ipxe/binary, the media that carry them in ipxe/image, and the kernels
// that they fetch in ipxe/kernel.
package ipxe
