//go:build e2e && secureboot

package e2e_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"farmboot/ipxe/binary"
	"farmboot/provisioning/filenames"
	"farmboot/setup/ca"
	"farmboot/setup/lab"
)

// TestSecureBootPair boots iPXE's own signed pair as an operator would put it into the
// template folder: served untouched, with our script as autoexec.ipxe beside it. No
// distribution has the pair, so a key of the test signs one, which the firmware trusts; in
// place of the pair's shim stands an iPXE that starts the ipxe.efi beside it, as that does.
func TestSecureBootPair(t *testing.T) {
	p, err := places()
	if err != nil {
		t.Fatal(err)
	}
	keys, err := ca.OpenSigning(t.TempDir(), time.Now).Keys()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	read := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join(p.template, name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	pair := signedBy(t, read(filenames.EFI), keys[0])
	starts := "#!ipxe\ndhcp || shell\nchain tftp://" + lab.FirstHost.String() + "/ipxe.efi || shell\n"
	standIn, err := binary.Load(p.template).NBP(filenames.EFI, []byte(starts))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{filenames.EFI: pair, filenames.IPXEShim: signedBy(t, standIn.Bytes(), keys[0])}
	for _, name := range []string{filenames.Undionly, binary.Kernel, filenames.SNPOnly, binary.ISO} {
		files[name] = read(name)
	}
	for name, program := range files {
		if err := os.WriteFile(filepath.Join(dir, name), program, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("FARMBOOT_TEMPLATE", dir)
	l := newLAN(t, lab.Options{})
	a, certificate := newSecureAppliance(t, l, settings{})
	served, err := os.ReadFile(a.download(t, "/boot/ipxe.efi", filepath.Join(t.TempDir(), "served")))
	if err != nil || !bytes.Equal(served, pair) {
		t.Errorf("the pair's ipxe.efi is served as another file (%v)", err)
	}
	m := secureNode(mac(1))
	m.DB = [][]byte{certificate, keys[0].Cert.Raw}
	n := powerOn(t, l, m)
	a.logs(t, `stage=nbp .*ipxe-shimx64\.efi`)
	n.sees(t, secured)
	n.boots(t, kernelArgs+" runmode=prod")
	tells(t, a.farmboot(t, "node", "show", n.mac), nbp+" ipxe.efi", script, kernel)
}
