package lab

import (
	"slices"
	"strings"
	"testing"
)

func TestMachineArgs(t *testing.T) {
	nic := NIC{MAC: "52:54:00:00:00:b1"}
	fw := files{code: "/fw/CODE.fd", vars: "/lan/VARS.fd"}
	for _, c := range []struct {
		name    string
		machine Machine
		fw      files
		want    []string // in this order, other arguments between them
	}{
		{
			"a NIC's boot ROM under BIOS",
			Machine{Firmware: BIOS, NICs: []NIC{nic}},
			files{},
			[]string{"-machine pc,graphics=off", "-no-reboot", "-netdev tap,id=nic0,ifname=port1,script=no,downscript=no", "-device virtio-net-pci,netdev=nic0,mac=52:54:00:00:00:b1,bootindex=1"},
		},
		{
			"the firmware's own client under UEFI",
			Machine{Firmware: UEFI, NICs: []NIC{{MAC: nic.MAC, NoROM: true}}},
			fw,
			[]string{"-machine q35", "readonly=on,file=/fw/CODE.fd", "format=raw,file=/lan/VARS.fd", "mac=52:54:00:00:00:b1,romfile=,bootindex=1"},
		},
		{
			"HTTP Boot and no PXE",
			Machine{Firmware: UEFI, HTTPBoot: true},
			fw,
			[]string{"-fw_cfg name=opt/org.tianocore/IPv4PXESupport,string=n", "-fw_cfg name=opt/org.tianocore/IPv6PXESupport,string=n"},
		},
		{
			"media before the network",
			Machine{Firmware: BIOS, CD: "/cd.iso", USB: "/usb.img", NICs: []NIC{nic}},
			files{},
			[]string{"file=/cd.iso -device ide-cd,drive=cd,bootindex=1", "-device qemu-xhci", "file=/usb.img -device usb-storage,drive=usb,removable=on,bootindex=2", "bootindex=3"},
		},
		{
			"the network before media",
			Machine{Firmware: BIOS, Disk: "/disk.img", NICs: []NIC{nic, nic}, NetworkFirst: true},
			files{},
			[]string{"netdev=nic0,mac=52:54:00:00:00:b1,bootindex=1", "ifname=port2", "bootindex=2", "virtio-blk-pci,drive=disk,bootindex=3"},
		},
		{
			"QEMU as the boot loader",
			Machine{Firmware: BIOS, Kernel: "/k", Cmdline: "a b", Reboots: true, MemoryMiB: 64},
			files{},
			[]string{"-m 64", "-kernel /k -append a b"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := c.machine.args(c.fw, []string{"port1", "port2"})
			if slices.Contains(args, "-no-reboot") == c.machine.Reboots {
				t.Errorf("-no-reboot present: %v, Reboots: %v", !c.machine.Reboots, c.machine.Reboots)
			}
			rest := strings.Join(args, " ")
			for _, want := range c.want {
				_, after, found := strings.Cut(rest, want)
				if !found {
					t.Fatalf("%q not in %q of %q", want, rest, args)
				}
				rest = after
			}
		})
	}
}

func TestMissingSaysHowToInstall(t *testing.T) {
	_, err := firstFile("/usr/share/OVMF", "no such firmware")
	if err == nil || !strings.Contains(err.Error(), "apt-get install --no-install-recommends ovmf") {
		t.Errorf("error %v does not name the package", err)
	}
	_, err = Tool("no-such-tool")
	if err == nil || err.Error() != "no-such-tool is missing" {
		t.Errorf("error %v", err)
	}
}
