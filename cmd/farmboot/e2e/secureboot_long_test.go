//go:build e2e && secureboot

package e2e_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"farmboot/ipxe/binary/authenticode"
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

// keysFromVolume enrol our certificate from the one volume that MokManager finds, out of the
// box in which shim refuses our iPXE; the machine boots with Secure Boot on then.
var keysFromVolume = []keys{
	{enter, `Press any key to perform MOK management`},
	{" ", `Enroll key from disk`},
	{down, `Enroll key from disk`},
	{enter, `Select Key`},
	{enter, `FARMBOOT\.CER`},
	{down, `FARMBOOT\.CER`},
	{enter, `Continue`},
	{down, `Continue`},
	{enter, `Yes`},
	{down, `Yes`},
	{enter, `Reboot`},
	{enter, secured},
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
	n.presses(t, keysFromVolume...)
	n.boots(t, kernelArgs+" runmode=prod farmer_id=7")
}

// TestEnrolHTTPBoot enrols a machine from the network alone, Secure Boot on: UEFI HTTP Boot
// keeps a disk of ours in memory, on which MokManager finds the certificate.
func TestEnrolHTTPBoot(t *testing.T) {
	l := newLAN(t, lab.Options{})
	a, _ := newSecureAppliance(t, l, settings{})
	m := secureNode(mac(1))
	m.HTTPBoot, m.Reboots = true, true
	a.farmboot(t, "secureboot", "enrol", m.NICs[0].MAC)
	n := powerOn(t, l, m)
	n.sees(t, `Verification failed`)
	n.presses(t, keysFromVolume...)
	n.boots(t, kernelArgs+" runmode=prod")
	if shown := a.farmboot(t, "secureboot", "show"); !strings.Contains(shown, n.mac) || !strings.Contains(shown, "to be enrolled at their next boot from us: none") {
		t.Errorf("it is not known that the machine trusts our key:\n%s", shown)
	}
}

// TestEnrolFromNetwork enrols a machine over the network, Secure Boot off but with its keys
// in place, by what its screen says to press.
func TestEnrolFromNetwork(t *testing.T) {
	l := newLAN(t, lab.Options{})
	a, certificate := newSecureAppliance(t, l, settings{})
	m := secureNode(mac(1))
	m.SecureBootOff, m.Reboots = true, true
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

// refusesImage changes one byte of what a stick of ours boots, in its code and in its
// script: a machine that trusts our key refuses either.
func refusesImage(t *testing.T, l *lab.LAN, a *appliance, certificate []byte) {
	dir := t.TempDir()
	image := a.download(t, "/uefimg/prod/7", filepath.Join(dir, "image"))
	inside := filepath.Join(dir, "grubx64.efi")
	tool(t, "mcopy", "-i", image+"@@1M", "::EFI/BOOT/grubx64.efi", inside)
	stick, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(inside)
	if err != nil {
		t.Fatal(err)
	}
	start, script := bytes.Index(stick, program), bytes.Index(program, wide("farmer_id=7"))
	if start < 0 || script < 0 {
		t.Fatalf("our iPXE is at %d of the image, its script at %d of that", start, script)
	}
	for i, c := range []struct {
		name string
		at   int
	}{{"code", len(program) / 3}, {"script", script}} {
		t.Run(c.name, func(t *testing.T) {
			changed := bytes.Clone(stick)
			changed[start+c.at] ^= 1
			m := secureNode(mac(6 + i))
			m.MOK, m.USB = [][]byte{certificate}, filepath.Join(t.TempDir(), "stick")
			if err := os.WriteFile(m.USB, changed, 0o644); err != nil {
				t.Fatal(err)
			}
			n := powerOn(t, l, m)
			n.sees(t, `Verification failed`)
		})
	}
}

// wide is ASCII text in UTF-16, as our scripts are inside EFI programs.
func wide(text string) (b []byte) {
	for _, c := range []byte(text) {
		b = append(b, c, 0)
	}
	return b
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
	t.Run("tampered image", func(t *testing.T) {
		refusesImage(t, l, a, certificate)
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

// TestEnrolSetupMode enrols machines in Setup Mode without a person, from the network
// alone when they are to be, and from a stick with the same image: their firmware is given
// our certificate and keeps Microsoft's, and they then boot with Secure Boot on.
func TestEnrolSetupMode(t *testing.T) {
	l := newLAN(t, lab.Options{})
	a, certificate := newSecureAppliance(t, l, settings{})
	for i, c := range []struct {
		name    string
		prepare func(m *lab.Machine)
	}{
		{"network", func(m *lab.Machine) { a.farmboot(t, "secureboot", "enrol", m.NICs[0].MAC) }},
		{"stick", func(m *lab.Machine) { m.USB = a.download(t, "/boot/keys.img", filepath.Join(t.TempDir(), "keys.img")) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := secureNode(mac(i + 1))
			m.SetupMode, m.Reboots = true, true
			c.prepare(&m)
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
			if shown := a.farmboot(t, "secureboot", "show"); !strings.Contains(shown, n.mac) || !strings.Contains(shown, "to be enrolled at their next boot from us: none") {
				t.Errorf("it is not known that the machine trusts our key:\n%s", shown)
			}
		})
	}
	t.Run("not asked for", func(t *testing.T) {
		m := secureNode(mac(3))
		m.SetupMode, m.Reboots = true, true
		n := powerOn(t, l, m)
		n.boots(t, kernelArgs+" runmode=prod")
		if firmware, err := os.ReadFile(n.Variables); err != nil || bytes.Contains(firmware, certificate) {
			t.Errorf("nobody asked to enrol it, and its firmware has our certificate (%v)", err)
		}
	})
}
