package fat

import (
	"encoding/binary"
	"fmt"
	"strings"
	"unicode/utf16"
)

// Attributes of directory entries.
const (
	attrVolumeID  = 0x08
	attrDirectory = 0x10
	attrArchive   = 0x20
	attrLongName  = 0x0f
)

// fixedDate is 1 January 2025, the date of everything: year since 1980, month, day.
const fixedDate = (2025-1980)<<9 | 1<<5 | 1

// entry is a directory entry.
type entry struct {
	Name         shortName
	Attr         uint8
	NTRes        uint8
	CrtTimeTenth uint8
	CrtTime      uint16
	CrtDate      uint16
	LstAccDate   uint16
	FstClusHI    uint16
	WrtTime      uint16
	WrtDate      uint16
	FstClusLO    uint16
	FileSize     uint32
}

// longEntry is a directory entry that holds 13 characters of a long name.
type longEntry struct {
	Ord       uint8
	Name1     [5]uint16
	Attr      uint8
	Type      uint8
	Chksum    uint8
	Name2     [6]uint16
	FstClusLO uint16
	Name3     [2]uint16
}

const (
	charsPerLongEntry = 13
	lastLongEntry     = 0x40 // flag in Ord
)

// slots returns how many entries a directory has.
func (n *node) slots() int {
	slots := 2 // "." and ".."; in the root the label
	for _, c := range n.children {
		slots += 1 + c.longEntries()
	}
	return slots
}

// longEntries returns how many entries the long name takes: none if the short name
// says it all.
func (n *node) longEntries() int {
	if n.short.String() == n.name {
		return 0
	}
	return (len(n.name) + charsPerLongEntry - 1) / charsPerLongEntry
}

// directory returns the entries of a directory: in the root directory the label
// first, in others "." and "..".
func (n *node) directory(volumeLabel string) []byte {
	b := make([]byte, 0, n.slots()*entrySize)
	if n.parent == nil {
		b = newEntry(label(volumeLabel), attrVolumeID, 0, 0).append(b)
	} else {
		b = newEntry(pad11("."), attrDirectory, n.first, 0).append(b)
		b = newEntry(pad11(".."), attrDirectory, n.parent.first, 0).append(b)
	}
	for _, c := range n.children {
		b = c.appendLongName(b)
		if c.isDir() {
			b = newEntry(c.short, attrDirectory, c.first, 0).append(b)
		} else {
			b = newEntry(c.short, attrArchive, c.first, uint32(c.data.Size())).append(b)
		}
	}
	return b
}

func newEntry(name shortName, attr uint8, cluster int, size uint32) entry {
	return entry{
		Name: name, Attr: attr, FstClusLO: uint16(cluster), FileSize: size,
		CrtDate: fixedDate, LstAccDate: fixedDate, WrtDate: fixedDate,
	}
}

func (e entry) append(b []byte) []byte {
	b, _ = binary.Append(b, le, e)
	return b
}

// appendLongName appends the entries of n's long name: the last part first.
func (n *node) appendLongName(b []byte) []byte {
	count := n.longEntries()
	chars := make([]uint16, count*charsPerLongEntry)
	for i := range chars {
		chars[i] = 0xffff // behind the NUL
	}
	if k := copy(chars, utf16.Encode([]rune(n.name))); k < len(chars) {
		chars[k] = 0
	}
	for i := count; i > 0; i-- {
		part := chars[(i-1)*charsPerLongEntry:]
		e := longEntry{
			Ord:    uint8(i),
			Attr:   attrLongName,
			Chksum: n.short.checksum(),
			Name1:  [5]uint16(part[0:]),
			Name2:  [6]uint16(part[5:]),
			Name3:  [2]uint16(part[11:]),
		}
		if i == count {
			e.Ord |= lastLongEntry
		}
		b, _ = binary.Append(b, le, e)
	}
	return b
}

// shortName is a name of eight characters and an extension of three, padded with
// spaces.
type shortName [11]byte

func pad11(s string) (n shortName) {
	copy(n[:], fmt.Sprintf("%-11.11s", s))
	return n
}

// label returns a volume label as it stands in the root directory.
func label(s string) shortName { return pad11(strings.ToUpper(s)) }

// String returns the name as people write it: EFI, BOOTX64.EFI.
func (n shortName) String() string {
	base, ext := strings.TrimRight(string(n[:8]), " "), strings.TrimRight(string(n[8:]), " ")
	if ext == "" {
		return base
	}
	return base + "." + ext
}

// checksum ties long names to the short one.
func (n shortName) checksum() (sum uint8) {
	for _, c := range n {
		sum = sum<<7 + sum>>1 + c
	}
	return sum
}

// shorten returns a short name that is not taken: the name itself if it is one, else
// one like AUTOEX~1IPX.
func shorten(name string, taken map[shortName]bool) (shortName, error) {
	base, ext := name, ""
	if dot := strings.LastIndexByte(name, '.'); dot > 0 {
		base, ext = name[:dot], name[dot+1:]
	}
	clean := func(s string) string { return strings.Map(shortChar, strings.ToUpper(s)) }
	if n := pad83(clean(base), clean(ext)); n.String() == name && !taken[n] {
		return n, nil
	}
	for i := range 9 {
		n := pad83(fmt.Sprintf("%.6s~%d", clean(base), i+1), clean(ext))
		if !taken[n] {
			return n, nil
		}
	}
	return shortName{}, fmt.Errorf("more than 9 names like %s in one FAT directory", name)
}

func pad83(base, ext string) shortName { return pad11(fmt.Sprintf("%-8.8s%-3.3s", base, ext)) }

// shortChar drops what short names cannot hold.
func shortChar(r rune) rune {
	if r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_' || r == '-' {
		return r
	}
	return -1
}

// maxName keeps long names well below the format's limit of 255.
const maxName = 200

// checkName refuses names that a directory cannot hold.
func checkName(name string) error {
	if len(name) > maxName {
		return fmt.Errorf("FAT name %.40q…: want at most %d characters", name, maxName)
	}
	for _, r := range name {
		if r <= ' ' || r > '~' || strings.ContainsRune(`"*:<>?\|`, r) {
			return fmt.Errorf("FAT name %q: want printable ASCII, found %q", name, r)
		}
	}
	return nil
}
