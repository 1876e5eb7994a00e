package fakeclient

import (
	"fmt"
	"strings"
)

// secureBoot is UEFI firmware that starts only what Microsoft has signed, which of network
// boot programs that are not Windows' own is shim alone.
type secureBoot struct{ edk2 }

func (f secureBoot) runs(file string) error {
	if err := f.edk2.runs(file); err != nil {
		return err
	}
	if name := strings.ToLower(file[strings.LastIndexAny(file, `/\`)+1:]); !strings.Contains(name, "shim") {
		return fmt.Errorf("%w: %s is not shim", ErrUnsigned, file)
	}
	return nil
}
