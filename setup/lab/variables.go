package lab

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf16"
)

// guid is how firmware writes a GUID: three little-endian numbers and eight bytes.
type guid [16]byte

func newGUID(a uint32, b, c uint16, rest [8]byte) (g guid) {
	binary.LittleEndian.PutUint32(g[0:], a)
	binary.LittleEndian.PutUint16(g[4:], b)
	binary.LittleEndian.PutUint16(g[6:], c)
	copy(g[8:], rest[:])
	return g
}

// GUIDs of UEFI 2.10 (32.4.1, 32.3.1), of shim, and of ours.
var (
	x509GUID = newGUID(0xa5c059a1, 0x94e4, 0x4aa7, [8]byte{0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72})
	dbGUID   = newGUID(0xd719b2cb, 0x3d3a, 0x4596, [8]byte{0xa3, 0xbc, 0xda, 0xd0, 0x0e, 0x67, 0x65, 0x6f})
	shimGUID = newGUID(0x605dab50, 0xe046, 0x4300, [8]byte{0xab, 0xb6, 0x3d, 0xd8, 0x10, 0xdd, 0x8b, 0x23})
	// edk2, gEfiSecureBootEnableDisableGuid
	enableGUID = newGUID(0xf0a30bc7, 0xaf08, 0x4556, [8]byte{0x99, 0xc4, 0x00, 0x10, 0x09, 0xc9, 0x3a, 0x44})
	ownerGUID  = newGUID(0x1d0b4a7e, 0x52c3, 0x4b8d, [8]byte{0x8e, 0x11, 0x36, 0xf0, 0x9a, 0x44, 0xd2, 0x07})
)

// variableHeader stands before each variable in OVMF's flash (edk2,
// AUTHENTICATED_VARIABLE_HEADER).
type variableHeader struct {
	StartID        uint16
	State          uint8
	_              uint8
	Attributes     uint32
	MonotonicCount uint64
	TimeStamp      [16]byte
	PubKeyIndex    uint32
	NameSize       uint32
	DataSize       uint32
	Vendor         guid
}

const (
	variableStart = 0x55aa
	variableAdded = 0x3f // a state; deleted ones have bits of it cleared
	deletedBits   = 0xfd

	nonVolatile, bootService = 1, 2 // attributes

	storeHeaderAt = 48 // where a firmware volume's header has its own length
	storeHeader   = 28 // bytes
)

// variables is the content of a flash that holds OVMF's variables.
type variables []byte

// place is where a variable is.
type place struct {
	at, data int
	variableHeader
}

// find returns a variable that is there, if it is, and where the free room begins.
func (v variables) find(name string, vendor guid) (found *place, free int, err error) {
	if len(v) < 0x100 || string(v[40:44]) != "_FVH" {
		return nil, 0, errors.New("no firmware volume")
	}
	at := int(binary.LittleEndian.Uint16(v[storeHeaderAt:])) + storeHeader
	size := binary.Size(variableHeader{})
	for at+size < len(v) {
		var h variableHeader
		if _, err := binary.Decode(v[at:], binary.LittleEndian, &h); err != nil || h.StartID != variableStart {
			return found, at, err
		}
		nameAt := at + size
		dataAt := nameAt + int(h.NameSize)
		end := dataAt + int(h.DataSize)
		if end > len(v) {
			return nil, 0, fmt.Errorf("variable at %#x: no end", at)
		}
		if h.State == variableAdded && h.Vendor == vendor && bytes.Equal(v[nameAt:dataAt], wide(name)) {
			found = &place{at, dataAt, h}
		}
		at = (end + 3) &^ 3
	}
	return nil, 0, errors.New("no end of the variables")
}

// wide is a string as firmware has it, with a NUL at its end.
func wide(s string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(s + "\x00")) {
		b = binary.LittleEndian.AppendUint16(b, u)
	}
	return b
}

// switchOff switches Secure Boot off, as the firmware's set-up does.
func (v variables) switchOff() error {
	found, _, err := v.find("SecureBootEnable", enableGUID)
	if err != nil {
		return err
	}
	if found == nil || found.DataSize != 1 {
		return errors.New("no variable SecureBootEnable")
	}
	v[found.data] = 0
	return nil
}

// trust adds a certificate (DER) to a variable that is a list of them.
func (v variables) trust(name string, vendor guid, certificate []byte) error {
	found, free, err := v.find(name, vendor)
	if err != nil {
		return err
	}
	h := variableHeader{Attributes: nonVolatile | bootService, Vendor: vendor}
	var data []byte
	if found != nil {
		h = found.variableHeader
		data = bytes.Clone(v[found.data : found.data+int(h.DataSize)])
		v[found.at+2] &= deletedBits
	}
	// An EFI_SIGNATURE_LIST with one signature, behind its owner.
	data = append(data, x509GUID[:]...)
	data = binary.LittleEndian.AppendUint32(data, uint32(28+16+len(certificate)))
	data = binary.LittleEndian.AppendUint32(data, 0)
	data = binary.LittleEndian.AppendUint32(data, uint32(16+len(certificate)))
	data = append(data, ownerGUID[:]...)
	data = append(data, certificate...)
	return v.put(name, free, h, data)
}

// put writes a variable where the free room begins.
func (v variables) put(name string, free int, h variableHeader, data []byte) error {
	h.StartID, h.State = variableStart, variableAdded
	h.NameSize, h.DataSize = uint32(len(wide(name))), uint32(len(data))
	record, err := binary.Append(nil, binary.LittleEndian, h)
	if err != nil {
		return err
	}
	record = append(append(record, wide(name)...), data...)
	if free+len(record) > len(v) {
		return fmt.Errorf("no room for variable %s", name)
	}
	copy(v[free:], record)
	return nil
}
