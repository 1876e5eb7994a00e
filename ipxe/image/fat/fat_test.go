package fat_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"farmboot/ipxe/image/fat"
	"farmboot/ipxe/image/oracle"
	"farmboot/ipxe/segment"
)

func of(s string) *segment.File { return segment.Of([]byte(s)) }

// TestAnyFiles lets fsck.fat check volumes and mtools read them.
func TestAnyFiles(t *testing.T) {
	oracle.Need(t, "fsck.fat", "mtype")
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		v := fat.Volume{
			Label:       "FARMBOOT",
			ID:          rapid.Uint32().Draw(t, "ID"),
			ClusterSize: rapid.SampledFrom([]int{512, 1024, 2048, 4096, 32 << 10}).Draw(t, "cluster size"),
			MinClusters: rapid.SampledFrom([]int{0, 3000, fat.MinFAT16}).Draw(t, "clusters"),
			Free:        rapid.Int64Range(0, 100_000).Draw(t, "free"),
		}
		contents := map[string][]byte{}
		for range rapid.IntRange(0, 4).Draw(t, "files") {
			path := rapid.StringMatching(`([a-z]{1,8}/|EFI/BOOT/|)[A-Za-z0-9_-]{1,30}(\.[A-Za-z]{1,5}){0,2}`).Draw(t, "path")
			if clashes(contents, path) {
				continue
			}
			data := bytes.Repeat(rapid.SliceOfN(rapid.Byte(), 1, 50).Draw(t, "data"), rapid.IntRange(0, 2000).Draw(t, "times"))
			contents[path] = data
			v.Files = append(v.Files, fat.File{Path: path, Data: segment.Of(data)})
		}
		f, err := v.Build()
		if err != nil {
			t.Fatal(err)
		}
		image := oracle.Write(t, dir, f)
		report := oracle.Run(t, "fsck.fat", "-n", "-v", image)
		bits := "12 bit entries"
		if v.MinClusters >= fat.MinFAT16 {
			bits = "16 bit entries"
		}
		if !strings.Contains(report, bits) {
			t.Fatalf("fsck.fat does not say %q:\n%s", bits, report)
		}
		for path, want := range contents {
			if got := oracle.Run(t, "mtype", "-i", image, "::"+path); got != string(want) {
				t.Fatalf("%s has %d bytes of %d, or others", path, len(got), len(want))
			}
		}
	})
}

// clashes tells whether path is one of those taken, above one, or below one.
func clashes(taken map[string][]byte, path string) bool {
	for other := range taken {
		a, b := strings.ToUpper(other)+"/", strings.ToUpper(path)+"/"
		if strings.HasPrefix(a, b) || strings.HasPrefix(b, a) {
			return true
		}
	}
	return false
}

func TestNamesAndFreeSpace(t *testing.T) {
	oracle.Need(t, "mdir")
	v := fat.Volume{Label: "farmboot", ID: 0x12345678, ClusterSize: 512, Free: 10_000, Files: []fat.File{
		{Path: "EFI/BOOT/BOOTX64.EFI", Data: of("x64")},
		{Path: "efi/boot/BOOTAA64.EFI", Data: of("arm64")},
		{Path: "autoexec.ipxe", Data: of("#!ipxe\n")},
		{Path: "autoexec.ipxe.old", Data: of("#!ipxe\n")},
		{Path: "empty", Data: of("")},
	}}
	f, err := v.Build()
	if err != nil {
		t.Fatal(err)
	}
	image := oracle.Write(t, t.TempDir(), f)
	var got []string
	for line := range strings.Lines(oracle.Run(t, "mdir", "-/", "-i", image, "::")) {
		if line = strings.Join(strings.Fields(line), " "); line != "" {
			got = append(got, line)
		}
	}
	want := `Volume in drive : is FARMBOOT
Volume Serial Number is 1234-5678
Directory for ::/
EFI <DIR> 2025-01-01 0:00
AUTOEX~1 IPX 7 2025-01-01 0:00 autoexec.ipxe
AUTOEX~1 OLD 7 2025-01-01 0:00 autoexec.ipxe.old
EMPTY~1 0 2025-01-01 0:00 empty
4 files 14 bytes
Directory for ::/EFI
. <DIR> 2025-01-01 0:00
.. <DIR> 2025-01-01 0:00
BOOT <DIR> 2025-01-01 0:00
3 files 0 bytes
Directory for ::/EFI/BOOT
. <DIR> 2025-01-01 0:00
.. <DIR> 2025-01-01 0:00
BOOTX64 EFI 3 2025-01-01 0:00
BOOTAA64 EFI 5 2025-01-01 0:00
4 files 8 bytes
Total files listed:
11 files 22 bytes
10 240 bytes free`
	if got := strings.Join(got, "\n"); got != want {
		t.Errorf("mdir says\n%s\nwant\n%s", got, want)
	}
}

// TestManyClusters walks over the limit between FAT12 and FAT16.
func TestManyClusters(t *testing.T) {
	dir := t.TempDir()
	for _, clusters := range []int64{1, 2, 339, 340, 341, 4068, 4069, 4070, 4084, 4085, 5000, 65509} {
		f, err := fat.Volume{Label: "A", ClusterSize: 512, Files: []fat.File{{Path: "A", Data: zeros(t, clusters*512)}}}.Build()
		if err != nil {
			t.Errorf("%d clusters: %v", clusters, err)
			continue
		}
		oracle.Run(t, "fsck.fat", "-n", oracle.Write(t, dir, f))
	}
	if _, err := (fat.Volume{Label: "A", ClusterSize: 512, Files: []fat.File{{Path: "A", Data: zeros(t, 65510*512)}}}).Build(); err == nil || !strings.Contains(err.Error(), "at most 65509 fit") {
		t.Errorf("65510 clusters: error = %v, want one that says what fits", err)
	}
}

func zeros(t *testing.T, size int64) *segment.File {
	var b segment.Builder
	b.PadTo(size)
	f, err := b.File()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestBuildRefuses(t *testing.T) {
	similar := make([]fat.File, 10)
	for i := range similar {
		similar[i] = fat.File{Path: fmt.Sprintf("autoexec%d.ipxe", i), Data: of("")}
	}
	many := make([]fat.File, 4096)
	for i := range many {
		many[i] = fat.File{Path: fmt.Sprintf("F%d", i), Data: of("")}
	}
	for _, tt := range []struct {
		name    string
		cluster int
		files   []fat.File
		want    string
	}{
		{"no cluster size", 0, nil, "want a power of two from 512 to 32768"},
		{"odd cluster size", 3000, nil, "FAT cluster of 3000 bytes"},
		{"absolute", 512, []fat.File{{Path: "/A", Data: of("")}}, `FAT path "/A"`},
		{"upwards", 512, []fat.File{{Path: "../A", Data: of("")}}, `FAT path "../A"`},
		{"no name", 512, []fat.File{{Path: "", Data: of("")}}, `FAT path ""`},
		{"backslash", 512, []fat.File{{Path: `a\b`, Data: of("")}}, "want printable ASCII, found '\\\\'"},
		{"umlaut", 512, []fat.File{{Path: "ä/b", Data: of("")}}, "want printable ASCII, found 'ä'"},
		{"long name", 512, []fat.File{{Path: strings.Repeat("a", 201), Data: of("")}}, "want at most 200 characters"},
		{"twice", 512, []fat.File{{Path: "a/B", Data: of("")}, {Path: "A/b", Data: of("")}}, "two files of the name b"},
		{"file as directory", 512, []fat.File{{Path: "a", Data: of("")}, {Path: "A/b", Data: of("")}}, "two files of the name A"},
		{"similar names", 512, similar, "more than 9 names like autoexec9.ipxe"},
		{"large root directory", 512, many, "FAT root directory of"},
	} {
		if _, err := (fat.Volume{Label: "A", ClusterSize: tt.cluster, Files: tt.files}).Build(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: error = %v\nwant one with %q", tt.name, err, tt.want)
		}
	}
}

func TestLabel(t *testing.T) {
	for label, fits := range map[string]bool{"": false, "A": true, "ELEVEN CHAR": true, "TWELVE CHARS": false} {
		if _, err := (fat.Volume{Label: label, ClusterSize: 512}).Build(); (err == nil) != fits {
			t.Errorf("label %q: error = %v", label, err)
		}
	}
}
