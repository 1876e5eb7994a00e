// Package iso9660 writes hybrid boot images: one file that boots as a CD and as a
// stick or disk, on BIOS and on UEFI.
//
// The image is an ISO 9660 volume (ECMA-119) with one directory. Its El Torito
// boot catalog ("El Torito" Bootable CD-ROM Format Specification 1.0) names
// ISOLINUX for BIOS and a FAT volume for UEFI; its first sector is an MBR, with
// isohybrid boot code for BIOS and a partition that holds the same FAT volume for
// UEFI. [ReadFile] reads a file out of such an image.
package iso9660
