package dhcp

import (
	"bytes"
	"fmt"
)

// UserClass is what our own iPXE build says in option 77: the script that is
// baked into it begins with "set user-class farmboot", which replaces iPXE's
// usual "iPXE" in every request that follows (iPXE dhcp.c, dhcp_create_request).
const UserClass = "farmboot"

// IPXE says whether a client is iPXE, and which.
type IPXE struct {
	Present bool   // it is iPXE: ours, or one in a NIC's ROM or a virtual machine
	Ours    bool   // it says [UserClass]
	Version string // "1.21.1" from option 175; "" if it does not say
	noHTTP  bool   // option 175 lists features, and HTTP is not among them
}

// parseIPXE reads options 77 (user class) and 175 (iPXE's own, "Etherboot
// encapsulated"). Both may be nil.
func parseIPXE(userClass, encap []byte) IPXE {
	var x IPXE
	for class := range userClasses(userClass) {
		switch string(class) {
		case UserClass:
			x.Present, x.Ours = true, true
		case "iPXE":
			x.Present = true
		}
	}
	if !x.Present {
		return IPXE{}
	}
	const (
		featureFirst, featureLast = 0x10, 0x7f // iPXE features.h: the range of feature tags
		featureHTTP               = 19
		version                   = 235
	)
	listed, http := false, false
	for code, value := range subOptions(encap) {
		switch {
		case code == version && len(value) == 3:
			x.Version = fmt.Sprintf("%d.%d.%d", value[0], value[1], value[2])
		case code >= featureFirst && code <= featureLast:
			listed = true
			http = http || code == featureHTTP
		}
	}
	x.noHTTP = listed && !http
	return x
}

// userClasses yields the user classes of option 77. RFC 3004 wants each one with
// its length in front; iPXE sends the bare text (measured). A text whose first
// letter is its length does not exist among the classes that matter.
func userClasses(b []byte) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		if !lengthPrefixed(b) {
			yield(bytes.TrimRight(b, "\x00"))
			return
		}
		for len(b) > 0 {
			n := 1 + int(b[0])
			if !yield(b[1:n]) {
				return
			}
			b = b[n:]
		}
	}
}

// lengthPrefixed tells whether b is a series of non-empty strings, each with its
// length in front, and nothing else.
func lengthPrefixed(b []byte) bool {
	for len(b) > 0 {
		n := 1 + int(b[0])
		if n == 1 || n > len(b) {
			return false
		}
		b = b[n:]
	}
	return true
}

// subOptions yields the options that are encapsulated in an option: code,
// length, value; 0 is a pad and 255 the end (RFC 2132 section 8.4). It stops
// where the bytes stop making sense.
func subOptions(b []byte) func(yield func(byte, []byte) bool) {
	return func(yield func(byte, []byte) bool) {
		for len(b) > 0 && b[0] != 255 {
			if b[0] == 0 {
				b = b[1:]
				continue
			}
			if len(b) < 2 || len(b) < 2+int(b[1]) {
				return
			}
			n := 2 + int(b[1])
			if !yield(b[0], b[2:n]) {
				return
			}
			b = b[n:]
		}
	}
}
