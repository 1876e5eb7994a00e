// Package oui names the makers of network cards, from the IEEE's lists that
// Debian's package ieee-data installs. Without them it names no maker.
package oui

import (
	"encoding/csv"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"farmboot/provisioning"
)

// Folder is where the lists are.
const Folder = "/usr/share/ieee-data"

// Makers looks MAC addresses up. The lists are read when they are first needed,
// which takes some 50 ms, and kept, in about 5 MB.
type Makers struct {
	prefixes func() map[string]string // upper-case hexadecimal digits → maker
}

// Open returns the makers in the lists of a folder, which need not exist.
func Open(folder string) *Makers {
	return &Makers{prefixes: sync.OnceValue(func() map[string]string {
		prefixes := map[string]string{}
		// Blocks of 2^24, 2^20 and 2^12 addresses: MA-L, MA-M, and MA-S with its
		// predecessor IAB.
		for _, list := range []string{"oui.csv", "mam.csv", "oui36.csv", "iab.csv"} {
			f, err := os.Open(filepath.Join(folder, list))
			if err != nil {
				continue // not installed: the maker is not known, which is no fault
			}
			read(f, prefixes)
			f.Close()
		}
		return prefixes
	})}
}

// read adds a list: Registry,Assignment,Organization Name,Organization Address.
func read(r io.Reader, prefixes map[string]string) {
	records := csv.NewReader(r)
	records.FieldsPerRecord = -1
	records.LazyQuotes = true
	records.ReuseRecord = true
	for {
		rec, err := records.Read()
		if err != nil {
			return // the end, or damage: what was read is right
		}
		if len(rec) >= 3 {
			prefixes[strings.ToUpper(rec[1])] = strings.Clone(strings.TrimSpace(rec[2]))
		}
	}
}

// Maker returns who made the network card with that address; "" if it is not
// known. Addresses that say that they were made up (the locally administered bit
// of IEEE 802) have no maker, but QEMU's are known.
func (m *Makers) Maker(mac provisioning.MAC) string {
	if mac[0]&2 != 0 {
		if [3]byte(mac[:3]) == [3]byte{0x52, 0x54, 0} {
			return "QEMU virtual machine"
		}
		return ""
	}
	digits := strings.ToUpper(hex.EncodeToString(mac[:]))
	for _, n := range []int{9, 7, 6} { // the smallest block first
		if name, ok := m.prefixes()[digits[:n]]; ok {
			return name
		}
	}
	return ""
}
