package image_test

import (
	"bytes"
	"strings"
	"testing"

	"farmboot/ipxe/image"
	"farmboot/ipxe/image/gpt"
	"farmboot/ipxe/image/oracle"
	"farmboot/ipxe/segment"
)

// TestKeyDisk: systemd-boot finds its settings and our keys on the disk.
func TestKeyDisk(t *testing.T) {
	oracle.Need(t, "sgdisk", "fsck.fat", "mtype")
	program := bytes.Repeat([]byte("systemd-boot"), 12000)
	updates := map[string][]byte{"db.auth": []byte("certificates"), "KEK.auth": []byte("key"), "PK.auth": []byte("owner")}
	f, err := image.KeyDisk(program, updates)
	if err != nil {
		t.Fatal(err)
	}
	again, err := image.KeyDisk(program, updates)
	if err != nil || again.SHA256() != f.SHA256() {
		t.Errorf("another disk the second time: %v", err)
	}
	dir := t.TempDir()
	disk := oracle.Write(t, dir, f)
	if report := oracle.Run(t, "sgdisk", "--verify", disk); !strings.Contains(report, "No problems found") {
		t.Errorf("sgdisk finds problems:\n%s", report)
	}
	for path, want := range map[string]string{
		"EFI/BOOT/BOOTX64.EFI":      string(program),
		"loader/loader.conf":        "timeout 0\nsecure-boot-enroll force\n",
		"loader/keys/auto/db.auth":  "certificates",
		"loader/keys/auto/KEK.auth": "key",
		"loader/keys/auto/PK.auth":  "owner",
	} {
		if got := oracle.Run(t, "mtype", "-i", disk+"@@1M", "::"+path); got != want {
			t.Errorf("%s holds %d bytes of %d, or others", path, len(got), len(want))
		}
	}
	partition := f.Bytes()[gpt.Start*512 : f.Size()-33*512]
	oracle.Run(t, "fsck.fat", "-n", oracle.Write(t, dir, segment.Of(partition)))
}
