package image

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"strings"
	"time"

	ipxebinary "farmboot/ipxe/binary"
	"farmboot/ipxe/image/fat"
	"farmboot/ipxe/image/gpt"
	"farmboot/ipxe/image/iso9660"
	"farmboot/ipxe/segment"
	"farmboot/provisioning/filenames"
)

const (
	fatLabel  = "FARMBOOT"
	isoVolume = "FARMBOOT"

	// isolinuxConfig makes ISOLINUX start iPXE with the script as its initrd, which
	// iPXE runs.
	isolinuxConfig = "DEFAULT ipxe\nPROMPT 0\nLABEL ipxe\n LINUX /ipxe.krn\n INITRD /autoexec.ipx\n"

	// editRoom is free space for those who edit a script on a disk image.
	editRoom = 64 << 10
)

// fixedTime is the date of all files.
var fixedTime = time.Date(2025, time.January, 1, 0, 0, 0, 0, time.UTC)

// hybrid returns the image for CD, stick and disk. BIOS starts iPXE through
// ISOLINUX; UEFI starts it from the EFI system partition inside.
func (r Recipe) hybrid(t *ipxebinary.Template, script []byte) (*segment.File, error) {
	blocks, err := t.BootBlocks()
	if err != nil {
		return nil, err
	}
	kernel, err := t.Plain(ipxebinary.Kernel)
	if err != nil {
		return nil, err
	}
	partition, err := r.systemPartition(t, script, fat.Volume{ClusterSize: 2048})
	if err != nil {
		return nil, err
	}
	// What is in the partition is in the tree of the CD too: people copy its files to a
	// stick with FAT on it.
	programs, err := r.bootPrograms(t, script)
	if err != nil {
		return nil, err
	}
	copied := []iso9660.File{{Name: strings.ToUpper(filenames.Autoexec), Data: segment.Of(script)}}
	for _, p := range programs {
		copied = append(copied, iso9660.File{Name: p.Path, Data: p.Data})
	}
	id := identity(script)
	return iso9660.Volume{
		ID:       isoVolume,
		DiskID:   [4]byte(id[:]),
		Time:     fixedTime,
		MBR:      blocks.MBR,
		Isolinux: blocks.Isolinux,
		EFI:      partition,
		Files: append([]iso9660.File{
			{Name: "ISOLINUX.CFG", Data: segment.Of([]byte(isolinuxConfig))},
			{Name: "LDLINUX.C32", Data: segment.Of(blocks.Ldlinux)},
			{Name: "IPXE.KRN", Data: kernel},
			{Name: "AUTOEXEC.IPX", Data: segment.Of(script)},
		}, copied...),
	}.Build()
}

// disk returns the image of a disk with an EFI system partition. FAT16 with small
// clusters: some firmware takes no FAT12 from a hard disk, and FAT32 would need 34
// MB.
func (r Recipe) disk(t *ipxebinary.Template, script []byte) (*segment.File, error) {
	partition, err := r.systemPartition(t, script, fat.Volume{
		Hidden:      gpt.Start,
		ClusterSize: 512,
		MinClusters: fat.MinFAT16,
		Free:        editRoom,
	})
	if err != nil {
		return nil, err
	}
	return espDisk(identity(script), partition)
}

// espDisk returns the image of a disk whose only partition is an EFI system partition.
// Its GUIDs are made of id.
func espDisk(id [32]byte, partition *segment.File) (*segment.File, error) {
	return gpt.Disk{
		DiskGUID:      gpt.NewGUID([16]byte(id[:16])),
		PartitionGUID: gpt.NewGUID([16]byte(id[16:])),
		Name:          "EFI System",
		Partition:     partition,
	}.Build()
}

// removable is where UEFI looks for its boot program on removable media (UEFI 2.10,
// table 3.2).
var removable = map[string]string{
	filenames.EFI:   "EFI/BOOT/BOOTX64.EFI",
	filenames.ARM64: "EFI/BOOT/BOOTAA64.EFI",
}

// bootPrograms returns those of the files that UEFI boots from removable media. A template
// without the AArch64 binary makes media without it.
func (r Recipe) bootPrograms(t *ipxebinary.Template, script []byte) (programs []fat.File, err error) {
	for _, name := range r.Files {
		path, ok := removable[name]
		if !ok {
			continue
		}
		if name == filenames.EFI && r.Chain != nil {
			chain, err := r.chainFiles(t, path, script)
			if err != nil {
				return nil, err
			}
			programs = append(programs, chain...)
			continue
		}
		switch program, err := t.Plain(name); {
		case err == nil:
			programs = append(programs, fat.File{Path: path, Data: program})
		case name != filenames.ARM64 || !errors.Is(err, fs.ErrNotExist):
			return nil, err
		}
	}
	return programs, nil
}

// systemPartition fills a volume with the boot programs, and the script, which all of
// them run.
func (r Recipe) systemPartition(t *ipxebinary.Template, script []byte, v fat.Volume) (*segment.File, error) {
	programs, err := r.bootPrograms(t, script)
	if err != nil {
		return nil, err
	}
	v.Files = append(programs, fat.File{Path: filenames.Autoexec, Data: segment.Of(script)})
	id := identity(script)
	v.Label = fatLabel
	v.ID = binary.LittleEndian.Uint32(id[4:])
	return v.Build()
}

// chainFiles returns what x64 firmware with Secure Boot boots: shim at that path, and beside
// it our iPXE, signed, with the script inside; nothing there may be edited. MokManager
// and our certificate are for a person to make the machine trust that.
func (r Recipe) chainFiles(t *ipxebinary.Template, path string, script []byte) ([]fat.File, error) {
	second, program, err := pairsSecond, (*segment.File)(nil), error(nil)
	if r.Chain.Pair { // takes its script from beside it
		program, err = t.Plain(filenames.EFI)
	} else {
		second = secondStage
		if program, err = t.NBP(filenames.EFI, script); err == nil {
			program, err = r.sign(t, filenames.EFI, script, program)
		}
	}
	if err != nil {
		return nil, err
	}
	files := []fat.File{{Path: path, Data: r.Chain.Shim}, {Path: second, Data: program}}
	if r.Chain.MokManager != nil {
		files = append(files, fat.File{Path: mokManager, Data: r.Chain.MokManager})
	}
	return append(files, fat.File{Path: certificateFile, Data: segment.Of(r.Chain.Certificate)}), nil
}
