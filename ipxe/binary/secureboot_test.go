package binary_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"farmboot/ipxe/binary"
	"farmboot/provisioning"
	"farmboot/provisioning/filenames"
	"farmboot/setup/needs"
)

// TestSystemdBoot: what writes keys into firmware is taken where it can, and nothing else
// suffers where it cannot.
func TestSystemdBoot(t *testing.T) {
	dir := damaged(t, filenames.EFI, func(b []byte) []byte { return b })
	read := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join(needs.Template(t), name))
		if err != nil {
			t.Fatalf("%v: run make template", err)
		}
		return data
	}
	write := func(name string, data []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(filenames.Shim, read(filenames.Shim))
	write(filenames.MokManager, read(filenames.MokManager))
	good := read(binary.SystemdBoot)
	ids := map[string]bool{}
	for _, c := range []struct {
		name string
		data []byte
		want string // what is wrong; "": nothing
	}{
		{"missing", nil, "the iPXE template folder has no systemd-bootx64.efi: run setup/template.sh"},
		{"another program", read(filenames.SNPOnly), "found no secure-boot-enroll in it"},
		{"another processor", read(filenames.ARM64), "want an EFI program for x86-64"},
		{"text", []byte("#!/bin/sh"), "systemd-bootx64.efi in the iPXE template folder cannot be used"},
		{"good", good, ""},
	} {
		if c.data != nil {
			write(binary.SystemdBoot, c.data)
		}
		shims, err := binary.Load(dir).Shims()
		if err != nil {
			t.Fatalf("%s: shim is not taken: %v", c.name, err)
		}
		ids[shims.ID] = true
		if c.want == "" {
			if shims.NoSystemdBoot != nil || !bytes.Equal(shims.SystemdBoot, good) {
				t.Errorf("%s: %v", c.name, shims.NoSystemdBoot)
			}
			continue
		}
		if err := shims.NoSystemdBoot; shims.SystemdBoot != nil || provisioning.ErrorCode(err) != provisioning.Unavailable || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	if len(ids) != 2 {
		t.Errorf("with and without it the files have %d identifiers, want 2", len(ids))
	}
}
