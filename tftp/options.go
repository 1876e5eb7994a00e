package tftp

import (
	"strconv"
	"time"
)

// Terms are what client and server have agreed on for a transfer.
type Terms struct {
	BlockSize int           // bytes of data in a packet
	Window    int           // packets sent before one acknowledgement
	Timeout   time.Duration // until a packet is sent again
}

const (
	defaultBlockSize = 512             // RFC 1350 section 2
	defaultTimeout   = 1 * time.Second // a LAN answers in a millisecond; firmware itself gives up after some seconds

	// maxWindow packets of 1,428 bytes fill half the 64 KB that a NIC's receive
	// ring may hold; edk2 asks for 4 by default.
	maxWindow = 16
)

// Negotiate decides the terms of a transfer of size bytes and which options are
// acknowledged, in the order in which the client sent them: some ROMs take them
// in no other. Options that are unknown, repeated or out of range are left out
// (RFC 2347). A block size over maxBlock is answered with maxBlock, for packets
// that are fragmented are dropped by ROMs.
func Negotiate(asked []Option, size int64, maxBlock int) (Terms, []Option) {
	terms := Terms{BlockSize: defaultBlockSize, Window: 1, Timeout: defaultTimeout}
	var agreed []Option
	seen := make(map[string]bool, len(asked))
	accept := func(name string, value int64) {
		agreed = append(agreed, Option{name, strconv.FormatInt(value, 10)})
	}
	for _, o := range asked {
		n, err := strconv.Atoi(o.Value)
		if err != nil || seen[o.Name] {
			continue
		}
		seen[o.Name] = true
		switch {
		case o.Name == "blksize" && n >= 8: // RFC 2348; over its 65464 too, for we clamp
			terms.BlockSize = min(n, maxBlock)
			accept(o.Name, int64(terms.BlockSize))
		case o.Name == "tsize" && n >= 0: // RFC 2349: the client says 0, we the size
			accept(o.Name, size)
		case o.Name == "timeout" && n >= 1 && n <= 255: // RFC 2349, seconds
			terms.Timeout = time.Duration(n) * time.Second
			accept(o.Name, int64(n))
		case o.Name == "windowsize" && n >= 1 && n <= 65535: // RFC 7440
			terms.Window = min(n, maxWindow)
			accept(o.Name, int64(terms.Window))
		}
	}
	return terms, agreed
}
