package oui

import (
	"os"
	"path/filepath"
	"testing"

	"farmboot/provisioning"
)

func TestMaker(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"oui.csv":   "Registry,Assignment,Organization Name,Organization Address\r\nMA-L,70B3D5,IEEE Registration Authority,x\r\nMA-L,002272,\"American Micro-Fuel, Device Corp.\",\"2181 Buchanan Loop\"\r\n",
		"mam.csv":   "Registry,Assignment,Organization Name,Organization Address\r\nMA-M,208593B,IOG Products LLC,x\r\n",
		"oui36.csv": "Registry,Assignment,Organization Name,Organization Address\r\nMA-S,70B3D5F2F,TELEPLATFORMS,x\r\n\"broken",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	makers := Open(dir)
	for text, want := range map[string]string{
		"00:22:72:01:02:03": "American Micro-Fuel, Device Corp.",
		"70:b3:d5:f2:f1:23": "TELEPLATFORMS",
		"70:b3:d5:00:01:23": "IEEE Registration Authority",
		"20:85:93:b0:00:01": "IOG Products LLC",
		"20:85:93:c0:00:01": "",
		"52:54:00:00:00:01": "QEMU virtual machine",
		"06:54:00:00:00:01": "",
	} {
		mac, err := provisioning.ParseMAC(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := makers.Maker(mac); got != want {
			t.Errorf("%s: %q, want %q", mac, got, want)
		}
	}
	if got := Open(filepath.Join(dir, "absent")).Maker(provisioning.MAC{0, 0x22, 0x72}); got != "" {
		t.Errorf("without lists: %q", got)
	}
}
