package binary

import (
	"bytes"

	"farmboot/provisioning"
)

// magic is how iPXE knows a script.
const magic = "#!ipxe"

// CheckScript refuses what iPXE would not take for a script, and a NUL, which
// would end one early. The error is a [provisioning.Error] with code
// [provisioning.Invalid].
func CheckScript(script []byte) error {
	rest, ok := bytes.CutPrefix(script, []byte(magic))
	if !ok || len(rest) > 0 && !bytes.ContainsRune([]byte("\r\n\t "), rune(rest[0])) {
		return provisioning.Errorf(provisioning.Invalid, "boot script does not start with a line %q", magic)
	}
	if i := bytes.IndexByte(script, 0); i >= 0 {
		return provisioning.Errorf(provisioning.Invalid, "boot script has a NUL byte at offset %d: scripts are text", i)
	}
	return nil
}

// decoy is a comment for iPXE to eat.
const decoy = "#BOOT_IMAGE=x initrd=x \n"

// biosCommandLine returns the command line that makes a BIOS program run a script.
// iPXE removes the first BOOT_IMAGE=… and the first initrd=… word of a command
// line, up to the next space, wherever they stand: the decoy on the second line
// keeps it off the script.
func biosCommandLine(script []byte) []byte {
	first, rest, _ := bytes.Cut(script, []byte("\n"))
	line := make([]byte, 0, len(script)+1+len(decoy))
	line = append(line, first...)
	line = append(line, '\n')
	line = append(line, decoy...)
	return append(line, rest...)
}

// loadOptions returns the load options that make an EFI application run a script:
// iPXE drops the first word, by convention the name of the program.
func loadOptions(script []byte) []byte {
	return append([]byte("ipxe.efi "), script...)
}
