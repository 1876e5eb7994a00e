package lab

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// Firmware is what a machine wakes up with.
type Firmware string

// The firmwares. In all, network booting asks for an address, then for a boot
// file, from every NIC in order.
const (
	BIOS      Firmware = "bios"       // SeaBIOS; a NIC's boot ROM is iPXE
	UEFI      Firmware = "uefi"       // OVMF (edk2), x86-64, with its own PXE and HTTP Boot clients
	UEFIARM64 Firmware = "uefi-arm64" // AAVMF (edk2), 64-bit ARM, with the same clients
)

// Machine describes a computer on the LAN. What it has is tried in the order
// of the fields: CD, USB, Disk, then NICs, unless NetworkFirst.
type Machine struct {
	Name         string // of its console's log, unique on the LAN
	Firmware     Firmware
	MemoryMiB    int    // 0: 512
	CD           string // image file
	USB          string // image file of a stick
	Disk         string // image file
	NICs         []NIC
	NetworkFirst bool

	// Kernel is loaded by QEMU itself, as a boot loader would (bzImage), with
	// the command line Cmdline.
	Kernel, Cmdline string

	// Reboots lets the machine start again, also when it found nothing to boot,
	// as servers do; otherwise it switches itself off where it would.
	Reboots bool

	// SecureBoot switches Secure Boot on, with Microsoft's keys as in machines that are
	// sold, in UEFI firmware. Such a machine boots in one to three minutes.
	SecureBoot bool
	// SetupMode leaves all keys out of such firmware, which takes new ones unasked.
	SetupMode bool
	// SecureBootOff leaves Secure Boot switched off in such firmware, which has its keys all
	// the same: it is not in Setup Mode. Firmware without SecureBoot has none, and is.
	SecureBootOff bool
	// MOK and DB are certificates (DER) that the machine trusts besides: shim's list, on
	// which MokManager puts what its owner wants, and the firmware's own.
	MOK, DB [][]byte

	// HTTPBoot leaves the UEFI firmware's PXE clients out, which it would try
	// first, so that it network boots by UEFI HTTP Boot.
	HTTPBoot bool
}

// NIC is a network card.
type NIC struct {
	MAC   string
	Model string // "": virtio-net-pci
	// NoROM leaves out its boot ROM: under UEFI the firmware's own driver and
	// PXE client then do the work, as on real machines, and not QEMU's iPXE.
	// Under BIOS it then cannot boot.
	NoROM bool
	// NoBoot leaves it out of the order in which the firmware tries devices.
	NoBoot bool
}

// files are a firmware's files.
type files struct {
	code string // read-only flash
	vars string // this machine's own copy of the variables
}

// args returns the QEMU command line of m, whose NICs are joined to taps.
func (m Machine) args(fw files, taps []string) []string {
	memory := m.MemoryMiB
	if memory == 0 {
		memory = 512
	}
	a := []string{
		"-name", m.Name, "-nodefaults", "-no-user-config", "-accel", "tcg",
		"-m", fmt.Sprint(memory), "-display", "none", "-monitor", "none", "-serial", "stdio",
	}
	switch m.Firmware {
	case BIOS:
		// graphics=off makes SeaBIOS use the serial port as its console.
		// RDRAND: iPXE's TLS wants entropy, as every server CPU has.
		a = append(a, "-machine", "pc,graphics=off", "-cpu", "qemu64,+rdrand")
	case UEFI:
		if m.SecureBoot {
			// Only the firmware's own code, in System Management Mode, writes variables.
			a = append(a, "-machine", "q35,smm=on", "-global", "driver=cfi.pflash01,property=secure,value=on")
		} else {
			a = append(a, "-machine", "q35")
		}
		a = append(a, "-cpu", "qemu64,+rdrand")
	case UEFIARM64:
		// edk2 since 2024 has no network without random numbers from the processor
		// (FEAT_RNG), which of QEMU's only "max" has.
		a = append(a, "-machine", "virt", "-cpu", "max,pauth-impdef=on", "-device", "virtio-rng-pci")
	}
	if fw.code != "" {
		a = append(a,
			"-drive", "if=pflash,format=raw,readonly=on,file="+fw.code,
			"-drive", "if=pflash,format=raw,file="+fw.vars)
	}
	if m.HTTPBoot {
		// Measured: OVMF of edk2 2022.11 and later heeds these.
		a = append(a,
			"-fw_cfg", "name=opt/org.tianocore/IPv4PXESupport,string=n",
			"-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=n")
	}
	if m.Reboots {
		a = append(a, "-boot", "reboot-timeout=1000") // milliseconds; of SeaBIOS
	} else {
		a = append(a, "-no-reboot")
	}
	if m.Kernel != "" {
		a = append(a, "-kernel", m.Kernel, "-append", m.Cmdline)
	}

	order := 0
	bootindex := func() string {
		order++
		return fmt.Sprintf(",bootindex=%d", order)
	}
	nics := func() {
		for i, nic := range m.NICs {
			model := nic.Model
			if model == "" {
				model = "virtio-net-pci"
			}
			device := fmt.Sprintf("%s,netdev=nic%d,mac=%s", model, i, nic.MAC)
			if nic.NoROM {
				device += ",romfile="
			}
			if !nic.NoBoot {
				device += bootindex()
			}
			a = append(a,
				"-netdev", fmt.Sprintf("tap,id=nic%d,ifname=%s,script=no,downscript=no", i, taps[i]),
				"-device", device)
		}
	}
	// snapshot=on: what a machine writes is forgotten; image files are shared.
	const drive = "if=none,format=raw,snapshot=on,id=%s,file=%s"
	media := func() {
		if m.CD != "" {
			a = append(a, "-drive", fmt.Sprintf(drive, "cd,media=cdrom", m.CD), "-device", "ide-cd,drive=cd"+bootindex())
		}
		if m.USB != "" {
			a = append(a, "-device", "qemu-xhci",
				"-drive", fmt.Sprintf(drive, "usb", m.USB), "-device", "usb-storage,drive=usb,removable=on"+bootindex())
		}
		if m.Disk != "" {
			a = append(a, "-drive", fmt.Sprintf(drive, "disk", m.Disk), "-device", "virtio-blk-pci,drive=disk"+bootindex())
		}
	}
	if m.NetworkFirst {
		nics()
		media()
	} else {
		media()
		nics()
	}
	return a
}

// program returns the QEMU program that plays the machine.
func (m Machine) program() string {
	if m.Firmware == UEFIARM64 {
		return "qemu-system-aarch64"
	}
	return "qemu-system-x86_64"
}

// VM is a machine that is switched on. Its Console is its serial port.
type VM struct {
	*Process
	Variables string // file that holds its firmware's variables; "": none
	lan       *LAN
	taps      []string
}

// PowerOn switches a machine on. It stays so until PowerOff, until it switches
// itself off, or until Close of the LAN.
func (l *LAN) PowerOn(m Machine) (*VM, error) {
	fw, err := l.firmware(m)
	if err != nil {
		return nil, err
	}
	vm := &VM{lan: l, Variables: fw.vars}
	for range m.NICs {
		tap := l.port()
		if err := l.sw.ip("tuntap add dev "+tap+" mode tap", "link set "+tap+" master "+bridge+" up"); err != nil {
			return nil, err
		}
		vm.taps = append(vm.taps, tap)
	}
	vm.Process, err = l.sw.start(l.file(m.Name+".console"), m.program(), m.args(fw, vm.taps)...)
	if err != nil {
		return nil, err
	}
	l.onClose(func() error {
		vm.Kill()
		return nil
	})
	return vm, nil
}

// PowerOff cuts the machine's power and unplugs it.
func (v *VM) PowerOff() error {
	v.Kill()
	var unplug []string
	for _, tap := range v.taps {
		unplug = append(unplug, "link del "+tap)
	}
	v.taps = nil
	return v.lan.sw.ip(unplug...)
}

// firmware finds the machine's firmware and gives it variables of its own.
func (l *LAN) firmware(m Machine) (files, error) {
	var fw files
	var template string
	var err error
	switch m.Firmware {
	case BIOS:
		_, err := firstFile("/usr/lib/ipxe/qemu", "pxe-virtio.rom") // Debian 12
		if err != nil {
			_, err = firstFile("/usr/share/qemu", "pxe-virtio.rom") // Debian 13
		}
		return files{}, err
	case UEFI:
		// The same names in Debian 12 and 13, Ubuntu 22.04 and 24.04; the
		// latter do without the 2 MB variant.
		fw.code, err = firstFile("/usr/share/OVMF", "OVMF_CODE_4M.fd", "OVMF_CODE.fd")
		template = strings.Replace(fw.code, "_CODE", "_VARS", 1)
		if m.SecureBoot && err == nil {
			fw.code, err = firstFile("/usr/share/OVMF", "OVMF_CODE_4M.secboot.fd")
			template = "/usr/share/OVMF/OVMF_VARS_4M.ms.fd"
			if m.SetupMode {
				template = "/usr/share/OVMF/OVMF_VARS_4M.fd"
			}
		}
	case UEFIARM64:
		fw.code, err = firstFile("/usr/share/AAVMF", "AAVMF_CODE.no-secboot.fd", "AAVMF_CODE.fd")
		template = "/usr/share/AAVMF/AAVMF_VARS.fd"
	default:
		return files{}, fmt.Errorf("machine %s: unknown firmware %q", m.Name, m.Firmware)
	}
	if err != nil {
		return files{}, err
	}
	flash, err := os.ReadFile(template)
	if err != nil {
		return files{}, fmt.Errorf("read firmware variables: %w", err)
	}
	if m.SecureBootOff {
		err = variables(flash).switchOff()
	}
	for _, c := range m.MOK {
		err = errors.Join(err, variables(flash).trust("MokList", shimGUID, c))
	}
	for _, c := range m.DB {
		err = errors.Join(err, variables(flash).trust("db", dbGUID, c))
	}
	if err != nil {
		return files{}, fmt.Errorf("set variables of machine %s: %w", m.Name, err)
	}
	fw.vars = l.file(m.Name + ".vars")
	if err := os.WriteFile(fw.vars, flash, 0o600); err != nil {
		return files{}, fmt.Errorf("write firmware variables: %w", err)
	}
	return fw, nil
}
