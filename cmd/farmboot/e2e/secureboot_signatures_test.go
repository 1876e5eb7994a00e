//go:build e2e && secureboot

package e2e_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"farmboot/setup/lab"
)

// inspect prints a line for each signature of each EFI program: the program's digest as
// virt-firmware computes it (Authenticode), whether that is the one which is signed, and
// the SHA-256 of the certificates that come along. virt-firmware checks no signature itself
// ("The pkcs7 signature itself is NOT verified", virt/peutils/pesign.py): sbverify does.
const inspect = `
import hashlib, sys, pefile
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from virt.peutils import pesign
for name in sys.argv[1:]:
    pe = pefile.PE(name)
    digest = pesign.pe_authenticode_hash(pe)
    for signature in pesign.pe_type2_signatures(pe):
        certificates = pkcs7.load_der_pkcs7_certificates(signature)
        print(digest.hex(), digest in signature, *[hashlib.sha256(c.public_bytes(Encoding.DER)).hexdigest() for c in certificates])
`

// TestSecureBootSignatures has others judge everything that we sign: sbverify each
// signature, virt-firmware what it is of, and by whose certificate.
func TestSecureBootSignatures(t *testing.T) {
	l := newLAN(t, lab.Options{})
	a, certificate := newSecureAppliance(t, l, settings{})
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	files := map[string]string{
		"kernel":                    a.download(t, "/kernel/net/prod.efi", at("kernel.efi")),
		"second stage":              a.download(t, "/boot/grubx64.efi", at("grubx64.efi")),
		"second stage, its driver":  a.download(t, "/boot/snp/grubx64.efi", at("snp.efi")),
		"uefi image":                a.download(t, "/uefi/prod/7", at("uefi.efi")),
		"snponly image":             a.download(t, "/snponly/prod/7", at("snponly.efi")),
		"provision image":           a.download(t, "/uefi-provision", at("provision.efi")),
		"image without a script":    a.download(t, "/uefi-generic", at("generic.efi")),
		"inside the disk":           at("disk.efi"),
		"inside the stick":          at("stick.efi"),
		"inside the disk in memory": at("memory.efi"),
		"beside the stick's boot":   at("tree.efi"),
	}
	const second = "EFI/BOOT/grubx64.efi"
	disk, memory := a.download(t, "/uefimg/prod/7", at("disk.img")), a.download(t, "/boot/enrol.img", at("memory.img"))
	tool(t, "mcopy", "-i", disk+"@@1M", "::"+second, files["inside the disk"])
	tool(t, "mcopy", "-i", memory+"@@1M", "::"+second, files["inside the disk in memory"])
	stick := a.download(t, "/usb/prod/7", at("stick.img"))
	tool(t, "mcopy", "-i", partitionOf(t, stick, 0xef), "::"+second, files["inside the stick"])
	tool(t, "xorriso", "-osirrox", "on", "-indev", stick, "-extract", "/EFI/BOOT/grubx64.efi", files["beside the stick's boot"])

	fingerprint := sha256.Sum256(certificate)
	for name, file := range files {
		t.Run(name, func(t *testing.T) {
			tool(t, "sbverify", "--cert", filepath.Join(a.dir, "exported", "farmboot.pem"), file)
			lines := virtFirmware(t, a.kernels, file)
			digest, rest, _ := strings.Cut(lines, " ")
			if strings.Count(lines, "\n") != 1 || rest != "True "+hex.EncodeToString(fingerprint[:])+"\n" {
				t.Errorf("virt-firmware reads its signatures as\n%s", lines)
			}
			// One byte more than was signed: another digest, which is not the one signed.
			program, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			program[len(program)/2] ^= 1
			if err := os.WriteFile(file, program, 0o644); err != nil {
				t.Fatal(err)
			}
			if lines := virtFirmware(t, a.kernels, file); strings.HasPrefix(lines, digest) || !strings.Contains(lines, " False ") {
				t.Errorf("virt-firmware takes another program for the one that is signed:\n%s", lines)
			}
		})
	}
}

// virtFirmware returns what [inspect] prints of a program. setup/virtfirmware.sh has put
// virt-firmware there; what it needs besides belongs to the distribution's Python.
func virtFirmware(t *testing.T, dir, file string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/usr/bin/python3", "-c", inspect, file)
	cmd.Env = append(os.Environ(), "PYTHONPATH="+filepath.Join(dir, "virt-firmware"))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("virt-firmware: %v: %s (setup/virtfirmware.sh gets it)", err, &stderr)
	}
	return string(out)
}

// partitionOf names the first partition of a type in the MBR of an image, as mtools do.
func partitionOf(t *testing.T, image string, kind byte) string {
	t.Helper()
	data, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	for entry := range 4 {
		e := data[446+16*entry:][:16]
		if e[4] == kind {
			return fmt.Sprintf("%s@@%d", image, 512*int64(binary.LittleEndian.Uint32(e[8:])))
		}
	}
	t.Fatalf("%s has no partition of type %#x", image, kind)
	return ""
}
