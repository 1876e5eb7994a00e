package fakeclient

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Why a difficult machine does not boot what others do.
var (
	ErrHangs    = errors.New("network card hangs with this program's drivers")
	ErrNoVendor = errors.New("this ROM takes no offer of a proxyDHCP server that has option 43")
)

// Difficult returns machines that do not boot what most others do. People have reported
// each kind; which firmware it was, they could not always say.
func Difficult() []Persona {
	ipxeROM := IPXEROM()
	return []Persona{
		{"UEFI x64 that asks no boot server", "firmware that knows no BINL: it wants the file in the offer", offerOnly{edk2{arch: 7, on: targetX64}}},
		{"UEFI x64 whose card hangs with iPXE", "cards that iPXE's own drivers do not get to work", hangs{UEFI().firmware, "ipxe.efi"}},
		{"UEFI x64 before 2017 whose card hangs with iPXE", "the same with old firmware", hangs{OldUEFI().firmware, "ipxe.efi"}},
		{"UEFI x64 that asks no boot server, whose card hangs with iPXE", "both at once", hangs{offerOnly{edk2{arch: 7, on: targetX64}}, "ipxe.efi"}},
		{"UEFI HTTP Boot whose card hangs with iPXE", "the same by HTTP Boot", hangs{HTTPBoot().firmware, "ipxe.efi"}},
		{"BIOS that asks the boot server alone", "PXE ROMs that leave option 43 to boot servers", serverOnly{biosROM{}}},
		{"iPXE in ROM that cannot fetch scripts", "a network card's iPXE whose HTTP does not work", scriptless{ipxeROM.firmware}},
	}
}

// offerOnly is UEFI firmware that never asks port 4011.
type offerOnly struct{ edk2 }

func (f offerOnly) choose(offers []reply) (plan, error) {
	return f.edk2.choose(slices.DeleteFunc(slices.Clone(offers), func(r reply) bool { return kindOf(r) == kindBINL && isProxy(r) }))
}

// serverOnly is a BIOS ROM that throws offers with PXE options away.
type serverOnly struct{ biosROM }

func (f serverOnly) admit(m *Machine, r reply) error {
	if isProxy(r) && r.option(optVendor) != nil {
		return ErrNoVendor
	}
	return f.biosROM.admit(m, r)
}

// hangs is a machine on which one program does not get the network card to work.
type hangs struct {
	firmware
	program string
}

func (f hangs) runs(file string) error {
	if file[strings.LastIndexByte(file, '/')+1:] == f.program {
		return fmt.Errorf("%w: %s", ErrHangs, file)
	}
	return f.firmware.runs(file)
}

// scriptless is an iPXE that fetches no script.
type scriptless struct{ firmware }

func (f scriptless) runs(file string) error {
	if strings.HasPrefix(file, "http://") {
		return fmt.Errorf("%w: %s", ErrCannotFetch, file)
	}
	return f.firmware.runs(file)
}
