package tftp

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
)

// Opcodes (RFC 1350 section 5, RFC 2347).
const (
	opRead  = 1
	opWrite = 2
	opData  = 3
	opAck   = 4
	opError = 5
	opOAck  = 6
)

// errorFileNotFound is the error code for all we refuse (RFC 1350 section 5); its
// text tells nothing about us.
const (
	errorFileNotFound = 1
	fileNotFound      = "file not found"
)

// errorStopping ends the transfers that are under way when the server stops, so
// that a client can begin again at once.
const (
	errorUndefined = 0
	stopping       = "server is stopping"
)

// request is a read or write request.
type request struct {
	write   bool
	name    string
	mode    string   // lower case
	options []Option // in the client's order
}

// Option is an option of a request or of its acknowledgement.
type Option struct{ Name, Value string }

// maxOptions bounds what we look at; a request of 512 bytes that means it has
// fewer.
const maxOptions = 16

// parseRequest reads an RRQ or WRQ: opcode, name, NUL, mode, NUL, then names and
// values of options, each with its NUL.
func parseRequest(b []byte) (request, bool) {
	if len(b) < 2 {
		return request{}, false
	}
	op := binary.BigEndian.Uint16(b)
	if op != opRead && op != opWrite {
		return request{}, false
	}
	fields := bytes.SplitN(b[2:], []byte{0}, 2+2*maxOptions+1)
	if len(fields) < 3 { // the NUL behind the mode makes a third
		return request{}, false
	}
	// Firmware ends the name with a NUL of its own, now and then.
	if len(fields) > 3 && len(fields[1]) == 0 {
		fields = slices.Delete(fields, 1, 2)
	}
	r := request{write: op == opWrite, name: string(fields[0]), mode: strings.ToLower(string(fields[1]))}
	fields = fields[2:]
	for len(fields) >= 3 { // name, value, and what is behind its NUL
		r.options = append(r.options, Option{strings.ToLower(string(fields[0])), string(fields[1])})
		fields = fields[2:]
	}
	return r, true
}

// appendOAck appends an option acknowledgement.
func appendOAck(b []byte, options []Option) []byte {
	b = append(b, 0, opOAck)
	for _, o := range options {
		b = append(append(b, o.Name...), 0)
		b = append(append(b, o.Value...), 0)
	}
	return b
}

// appendError appends an error packet.
func appendError(b []byte, code byte, text string) []byte {
	return append(append(append(b, 0, opError, 0, code), text...), 0)
}
