package authenticode

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"debug/pe"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
)

var le = binary.LittleEndian

// Offsets in a PE32+ image, from the start of its optional header, and sizes.
const (
	fileHeaderSize     = 20
	sectionHeaderSize  = 40
	checksumOffset     = 64
	certificatesOffset = 112 + 8*pe.IMAGE_DIRECTORY_ENTRY_SECURITY
	entrySize          = 8

	maxSections = 96      // as the PE/COFF specification says
	maxTable    = 1 << 20 // bytes of certificates: Microsoft's own have some 10 kB
)

// Program is an EFI program, as Authenticode sees it: what of it is hashed, and which
// signatures it has.
type Program struct {
	r io.ReaderAt
	// hashed are the runs of bytes that a signature covers, in order.
	hashed []span
	// optional is where the optional header stands, end where the program ends and its
	// certificate table begins or is to begin, before padding.
	optional, end int64
	machine       uint16
	table         []byte // the certificates that are there, whole
}

type span struct{ start, end int64 }

// Parse reads the headers of an EFI program of that many bytes. An error says what
// keeps it from being signed.
func Parse(r io.ReaderAt, size int64) (*Program, error) {
	p := &Program{r: r}
	head, err := readHeaders(r, size)
	if err != nil {
		return nil, err
	}
	coff := int64(le.Uint32(head[0x3c:])) + 4
	p.optional = coff + fileHeaderSize
	p.machine = le.Uint16(head[coff:])
	sizeOfHeaders := int64(le.Uint32(head[p.optional+60:]))
	if err := p.readTable(head, size); err != nil {
		return nil, err
	}
	// Microsoft, "Windows Authenticode Portable Executable Signature Format", chapter
	// "Calculating the PE Image Hash": all but the checksum and the certificates.
	checksum, entry := p.optional+checksumOffset, p.entryAt()
	p.hashed = []span{{0, checksum}, {checksum + 4, entry}, {entry + entrySize, sizeOfHeaders}}
	covered := sizeOfHeaders
	for _, s := range sectionsOf(head, coff) {
		if s.start < sizeOfHeaders || s.end > p.end {
			return nil, fmt.Errorf("in the section table: want data behind the headers and before %#x, found %#x to %#x", p.end, s.start, s.end)
		}
		p.hashed = append(p.hashed, s)
		covered += s.end - s.start
	}
	if covered > p.end {
		return nil, fmt.Errorf("in the section table: want sections that do not overlap, found %#x bytes of them in a file of %#x", covered, p.end)
	}
	p.hashed = append(p.hashed, span{covered, p.end})
	return p, nil
}

// readHeaders returns the first SizeOfHeaders bytes, in which everything lies where
// its neighbours say.
func readHeaders(r io.ReaderAt, size int64) ([]byte, error) {
	start := make([]byte, min(size, 0x1000))
	if _, err := r.ReadAt(start, 0); err != nil && err != io.EOF {
		return nil, fmt.Errorf("read the headers: %w", err)
	}
	if len(start) < 0x40 || string(start[:2]) != "MZ" {
		return nil, fmt.Errorf("at 0x0: want the start of an EFI program, MZ, found %x", start[:min(2, len(start))])
	}
	coff := int64(le.Uint32(start[0x3c:])) + 4
	optional := coff + fileHeaderSize
	if optional+certificatesOffset+entrySize > int64(len(start)) || string(start[coff-4:coff]) != "PE\x00\x00" {
		return nil, fmt.Errorf("at 0x3c: want the offset of a PE header, found %#x", coff-4)
	}
	if magic := le.Uint16(start[optional:]); magic != 0x20b {
		return nil, fmt.Errorf("in the optional header: want magic 0x20b (PE32+), found %#x", magic)
	}
	if n := le.Uint32(start[optional+108:]); n <= pe.IMAGE_DIRECTORY_ENTRY_SECURITY {
		return nil, fmt.Errorf("in the optional header: want at least %d data directories, one of them for certificates, found %d", pe.IMAGE_DIRECTORY_ENTRY_SECURITY+1, n)
	}
	sections := int64(le.Uint16(start[coff+2:]))
	sectionsEnd := optional + int64(le.Uint16(start[coff+16:])) + sections*sectionHeaderSize
	headers := int64(le.Uint32(start[optional+60:]))
	if sections > maxSections || headers < sectionsEnd || headers < optional+certificatesOffset+entrySize || headers > size || headers > maxTable {
		return nil, fmt.Errorf("in the optional header: want SizeOfHeaders from %#x to the file's %#x, found %#x", sectionsEnd, size, headers)
	}
	head := make([]byte, headers)
	if _, err := r.ReadAt(head, 0); err != nil && err != io.EOF {
		return nil, fmt.Errorf("read the headers: %w", err)
	}
	return head, nil
}

// sectionsOf returns where the sections' data is, in the order of the file.
func sectionsOf(head []byte, coff int64) []span {
	at := coff + fileHeaderSize + int64(le.Uint16(head[coff+16:]))
	var all []span
	for range le.Uint16(head[coff+2:]) {
		size, start := int64(le.Uint32(head[at+16:])), int64(le.Uint32(head[at+20:]))
		if size > 0 {
			all = append(all, span{start, start + size})
		}
		at += sectionHeaderSize
	}
	slices.SortFunc(all, func(a, b span) int { return cmp.Compare(a.start, b.start) })
	return all
}

// readTable reads the certificates that there are, which stand at the end of the file.
func (p *Program) readTable(head []byte, size int64) error {
	start, length := int64(le.Uint32(head[p.entryAt():])), int64(le.Uint32(head[p.entryAt()+4:]))
	if length == 0 {
		p.end = size
		return nil
	}
	if start%8 != 0 || start < int64(len(head)) || start+length != size || length > maxTable {
		return fmt.Errorf("in data directory %d: want certificates at the end of the file's %#x bytes, found %#x to %#x", pe.IMAGE_DIRECTORY_ENTRY_SECURITY, size, start, start+length)
	}
	p.end = start
	p.table = make([]byte, length)
	if _, err := p.r.ReadAt(p.table, start); err != nil && err != io.EOF {
		return fmt.Errorf("read the certificates: %w", err)
	}
	return nil
}

// entryAt is where the data directory entry of the certificate table stands.
func (p *Program) entryAt() int64 { return p.optional + certificatesOffset }

// AMD64 tells whether the program is for x86-64.
func (p *Program) AMD64() bool { return p.machine == pe.IMAGE_FILE_MACHINE_AMD64 }

// Signed tells whether the program has a signature, whoever made it.
func (p *Program) Signed() bool { return len(p.table) > 0 }

// Digest returns what a signature signs. The file counts as filled up with zeros to a
// multiple of 8 bytes, as which it is signed.
func (p *Program) Digest() ([sha256.Size]byte, error) {
	h := sha256.New()
	for _, s := range p.hashed {
		if _, err := io.Copy(h, io.NewSectionReader(p.r, s.start, s.end-s.start)); err != nil {
			return [sha256.Size]byte{}, fmt.Errorf("read the program: %w", err)
		}
	}
	h.Write(make([]byte, p.padding()))
	return [sha256.Size]byte(h.Sum(nil)), nil
}

func (p *Program) padding() int64 { return -p.end & 7 }

// certificates returns the content of each WIN_CERTIFICATE of a table that holds a
// PKCS #7 signature (UEFI 2.10, 32.2.4). What is malformed ends the list.
func certificates(table []byte) [][]byte {
	var all [][]byte
	for len(table) > certificateHeader {
		length := int(le.Uint32(table))
		if length <= certificateHeader || length > len(table) {
			break
		}
		if le.Uint16(table[6:]) == pkcsSignedData {
			all = append(all, table[certificateHeader:length])
		}
		table = table[min(len(table), (length+7)&^7):]
	}
	return all
}

// The header of a WIN_CERTIFICATE: its length, revision and type.
const (
	certificateHeader = 8
	revision2         = 0x0200
	pkcsSignedData    = 0x0002
)

// appendCertificate appends a signature to a table, as a WIN_CERTIFICATE.
func appendCertificate(table, signature []byte) []byte {
	table = append(table, make([]byte, -len(table)&7)...)
	table = le.AppendUint32(table, uint32(certificateHeader+len(signature)))
	table = le.AppendUint16(table, revision2)
	table = le.AppendUint16(table, pkcsSignedData)
	table = append(table, signature...)
	return append(table, make([]byte, -len(table)&7)...)
}

// head returns the program up to and with the entry of its certificate table, which
// says where that begins and how long it is.
func (p *Program) head(table []byte) ([]byte, error) {
	b := make([]byte, p.entryAt()+entrySize)
	if _, err := p.r.ReadAt(b, 0); err != nil {
		return nil, fmt.Errorf("read the headers: %w", err)
	}
	le.PutUint32(b[p.entryAt():], uint32(p.end+p.padding()))
	le.PutUint32(b[p.entryAt()+4:], uint32(len(table)))
	return b, nil
}

// Write writes the program with a certificate table to w.
func (p *Program) Write(w io.Writer, table []byte) error {
	head, err := p.head(table)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, io.MultiReader(
		bytes.NewReader(head),
		io.NewSectionReader(p.r, int64(len(head)), p.end-int64(len(head))),
		bytes.NewReader(make([]byte, p.padding())),
		bytes.NewReader(table),
	))
	return err
}
