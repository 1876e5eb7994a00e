package image

import (
	"crypto/sha256"
	"encoding/binary"
	"maps"
	"slices"

	"farmboot/ipxe/image/fat"
	"farmboot/ipxe/image/gpt"
	"farmboot/ipxe/segment"
)

// loaderConfig makes systemd-boot (252 and newer) write the keys of loader/keys/auto into
// firmware that is in Setup Mode, and start the machine anew.
const loaderConfig = "timeout 0\nsecure-boot-enroll force\n"

// KeyDisk returns the image of a disk from which x64 firmware in Setup Mode takes new
// keys, without a person: systemd-boot writes the updates (UEFI 2.10, 8.2.2), by file name:
// db.auth, KEK.auth, PK.auth. Firmware that is not in Setup Mode keeps its keys.
func KeyDisk(systemdBoot []byte, updates map[string][]byte) (*segment.File, error) {
	h := sha256.New()
	v := fat.Volume{
		Label: fatLabel, Hidden: gpt.Start, ClusterSize: 512, MinClusters: fat.MinFAT16,
		Files: []fat.File{
			{Path: "EFI/BOOT/BOOTX64.EFI", Data: segment.Of(systemdBoot)},
			{Path: "loader/loader.conf", Data: segment.Of([]byte(loaderConfig))},
		},
	}
	for _, name := range slices.Sorted(maps.Keys(updates)) {
		v.Files = append(v.Files, fat.File{Path: "loader/keys/auto/" + name, Data: segment.Of(updates[name])})
		h.Write(updates[name])
	}
	id := [32]byte(h.Sum(nil))
	v.ID = binary.LittleEndian.Uint32(id[:])
	partition, err := v.Build()
	if err != nil {
		return nil, err
	}
	return espDisk(id, partition)
}
