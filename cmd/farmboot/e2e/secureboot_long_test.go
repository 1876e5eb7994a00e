//go:build e2e && secureboot

package e2e_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"farmboot/ipxe/binary/authenticode"
	"farmboot/ipxe/image/fat"
	"farmboot/ipxe/image/gpt"
	"farmboot/ipxe/segment"
	"farmboot/setup/ca"
	"farmboot/setup/lab"
)

// The boots here take too long for each change: make secureboot.

// TestSecureBootMedia boots machines that trust our certificate in every other way than
// TestSecureBoot.
func TestSecureBootMedia(t *testing.T) {
	l := newLAN(t, lab.Options{})
	a, certificate := newSecureAppliance(t, l, settings{})
	dir := t.TempDir()
	image := func(kind string) string {
		name := filepath.Join(dir, kind)
		a.farmboot(t, "image", kind, "prod", "7", "-o", name)
		return name
	}
	usb, iso, disk := image("usb"), image("iso"), image("uefimg")
	const provisioned, farmer7 = kernelArgs + " runmode=prod", kernelArgs + " runmode=prod farmer_id=7"
	for i, c := range []struct {
		name   string
		change func(m *lab.Machine)
		node   []string
		want   string
	}{
		{"HTTP Boot", func(m *lab.Machine) { m.HTTPBoot = true }, nil, provisioned},
		{"firmware's driver", func(*lab.Machine) {}, []string{"--nbp", "signed-snponly"}, provisioned},
		{"stick", func(m *lab.Machine) { m.USB = usb }, nil, farmer7},
		{"ISO", func(m *lab.Machine) { m.CD = iso }, nil, farmer7},
		{"disk image", func(m *lab.Machine) { m.USB = disk }, nil, farmer7},
		{"certificate in db", func(m *lab.Machine) { m.DB, m.MOK = m.MOK, nil }, nil, provisioned},
		{"certificate in db, no shim", func(m *lab.Machine) { m.DB, m.MOK = m.MOK, nil }, []string{"--nbp", "signed"}, provisioned},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := secureNode(mac(i + 1))
			m.MOK = [][]byte{certificate}
			c.change(&m)
			if c.node != nil {
				a.farmboot(t, append([]string{"node", "add", m.NICs[0].MAC}, c.node...)...)
			}
			n := powerOn(t, l, m)
			n.sees(t, secured)
			n.boots(t, c.want)
		})
	}
	t.Run("Secure Boot off", func(t *testing.T) {
		n := powerOn(t, l, uefiNode(mac(100)))
		n.boots(t, provisioned)
	})
	t.Run("BIOS", func(t *testing.T) {
		n := powerOn(t, l, biosNode(mac(101)))
		n.boots(t, provisioned)
	})
}

// keys are what a person presses, and what the screen then shows.
type keys struct{ press, shows string }

// down and enter are keys of a serial terminal.
const down, enter = "\x1b[B", "\r"

// presses plays a person at the machine's keyboard, who looks at the screen.
func (n *node) presses(t *testing.T, all ...keys) {
	t.Helper()
	for _, k := range all {
		if err := n.Type(k.press); err != nil {
			t.Fatal(err)
		}
		n.sees(t, k.shows)
	}
}

// TestEnrolFromStick enrols a machine that has Secure Boot on from our stick, by its
// keyboard alone, and lets it boot.
func TestEnrolFromStick(t *testing.T) {
	l := newLAN(t, lab.Options{})
	a, _ := newSecureAppliance(t, l, settings{})
	usb := filepath.Join(t.TempDir(), "usb")
	a.farmboot(t, "image", "usb", "prod", "7", "-o", usb)
	m := secureNode(mac(1))
	m.USB, m.Reboots = usb, true
	n := powerOn(t, l, m)
	n.sees(t, `Verification failed`)
	n.presses(t,
		keys{enter, `Press any key to perform MOK management`},
		keys{" ", `Enroll key from disk`},
		keys{down, `Enroll key from disk`},
		keys{enter, `Select Key`},
		keys{enter, `FARMBOOT\.CER`},
		keys{down, `FARMBOOT\.CER`},
		keys{enter, `Continue`},
		keys{down, `Continue`},
		keys{enter, `Yes`},
		keys{down, `Yes`},
		keys{enter, `Reboot`},
		keys{enter, secured},
	)
	n.boots(t, kernelArgs+" runmode=prod farmer_id=7")
}

// TestEnrolFromNetwork enrols a machine over the network, Secure Boot off, by the keys
// that its screen names; the same machine then boots with Secure Boot on.
func TestEnrolFromNetwork(t *testing.T) {
	l := newLAN(t, lab.Options{})
	a, certificate := newSecureAppliance(t, l, settings{})
	m := uefiNode(mac(1))
	m.Reboots = true
	a.farmboot(t, "secureboot", "enrol", m.NICs[0].MAC)
	n := powerOn(t, l, m)
	n.sees(t, `Enroll key from disk`) // of our instructions
	n.presses(t,
		keys{" ", `Press any key to perform MOK management`},
		keys{" ", `Enroll key from disk`},
		keys{down, `Enroll key from disk`},
		keys{enter, `Select Key`},
		keys{down, `iPXE`},
		keys{enter, `FARMBOOT\.CER`},
		keys{enter, `Continue`},
		keys{down, `Continue`},
		keys{enter, `Yes`},
		keys{down, `Yes`},
		keys{enter, `Reboot`},
		keys{enter, `FARMBOOT: this node`},
	)
	n.boots(t, kernelArgs+" runmode=prod")
	enrolled, err := os.ReadFile(n.Variables)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(enrolled, certificate) {
		t.Error("our certificate is not among the machine's variables")
	}
}

// signedBy returns a program signed by a key.
func signedBy(t *testing.T, program []byte, key ca.SigningKey) []byte {
	t.Helper()
	p, err := authenticode.Parse(bytes.NewReader(program), int64(len(program)))
	if err != nil {
		t.Fatal(err)
	}
	table, err := p.Sign(authenticode.Key{Private: key.Private, Cert: key.Cert})
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := p.Write(&b, table); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestSecureBootRefusals: what nobody signed whom the machine trusts does not start.
func TestSecureBootRefusals(t *testing.T) {
	l := newLAN(t, lab.Options{})
	a, certificate := newSecureAppliance(t, l, settings{})
	original, err := os.ReadFile(filepath.Join(a.kernels, "vmlinuz-amd64"))
	if err != nil {
		t.Fatal(err)
	}
	original = unsigned(original)
	t.Run("unsigned kernel", func(t *testing.T) {
		refusesKernel(t, l, a, certificate, mac(4), func([]byte) []byte { return original })
	})
	t.Run("kernel of another key", func(t *testing.T) {
		foreign, err := ca.OpenSigning(t.TempDir(), time.Now).Keys()
		if err != nil {
			t.Fatal(err)
		}
		refusesKernel(t, l, a, certificate, mac(5), func([]byte) []byte { return signedBy(t, original, foreign[0]) })
	})
	t.Run("foreign key", func(t *testing.T) {
		a.farmboot(t, "secureboot", "rotate")
		a.farmboot(t, "secureboot", "rotate", "--finish")
		m := secureNode(mac(2))
		m.MOK = [][]byte{certificate} // the former one
		n := powerOn(t, l, m)
		n.sees(t, `Verification failed`)
	})
	t.Run("unsigned program", func(t *testing.T) {
		m := secureNode(mac(3))
		m.MOK = [][]byte{certificate}
		a.farmboot(t, "node", "add", m.NICs[0].MAC, "--nbp", "plain")
		n := powerOn(t, l, m)
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		if _, err := n.Expect(ctx, regexp.MustCompile(`Access Denied|Security Violation`)); err != nil {
			t.Fatal(err)
		}
	})
}

// systemdBoot is where Debian has an EFI program that enrols keys.
const systemdBoot = "/usr/lib/systemd/boot/efi/systemd-bootx64.efi"

// TestEnrolSetupMode enrols a machine in Setup Mode without a person: a stick with
// systemd-boot and the exported files writes the keys, and the machine then boots from the
// network with Secure Boot on, from firmware that trusts our certificate and Microsoft's.
func TestEnrolSetupMode(t *testing.T) {
	l := newLAN(t, lab.Options{})
	a, certificate := newSecureAppliance(t, l, settings{})
	program, err := os.ReadFile(systemdBoot)
	if err != nil {
		t.Fatalf("%v (apt-get install systemd-boot-efi)", err)
	}
	volume := fat.Volume{Label: "ENROL", Hidden: gpt.Start, ClusterSize: 512, MinClusters: fat.MinFAT16, Files: []fat.File{
		{Path: "EFI/BOOT/BOOTX64.EFI", Data: segment.Of(program)},
		{Path: "loader/loader.conf", Data: segment.Of([]byte("timeout 0\nsecure-boot-enroll force\n"))},
	}}
	for _, name := range []string{"db.auth", "KEK.auth", "PK.auth"} {
		update, err := os.ReadFile(filepath.Join(a.dir, "exported", name))
		if err != nil {
			t.Fatal(err)
		}
		volume.Files = append(volume.Files, fat.File{Path: "loader/keys/auto/" + name, Data: segment.Of(update)})
	}
	partition, err := volume.Build()
	if err != nil {
		t.Fatal(err)
	}
	disk, err := gpt.Disk{DiskGUID: gpt.NewGUID([16]byte{1}), PartitionGUID: gpt.NewGUID([16]byte{2}), Name: "EFI System", Partition: partition}.Build()
	if err != nil {
		t.Fatal(err)
	}
	m := secureNode(mac(1))
	m.SetupMode, m.Reboots, m.USB = true, true, filepath.Join(t.TempDir(), "enrol.img")
	if err := os.WriteFile(m.USB, disk.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	n := powerOn(t, l, m)
	n.sees(t, secured)
	n.boots(t, kernelArgs+" runmode=prod")
	firmware, err := os.ReadFile(n.Variables)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range [][]byte{certificate, []byte("Microsoft Corporation UEFI CA 2011")} {
		if !bytes.Contains(firmware, want) {
			t.Errorf("the firmware's variables have no %.40q", want)
		}
	}
}
