//go:build e2e

package e2e_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"farmboot/setup/lab"
)

// TestImages boots every kind of image, each on the media and firmware that it
// is for, with the kernel fetched over plain HTTP.
func TestImages(t *testing.T) {
	l := newLAN(t, lab.Options{})
	a := newAppliance(t, l, settings{})
	const (
		path = "prod/1234/zos-debug%20a=b___c"
		want = kernelArgs + " runmode=prod farmer_id=1234 zos-debug a=b/c"
	)
	dir := t.TempDir()
	file := func(kind string) string { return a.download(t, "/"+kind+"/"+path, filepath.Join(dir, kind)) }
	iso, krn := file("iso"), file("krn")
	// snponly drives the one network card that it was loaded over, so it cannot be
	// on a stick: another iPXE loads it.
	snponly := stick(t, filepath.Join(a.template, "ipxe.efi"),
		"#!ipxe\ndhcp && chain "+a.url("/snponly/"+path)+"\n")

	for i, c := range []struct {
		name    string
		machine lab.Machine
	}{
		{"iso as CD, BIOS", lab.Machine{Firmware: lab.BIOS, CD: iso}},
		{"iso as CD, UEFI", lab.Machine{Firmware: lab.UEFI, CD: iso}},
		{"iso as stick, BIOS", lab.Machine{Firmware: lab.BIOS, USB: iso}},
		{"iso as stick, UEFI", lab.Machine{Firmware: lab.UEFI, USB: iso}},
		{"files of the iso on a stick, UEFI", lab.Machine{Firmware: lab.UEFI, USB: copied(t, iso)}},
		{"usb, BIOS", lab.Machine{Firmware: lab.BIOS, USB: file("usb")}},
		{"uefimg", lab.Machine{Firmware: lab.UEFI, USB: file("uefimg")}},
		{"uefi alone", lab.Machine{Firmware: lab.UEFI, USB: stick(t, file("uefi"), "")}},
		{"snponly, chained", lab.Machine{Firmware: lab.UEFI, USB: snponly}},
		{"krn", lab.Machine{Firmware: lab.BIOS, Kernel: krn}},
		{"krn from ISOLINUX", lab.Machine{Firmware: lab.BIOS, CD: isolinux(t, krn)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := c.machine
			m.NICs = []lab.NIC{{MAC: mac(i + 1), NoROM: true}}
			powerOn(t, l, m).boots(t, want)
		})
	}

	t.Run("usb, arm64", func(t *testing.T) {
		t.Parallel()
		m := arm64Node(mac(200))
		m.USB = a.download(t, "/usb/prod/1234/console=ttyAMA0/vmlinuz-arm64", filepath.Join(dir, "arm64"))
		powerOn(t, l, m).boots(t, kernelArgs+" runmode=prod farmer_id=1234 console=ttyAMA0")
	})

	t.Run("command line", func(t *testing.T) {
		t.Parallel()
		made := filepath.Join(dir, "cli.iso")
		a.farmboot(t, "image", "iso", "prod", "1234", "zos-debug a=b/c", "-o", made)
		equal(t, made, iso)
	})
}

// TestHTTPS boots images and from the network where everything is fetched over
// HTTPS from an appliance with a certificate authority of its own.
func TestHTTPS(t *testing.T) {
	l := newLAN(t, lab.Options{})
	// The first host's address is known before it is.
	a := newAppliance(t, l, settings{baseHost: "https://" + lab.FirstHost.String()})
	if a.host.Addr() != lab.FirstHost {
		t.Fatalf("the appliance is at %v, not at %v", a.host.Addr(), lab.FirstHost)
	}
	dir := t.TempDir()
	file := func(path string) string { return a.download(t, "/"+path, filepath.Join(dir, filepath.Base(path))) }
	const secure = `Fetching the kernel https://`
	const cmdline = kernelArgs + " runmode=prod"

	for i, c := range []struct {
		name    string
		machine lab.Machine
		node    bool // registered, with farmer 5
		want    string
	}{
		{name: "iso, BIOS", machine: lab.Machine{Firmware: lab.BIOS, CD: file("iso/prod")}},
		{name: "iso, UEFI", machine: lab.Machine{Firmware: lab.UEFI, CD: file("iso/prod")}},
		{name: "krn-provision", machine: lab.Machine{Firmware: lab.BIOS, Kernel: file("krn-provision")}, node: true},
		{name: "uefi-provision", machine: lab.Machine{Firmware: lab.UEFI, USB: stick(t, file("uefi-provision"), "")}, node: true},
		{name: "network, BIOS", machine: lab.Machine{Firmware: lab.BIOS}},
		{name: "network, UEFI", machine: lab.Machine{Firmware: lab.UEFI}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m, want := c.machine, cmdline
			address := mac(i + 1)
			m.NICs = []lab.NIC{{MAC: address, NoROM: m.Firmware == lab.UEFI}}
			if c.node {
				a.farmboot(t, "node", "add", address, "--farmer", "5")
				want += " farmer_id=5"
			}
			n := powerOn(t, l, m)
			n.sees(t, secure)
			n.boots(t, want)
		})
	}

	// What iPXE runs as its command line: the kernel over HTTPS, else over HTTP.
	by := func(host string) string { return host + "/kernel/net/prod.efi " + cmdline }
	fetch := "dhcp && kernel https://" + by(lab.FirstHost.String()) + " && echo It is trusted && boot || echo It is not trusted && kernel http://" + by(lab.FirstHost.String()) + " && boot"
	t.Run("krn-generic trusts us", func(t *testing.T) {
		t.Parallel()
		n := powerOn(t, l, lab.Machine{Firmware: lab.BIOS, Kernel: file("krn-generic"), Cmdline: fetch, NICs: []lab.NIC{{MAC: mac(201)}}})
		n.sees(t, `It is trusted`)
		n.boots(t, cmdline)
	})
	t.Run("plain iPXE does not", func(t *testing.T) {
		t.Parallel()
		n := powerOn(t, l, lab.Machine{Firmware: lab.BIOS, Kernel: filepath.Join(a.template, "ipxe.lkrn"), Cmdline: fetch, NICs: []lab.NIC{{MAC: mac(202)}}})
		n.sees(t, `It is not trusted`)
		n.boots(t, cmdline)
	})
}

// download fetches a path of the appliance's boot plane into file.
func (a *appliance) download(t *testing.T, path, file string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url(path), nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := a.client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s: %s", path, res.Status, body)
	}
	if err := os.WriteFile(file, body, 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// client returns an HTTP client on the appliance's host.
func (a *appliance) client() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, addr string) (conn net.Conn, err error) {
			err = a.host.Do(func() error {
				var d net.Dialer
				conn, err = d.DialContext(ctx, network, addr)
				return err
			})
			return conn, err
		},
	}}
}

// stick returns a stick's image, FAT with an EFI program as its boot program, and
// beside it, unless empty, a script for iPXE.
func stick(t *testing.T, program, autoexec string) string {
	t.Helper()
	dir := t.TempDir()
	image := filepath.Join(dir, "stick.img")
	tool(t, "mkfs.fat", "-C", "-F", "16", image, "16384")
	tool(t, "mmd", "-i", image, "::EFI", "::EFI/BOOT")
	tool(t, "mcopy", "-i", image, program, "::EFI/BOOT/BOOTX64.EFI")
	if autoexec != "" {
		script := filepath.Join(dir, "autoexec.ipxe")
		if err := os.WriteFile(script, []byte(autoexec), 0o644); err != nil {
			t.Fatal(err)
		}
		tool(t, "mcopy", "-i", image, script, "::autoexec.ipxe")
	}
	return image
}

// copied returns the image of a stick, FAT32, with the files of a CD on it (rufus 2534).
func copied(t *testing.T, iso string) string {
	t.Helper()
	dir := t.TempDir()
	tree, image := filepath.Join(dir, "tree"), filepath.Join(dir, "stick.img")
	tool(t, "xorriso", "-osirrox", "on", "-indev", iso, "-extract", "/", tree)
	tool(t, "mkfs.fat", "-C", "-F", "32", image, "65536")
	entries, err := os.ReadDir(tree)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		tool(t, "mcopy", "-s", "-i", image, filepath.Join(tree, e.Name()), "::")
	}
	return image
}

// isolinux returns a CD's image on which ISOLINUX loads a kernel.
func isolinux(t *testing.T, kernel string) string {
	t.Helper()
	dir := t.TempDir()
	tree := filepath.Join(dir, "cd")
	if err := os.Mkdir(tree, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, from := range map[string]string{
		"isolinux.bin": "/usr/lib/ISOLINUX/isolinux.bin",             // package isolinux
		"ldlinux.c32":  "/usr/lib/syslinux/modules/bios/ldlinux.c32", // package syslinux-common
		"ipxe.krn":     kernel,
	} {
		data, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(tree, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	config := "DEFAULT ipxe\nLABEL ipxe\n  LINUX ipxe.krn\n"
	if err := os.WriteFile(filepath.Join(tree, "isolinux.cfg"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(dir, "cd.iso")
	tool(t, "genisoimage", "-quiet", "-o", image, "-b", "isolinux.bin", "-c", "boot.cat",
		"-no-emul-boot", "-boot-load-size", "4", "-boot-info-table", tree)
	return image
}

// tool runs a program of the host.
func tool(t *testing.T, name string, args ...string) {
	t.Helper()
	path, err := lab.Tool(name)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", name, err, out)
	}
}

// equal asserts that two files hold the same bytes.
func equal(t *testing.T, a, b string) {
	t.Helper()
	x, err := os.ReadFile(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := os.ReadFile(b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(x, y) {
		t.Errorf("%s (%d bytes) and %s (%d bytes) differ", a, len(x), b, len(y))
	}
}
