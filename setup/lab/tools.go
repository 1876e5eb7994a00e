package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
)

// packages names the Debian package of every program and file that the lab uses.
var packages = map[string]string{
	"ip":                  "iproute2",
	"dnsmasq":             "dnsmasq-base",
	"tcpdump":             "tcpdump",
	"qemu-system-x86_64":  "qemu-system-x86",
	"qemu-system-aarch64": "qemu-system-arm",
	"genisoimage":         "genisoimage",
	"mkfs.fat":            "dosfstools",
	"mcopy":               "mtools",
	"mmd":                 "mtools",
	"sqlite3":             "sqlite3",
	"/usr/lib/ISOLINUX":   "isolinux",
	"/usr/lib/syslinux":   "syslinux-common",
	"/usr/share/OVMF":     "ovmf",
	"/usr/share/AAVMF":    "qemu-efi-aarch64",
	"/usr/lib/ipxe/qemu":  "ipxe-qemu",
	"/usr/share/qemu":     "ipxe-qemu",
}

// Missing is the error for a program or file that is not installed.
type Missing struct {
	What    string // program or folder
	Package string // Debian package that has it; "" if not known
}

// Error says what is missing and which command installs it.
func (m *Missing) Error() string {
	if m.Package == "" {
		return fmt.Sprintf("%s is missing", m.What)
	}
	return fmt.Sprintf("%s is missing: apt-get install --no-install-recommends %s", m.What, m.Package)
}

// Tool returns the path of a program; the error is a [*Missing].
func Tool(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err == nil {
		return path, nil
	}
	// A user's PATH, and a service's, may lack the administrator's folders.
	for _, dir := range []string{"/usr/sbin/", "/sbin/"} {
		if path, err := exec.LookPath(dir + name); err == nil {
			return path, nil
		}
	}
	return "", &Missing{What: name, Package: packages[name]}
}

// firstFile returns the first of the files in dir that exists; the error is a
// [*Missing].
func firstFile(dir string, names ...string) (string, error) {
	for _, name := range names {
		if _, err := os.Stat(dir + "/" + name); err == nil {
			return dir + "/" + name, nil
		}
	}
	return "", &Missing{What: dir + "/" + names[0], Package: packages[dir]}
}

// Needs returns an error that names every missing program and how to install it,
// nil if all are there.
func Needs(programs ...string) error {
	var missing []error
	for _, program := range programs {
		if _, err := Tool(program); err != nil {
			missing = append(missing, err)
		}
	}
	return errors.Join(missing...)
}
