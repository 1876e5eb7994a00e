package fakeclient

import (
	"fmt"
	"strings"
)

// target is a kind of machine, as the names of boot programs give it away.
type target string

const (
	targetBIOS    target = "a BIOS PC"
	targetX64     target = "x64 UEFI"
	targetARM64   target = "arm64 UEFI"
	targetRISCV64 target = "riscv64 UEFI"
)

// targetOf guesses what a boot file is for, the way people name them; "" if the
// name does not say.
func targetOf(file string) target {
	name := strings.ToLower(file[strings.LastIndexAny(file, `/\`)+1:])
	has := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(name, p) {
				return true
			}
		}
		return false
	}
	switch {
	case strings.HasSuffix(name, ".kpxe"), strings.HasSuffix(name, ".kkpxe"), strings.HasSuffix(name, ".pxe"), strings.HasSuffix(name, ".0"):
		return targetBIOS
	case !strings.HasSuffix(name, ".efi"):
		return ""
	case has("arm64", "aa64", "aarch64"):
		return targetARM64
	case has("riscv64"):
		return targetRISCV64
	}
	return targetX64
}

// runnableOn checks a file's name against a kind of machine.
func runnableOn(file string, machine target) error {
	if t := targetOf(file); t != "" && t != machine {
		return fmt.Errorf("%w: %s is for %s, this is %s", ErrWrongFile, file, t, machine)
	}
	return nil
}
