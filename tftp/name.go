package tftp

import "strings"

// CleanName turns the file name of a request into the name of a file: firmware
// puts a slash before it, uses backslashes, leaves the 0xff of the DHCP end
// option or a NUL behind it, or asks for it in the folder where HTTP has it. It
// is "" if nothing sensible is left.
func CleanName(name string) string {
	for name != "" && (name[len(name)-1] == 0 || name[len(name)-1] == 0xff) {
		name = name[:len(name)-1]
	}
	name = strings.ReplaceAll(name, `\`, "/")
	name = strings.TrimPrefix(strings.TrimLeft(name, "/"), "boot/")
	name = strings.TrimLeft(name, "/")
	if len(name) > 255 || strings.ContainsFunc(name, unprintable) {
		return ""
	}
	return name
}

func unprintable(r rune) bool { return r < 0x20 || r == 0x7f || r == '\uFFFD' }
