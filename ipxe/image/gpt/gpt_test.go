package gpt_test

import (
	"bytes"
	"strings"
	"testing"

	"farmboot/ipxe/image/gpt"
	"farmboot/ipxe/image/oracle"
	"farmboot/ipxe/segment"
)

func TestDisk(t *testing.T) {
	oracle.Need(t, "sgdisk")
	dir := t.TempDir()
	for _, sectors := range []int{1, 2013, 2014, 2015, 6144, 10_000} {
		partition := bytes.Repeat([]byte("farmboot"), sectors*512/8)
		f, err := gpt.Disk{
			DiskGUID:      gpt.NewGUID([16]byte{0x11, 0x22, 0x33, 0x44, 15: 0x55}),
			PartitionGUID: gpt.NewGUID([16]byte{0x66}),
			Name:          "EFI System",
			Partition:     segment.Of(partition),
		}.Build()
		if err != nil {
			t.Fatal(err)
		}
		if f.Size()%(1<<20) != 0 {
			t.Errorf("%d sectors: the disk has %d bytes, want whole MiB", sectors, f.Size())
		}
		image := oracle.Write(t, dir, f)
		if report := oracle.Run(t, "sgdisk", "--verify", image); !strings.Contains(report, "No problems found") {
			t.Errorf("%d sectors: sgdisk finds problems:\n%s", sectors, report)
		}
		report := oracle.Run(t, "sgdisk", "--print", "--info=1", image)
		for _, want := range []string{
			"Disk identifier (GUID): 44332211-0000-8000-8000-000000000055",
			"Partition GUID code: C12A7328-F81F-11D2-BA4B-00A0C93EC93B (EFI system partition)",
			"Partition unique GUID: 00000066-0000-8000-8000-000000000000",
			"First sector: 2048 (at 1024.0 KiB)",
			"Partition name: 'EFI System'",
		} {
			if !strings.Contains(report, want) {
				t.Errorf("%d sectors: sgdisk does not say %q:\n%s", sectors, want, report)
			}
		}
		if got := f.Bytes()[gpt.Start*512:][:len(partition)]; !bytes.Equal(got, partition) {
			t.Errorf("%d sectors: the partition has other bytes", sectors)
		}
	}
}

func TestDiskRefuses(t *testing.T) {
	for _, size := range []int{0, 1, 513} {
		if _, err := (gpt.Disk{Partition: segment.Of(make([]byte, size))}).Build(); err == nil || !strings.Contains(err.Error(), "want whole sectors") {
			t.Errorf("a partition of %d bytes: error = %v", size, err)
		}
	}
}
