package main

import (
	"fmt"
	"strings"
	"testing"
)

// TestNarrate puts the lines of a boot, as an appliance logged them, into words.
func TestNarrate(t *testing.T) {
	for line, want := range map[string]string{
		`level=DEBUG msg=boot stage=discover mac=52:54:00:00:00:b1 detail="UEFI x64, PXEClient"`:                                                    "a machine asks the LAN what to boot (UEFI x64, PXEClient)",
		`level=INFO msg=boot stage=offer mac=52:54:00:00:00:b1 detail=ipxe.efi`:                                                                     "I offer it ipxe.efi, beside",
		`level=INFO msg=boot stage=bootserver mac=52:54:00:00:00:b1 peer=10.77.4.90 detail=ipxe.efi`:                                                "boot file (port 4011): ipxe.efi",
		`level=INFO msg=boot stage=nbp mac=52:54:00:00:00:b1 peer=10.77.4.90 detail="ipxe.efi by TFTP" bytes=1002496 size=1002496 dur=157.881099ms`: "sent ipxe.efi, iPXE with my boot script inside, by TFTP: 1002496 bytes in 157 ms",
		`level=INFO msg=boot stage=script mac=52:54:00:00:00:b1 peer=10.77.4.90 detail="runmode prod, farmer 1234"`:                                 "boot script (runmode prod, farmer 1234)",
		`level=INFO msg=boot stage=kernel mac=52:54:00:00:00:b1 peer=10.77.4.90 detail=net/prod.efi bytes=14149568 size=14149568 dur=1.404944443s`:  "sent the kernel net/prod.efi: 14149568 bytes in 1 s.",
		`level=INFO msg="server certificate" names="[localhost vm]" addresses="[10.77.0.2 127.0.0.1 ::1]" until=2027-12-30T23:19:47.000Z`:           "",
	} {
		var out strings.Builder
		newStage(&out).narrate(appliance, applianceSays, line)
		if got := out.String(); !strings.Contains(got, want) || (want == "") != (got == "") {
			t.Errorf("%s\nis told as %q, want %q", line, got, want)
		}
	}
}

// TestLines: a command writes a table cell by cell, and a line is one all the same.
func TestLines(t *testing.T) {
	var got []string
	l := &lines{each: func(line string) { got = append(got, line) }}
	for _, piece := range []string{"MAC", "", "   52:54\r", "\nwhole\n\ntwo", " lines\nlast"} {
		if n, err := fmt.Fprint(l, piece); n != len(piece) || err != nil {
			t.Errorf("wrote %d of %q: %v", n, piece, err)
		}
	}
	if got, want := strings.Join(got, "|"), "MAC   52:54|whole||two lines"; got != want {
		t.Errorf("lines are %q, want %q", got, want)
	}
	l.flush()
	l.flush()
	if got, want := strings.Join(got, "|"), "MAC   52:54|whole||two lines|last"; got != want {
		t.Errorf("in the end lines are %q, want %q", got, want)
	}
}
