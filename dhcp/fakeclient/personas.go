package fakeclient

// All returns every persona, those that people are likely to meet first.
func All() []Persona {
	return []Persona{
		UEFI(), OldUEFI(), BIOS(), IPXEROM(), Farmboot(), FarmbootBIOS(),
		HTTPBoot(), ARM64(), HTTPBootARM64(), RISCV64(), OldIPXEROM(), RaspberryPi(), Laptop(),
	}
}

// UEFI is x64 firmware since 2017.
func UEFI() Persona {
	return Persona{"UEFI x64", "PCs and servers since 2017, OVMF", edk2{arch: 7, on: targetX64}}
}

// SecureBoot is x64 firmware with Secure Boot on and Microsoft's keys, as machines are
// sold. It is not among [All]: most networks have nothing that it would start.
func SecureBoot() Persona {
	return Persona{"UEFI x64 with Secure Boot", "new PCs and servers as they are sold", secureBoot{edk2{arch: 7, on: targetX64}}}
}

// OldUEFI is x64 firmware before that.
func OldUEFI() Persona {
	return Persona{"UEFI x64 before 2017", "PCs and servers with old firmware", edk2{arch: 7, on: targetX64, old: true}}
}

// ARM64 is arm64 UEFI firmware.
func ARM64() Persona {
	return Persona{"UEFI arm64", "arm64 servers, AAVMF", edk2{arch: 11, on: targetARM64}}
}

// RISCV64 is riscv64 UEFI firmware.
func RISCV64() Persona {
	return Persona{"UEFI riscv64", "riscv64 boards with UEFI", edk2{arch: 27, on: targetRISCV64}}
}

// HTTPBoot is UEFI HTTP Boot on x64.
func HTTPBoot() Persona {
	return Persona{"UEFI HTTP Boot x64", "servers with HTTP Boot switched on", httpBoot{arch: 16, on: targetX64}}
}

// HTTPBootARM64 is UEFI HTTP Boot on arm64.
func HTTPBootARM64() Persona {
	return Persona{"UEFI HTTP Boot arm64", "arm64 servers with HTTP Boot", httpBoot{arch: 19, on: targetARM64}}
}

// BIOS is a BIOS machine with a PXE ROM.
func BIOS() Persona { return Persona{"BIOS", "PCs with a PXE ROM, as Intel Boot Agent", biosROM{}} }

// IPXEROM is a machine whose NIC has iPXE in its ROM.
func IPXEROM() Persona {
	return Persona{"iPXE in ROM", "QEMU, KVM and Proxmox machines with BIOS", ipxe{
		on: targetBIOS, userClass: "iPXE", version: [3]byte{1, 0, 0},
		features: []byte{0x17, 0x22, featureHTTP, 0x11, 0x27, 0x19, 0x29, featurePXE, 0x21, featureTFTP, 0x18, 0x12}, // measured
	}}
}

// OldIPXEROM is one whose iPXE was built without HTTP.
func OldIPXEROM() Persona {
	return Persona{"iPXE in ROM without HTTP", "NICs with a small iPXE", ipxe{
		on: targetBIOS, userClass: "iPXE", version: [3]byte{1, 0, 0}, features: []byte{featureTFTP, 0x21},
	}}
}

// Farmboot is the iPXE that Farmboot sends to x64 UEFI machines.
func Farmboot() Persona {
	return Persona{"Farmboot's iPXE, UEFI", "what we send to UEFI machines, running", ipxe{
		arch: 7, on: targetX64, userClass: "farmboot", version: [3]byte{1, 0, 0}, askNTP: true, // measured
		features: []byte{0x26, 0x17, 0x27, 0x24, featureHTTP, featureHTTPS, 0x11, 0x29, 0x1b, featureTFTP, 0x12},
	}}
}

// FarmbootBIOS is the iPXE that Farmboot sends to BIOS machines.
func FarmbootBIOS() Persona {
	return Persona{"Farmboot's iPXE, BIOS", "what we send to BIOS machines, running", ipxe{
		on: targetBIOS, userClass: "farmboot", version: [3]byte{1, 0, 0}, askNTP: true, // measured
		features: []byte{0x26, 0x17, 0x27, 0x22, featureHTTP, featureHTTPS, 0x11, 0x19, 0x29, featurePXE, 0x21, 0x1b, featureTFTP, 0x12, 0x18},
	}}
}

// RaspberryPi is a Raspberry Pi without UEFI firmware. It boots nothing of ours.
func RaspberryPi() Persona {
	return Persona{"Raspberry Pi", "Raspberry Pi with its own boot ROM", raspberryPi{}}
}

// Laptop is a machine that is not booting from the network.
func Laptop() Persona {
	return Persona{"laptop", "any machine that just wants an address", laptop{}}
}
