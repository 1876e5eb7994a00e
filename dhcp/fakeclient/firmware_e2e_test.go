//go:build e2e

package fakeclient_test

import (
	"bytes"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"farmboot/dhcp/fakeclient"
	"farmboot/setup/lab"
)

// TestPersonasSendWhatRealFirmwareSends compares the DISCOVERs of personas with
// those of the firmware that QEMU can run: the same options, in the same order,
// with the same values.
func TestPersonasSendWhatRealFirmwareSends(t *testing.T) {
	lan, err := lab.New(lab.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := lan.Close(); err != nil {
			t.Error(err)
		}
	}()
	host, err := lan.Join(0)
	if err != nil {
		t.Fatal(err)
	}
	var ears *net.UDPConn
	err = host.Do(func() (err error) {
		ears, err = net.ListenUDP("udp4", &net.UDPAddr{Port: 67})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer ears.Close()
	for name, c := range map[string]struct {
		persona fakeclient.Persona
		machine lab.Machine
	}{
		"iPXE in ROM": {fakeclient.IPXEROM(), lab.Machine{Name: "bios", Firmware: lab.BIOS, NICs: []lab.NIC{{MAC: "52:54:00:00:00:b1", Model: "e1000"}}}},
		"OVMF":        {fakeclient.UEFI(), lab.Machine{Name: "uefi", Firmware: lab.UEFI, NICs: []lab.NIC{{MAC: "52:54:00:00:00:b2", NoROM: true}}}},
		"OVMF, HTTP Boot": {fakeclient.HTTPBoot(), lab.Machine{
			Name: "http", Firmware: lab.UEFI, NICs: []lab.NIC{{MAC: "52:54:00:00:00:b3", NoROM: true}},
			HTTPBoot: true,
		}},
		"AAVMF": {fakeclient.ARM64(), lab.Machine{Name: "arm64", Firmware: lab.UEFIARM64, NICs: []lab.NIC{{MAC: "52:54:00:00:00:b4", NoROM: true}}}},
	} {
		vm, err := lan.PowerOn(c.machine)
		if err != nil {
			t.Fatal(err)
		}
		got := firstDiscover(t, ears, c.machine.NICs[0].MAC)
		if err := vm.PowerOff(); err != nil {
			t.Error(err)
		}
		hw, err := net.ParseMAC(c.machine.NICs[0].MAC)
		if err != nil {
			t.Fatal(err)
		}
		machine := id
		machine.MAC = [6]byte(hw)
		_, step := c.persona.Start(machine)
		if diff := cmp.Diff(portable(readable(got)), portable(readable(step.Send[0].Data))); diff != "" {
			t.Errorf("%s (-firmware +persona):\n%s", name, diff)
		}
	}
}

// firstDiscover waits for a machine's first DISCOVER.
func firstDiscover(t *testing.T, ears *net.UDPConn, mac string) []byte {
	t.Helper()
	if err := ears.SetReadDeadline(time.Now().Add(3 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	hw, err := net.ParseMAC(mac)
	if err != nil {
		t.Fatal(err)
	}
	for {
		buf := make([]byte, 1500)
		n, _, err := ears.ReadFromUDP(buf)
		if err != nil {
			t.Fatalf("%s is silent: %v", mac, err)
		}
		if n >= 240 && bytes.Equal(buf[28:34], hw) {
			return buf[:n]
		}
	}
}

// unset is the byte of HTTP Boot's parameter list that firmware never sets.
var unset = regexp.MustCompile("3c .. 43 61")

// portable leaves out what differs from machine to machine: xid, seconds, the
// UUID and a byte of uninitialized memory.
func portable(s string) []string {
	var lines []string
	for line := range strings.Lines(s) {
		switch {
		case strings.HasPrefix(line, "op "):
			line = line[strings.Index(line, "flags"):]
		case strings.HasPrefix(line, " 97 "):
			line = line[:len(" 97 Client Machine Identifier            00")]
		case strings.HasPrefix(line, " 55 "):
			line = unset.ReplaceAllString(line, "3c .. 43 61")
		}
		lines = append(lines, line)
	}
	return lines
}
