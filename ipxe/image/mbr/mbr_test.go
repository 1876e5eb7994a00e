package mbr_test

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"farmboot/ipxe/image/mbr"
)

// codeSize is how many bytes of boot code there is room for (UEFI 2.10, table 5.1).
const codeSize = 440

func TestEncode(t *testing.T) {
	sector, err := mbr.Encode([]byte("code"), [4]byte{1, 2, 3, 4},
		mbr.Partition{Active: true, Type: mbr.TypeEmpty, Start: 0, Sectors: 6144},
		mbr.Partition{Type: mbr.TypeEFISystem, Start: 1096, Sectors: 3980},
		mbr.Partition{Type: mbr.TypeGPTProtective, Start: 1, Sectors: 1<<32 - 1})
	if err != nil {
		t.Fatal(err)
	}
	if len(sector) != mbr.SectorSize || string(sector[:5]) != "code\x00" {
		t.Fatalf("%d bytes that start with %q", len(sector), sector[:5])
	}
	want := `01020304 0000
80 000100 00 3f2002 00000000 00180000
00 220900 ef 1e1402 48040000 8c0f0000
00 000200 ee feffff 01000000 ffffffff
00 000000 00 000000 00000000 00000000
55aa`
	if d := cmp.Diff(strings.NewReplacer(" ", "", "\n", "").Replace(want), hex.EncodeToString(sector[codeSize:])); d != "" {
		t.Error(d)
	}
}

func TestEncodeRefuses(t *testing.T) {
	if _, err := mbr.Encode(make([]byte, codeSize+1), [4]byte{}); err == nil {
		t.Error("too much boot code gives no error")
	}
	if _, err := mbr.Encode(nil, [4]byte{}, make([]mbr.Partition, 5)...); err == nil {
		t.Error("five partitions give no error")
	}
}
