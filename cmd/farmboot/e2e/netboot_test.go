//go:build e2e

package e2e_test

import (
	"context"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"farmboot/setup/lab"
)

// What farmboot node show says of the stages.
const (
	discover   = "asked the network for a boot server"
	offer      = "we offered to boot it"
	bootServer = "asked our boot server (port 4011)"
	nbp        = "fetched its network boot program"
	script     = "fetched its boot script"
	kernel     = "fetched its kernel"
)

// TestNetworkBoot boots machines of every firmware, registered and not, from one
// appliance on an ordinary LAN.
//
// BIOS machines here have iPXE as their NIC's boot ROM, the only one that
// Debian has; what other ROMs do is played by dhcp/fakeclient.
func TestNetworkBoot(t *testing.T) {
	l := newLAN(t, lab.Options{})
	a := newAppliance(t, l, settings{})
	const unregistered = kernelArgs + " runmode=prod"

	for _, c := range []struct {
		name    string
		machine lab.Machine
		node    []string // what `node add` says of it; nil: not registered
		want    string
		stages  []string // of its story, in this order
	}{
		{
			name: "BIOS", machine: biosNode(mac(1)),
			want:   unregistered,
			stages: []string{discover, offer, script, kernel},
		},
		{
			name: "BIOS registered", machine: biosNode(mac(2)),
			node:   []string{"--farmer", "1234", "--runmode", "test", "--args", "zos-debug ssh-user=somebody", "--name", "rack 1"},
			want:   kernelArgs + " runmode=test farmer_id=1234 zos-debug ssh-user=somebody",
			stages: []string{discover, offer, script, kernel},
		},
		{
			name: "BIOS e1000", machine: lab.Machine{Firmware: lab.BIOS, NICs: []lab.NIC{{MAC: mac(3), Model: "e1000"}}},
			want:   unregistered,
			stages: []string{discover, offer, script, kernel},
		},
		{
			name: "UEFI", machine: uefiNode(mac(4)),
			want:   unregistered,
			stages: []string{discover, offer, bootServer, nbp, script, kernel},
		},
		{
			name: "UEFI registered", machine: uefiNode(mac(5)),
			node:   []string{"--farmer", "4294967295", "--kernel", "vmlinuz-amd64"},
			want:   kernelArgs + " runmode=prod farmer_id=4294967295",
			stages: []string{discover, offer, bootServer, nbp, script, kernel},
		},
		{
			name: "UEFI with the firmware's driver", machine: uefiNode(mac(8)),
			node:   []string{"--nbp", "snponly"},
			want:   unregistered,
			stages: []string{discover, offer, bootServer, nbp + " snponly.efi", script, kernel},
		},
		{
			name: "UEFI HTTP Boot", machine: httpBootNode(mac(6)),
			want:   unregistered,
			stages: []string{discover, offer, nbp, script, kernel},
		},
		{
			name: "arm64 registered", machine: arm64Node(mac(7)),
			node:   []string{"--kernel", "vmlinuz-arm64", "--args", "console=ttyAMA0"},
			want:   kernelArgs + " runmode=prod console=ttyAMA0",
			stages: []string{discover, offer, bootServer, nbp, script, kernel},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := c.machine.NICs[0].MAC
			if c.node != nil {
				a.farmboot(t, slices.Concat([]string{"node", "add", m}, c.node)...)
			}
			n := powerOn(t, l, c.machine)
			n.boots(t, c.want)
			tells(t, a.farmboot(t, "node", "show", m), c.stages...)
			if rows := a.query(t, "SELECT count(*) FROM boots WHERE mac = x'"+strings.ReplaceAll(m, ":", "")+"'"); rows != "1" {
				t.Errorf("its boot is %s rows in the database, want one", rows)
			}
		})
	}
}

// query asks the appliance's database.
func (a *appliance) query(t *testing.T, sql string) string {
	t.Helper()
	out, err := exec.Command("sqlite3", "-readonly", filepath.Join(a.dir, "state/provisioning.db"), sql).CombinedOutput()
	if err != nil {
		t.Fatalf("sqlite3: %v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// TestBIOSBootProgram boots the boot program of BIOS machines, undionly.kpxe, as
// a PXE ROM that is not iPXE would: by TFTP, over the ROM's own driver.
func TestBIOSBootProgram(t *testing.T) {
	l := newLAN(t, lab.Options{})
	a := newAppliance(t, l, settings{})
	n := powerOn(t, l, biosNode(mac(1)))
	n.chainsBootProgram(t, a)
	n.boots(t, kernelArgs+" runmode=prod")
	tells(t, a.farmboot(t, "node", "show", n.mac), nbp, script, kernel)
}

// chainsBootProgram has a BIOS machine fetch its boot program by TFTP. It has nothing left
// to boot if that fails.
func (n *node) chainsBootProgram(t *testing.T, a *appliance) {
	t.Helper()
	n.sees(t, `Press Ctrl-B for`)
	if err := n.Type("\x02"); err != nil {
		t.Fatal(err)
	}
	n.sees(t, `iPXE> `)
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if err := n.TypeLine(ctx, "dhcp net0 && chain tftp://"+a.host.Addr().String()+"/undionly.kpxe || exit"); err != nil {
		t.Fatal(err)
	}
}

// tells asserts that a story, as farmboot node show prints it, has these stages
// in this order.
func tells(t *testing.T, story string, stages ...string) {
	t.Helper()
	rest := story
	for _, stage := range stages {
		_, after, found := strings.Cut(rest, stage)
		if !found {
			t.Errorf("the story does not go on with %q of %q:\n%s", stage, stages, story)
			return
		}
		rest = after
	}
}
