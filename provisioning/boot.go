package provisioning

import (
	"net/netip"
	"time"
)

// BootRow is what one node did from its power-on until it ran, or began anew: what a [Store]
// keeps of its events, in one piece. Package boots makes it and reads it.
type BootRow struct {
	ID    int64      // of its first event
	Last  int64      // ID of its last event
	MAC   MAC        // zero: not known (yet)
	Peer  netip.Addr // whose it is as long as MAC is not known; else none
	Began time.Time  // when its first event was
	Ended time.Time  // when the latest was, whatever their order: clocks may go back
	Steps []byte     // its events, packed
}

// BootChanges is what a [Store] is to do with boots, in this order.
type BootChanges struct {
	Delete    []int64       // those with these IDs
	Attribute []Attribution // give to a MAC
	Put       []BootRow     // add, or replace those with the same ID, whose MAC stays
}

// Attribution gives boots without a MAC address to one.
type Attribution struct {
	MAC   MAC
	Peer  netip.Addr // those of this address …
	Since time.Time  // … that went on then or later
}

// Millis is a time as stores keep it: Unix milliseconds, 0 for none.
func Millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// FromMillis is the time that is kept so, in UTC.
func FromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
