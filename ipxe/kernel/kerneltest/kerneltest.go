// Package kerneltest makes small files that are kernels by their own header, and a
// registry without nodes, for tests.
package kerneltest

import (
	"context"
	"encoding/binary"
	"iter"

	"farmboot/provisioning"
)

// NoNodes is a registry without nodes and without a history, for editors of kernels.
type NoNodes struct{}

// AllNodes lists none.
func (NoNodes) AllNodes(context.Context, provisioning.Actor, provisioning.NodeQuery) iter.Seq2[provisioning.Node, error] {
	return func(func(provisioning.Node, error) bool) {}
}

// Note forgets it.
func (NoNodes) Note(context.Context, provisioning.Actor, string, string, any, any) error { return nil }

// NoteIf forgets it.
func (NoNodes) NoteIf(context.Context, provisioning.Actor, string, string, any, any, int64) (bool, error) {
	return true, nil
}

// EFI is an EFI application (PE32+, x64) whose only section holds text, up to the end of
// the file. It runs nowhere.
func EFI(text string) string {
	const (
		coff, optional   = 0x44, 0x58
		optionalSize     = 240
		section          = optional + optionalSize
		headers          = section + 40
		x64, application = 0x8664, 10
	)
	b := make([]byte, headers, headers+len(text))
	le := binary.LittleEndian
	copy(b, "MZ")
	le.PutUint32(b[0x3c:], 0x40)
	copy(b[0x40:], "PE\x00\x00")
	le.PutUint16(b[coff:], x64)
	le.PutUint16(b[coff+2:], 1) // sections
	le.PutUint16(b[coff+16:], optionalSize)
	le.PutUint16(b[optional:], 0x20b)
	le.PutUint32(b[optional+60:], headers)
	le.PutUint16(b[optional+68:], application)
	le.PutUint32(b[optional+108:], 16) // data directories
	copy(b[section:], ".text")
	le.PutUint32(b[section+16:], uint32(len(text)))
	le.PutUint32(b[section+20:], headers)
	return string(append(b, text...))
}

// BzImage is a bzImage that ends with text, filled up to 16 bytes.
func BzImage(text string) string {
	b := append(make([]byte, 1024), text...)
	b = append(b, make([]byte, -len(b)&15)...)
	le := binary.LittleEndian
	b[0x1f1] = 1 // sectors of setup code
	le.PutUint32(b[0x1f4:], uint32(len(b)-1024)/16)
	le.PutUint16(b[0x1fe:], 0xaa55)
	copy(b[0x202:], "HdrS")
	le.PutUint16(b[0x206:], 0x20f)
	return string(b)
}
