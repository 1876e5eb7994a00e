package ipxe

import (
	"encoding/binary"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"rsc.io/qr"

	"farmboot/provisioning"
)

// A node's console has 25 rows of 80 columns, and letters alone. A QR code of version 1,
// two columns to a module, just fits: 21 modules and a margin of one. It holds 25
// characters, capitals and digits (ISO/IEC 18004, level L), which is enough for our
// address where that is written as one number, as the WHATWG URL standard has it
// (section 3.5) and every browser reads it.
const (
	squareMost    = 25                      // characters
	squareModules = 21                      // on each side
	squareColumns = 2*(squareModules+2) + 1 // of the screen, with a space behind
	squareText    = 80 - squareColumns - 1  // columns beside it; the last would wrap
)

// squareRow is a row of the screen.
type squareRow struct {
	Cells string // of the code: ${w} and ${b} switch to white and black
	Text  string // beside it
}

// square draws a QR code with the address of that claim code, and the text beside it. It
// is nil where the address is too long, or unknown.
func square(literal, code string, text []string) []squareRow {
	short := claimAddress(literal, code)
	drawn, err := qr.Encode(short, qr.L)
	if short == "" || err != nil || drawn.Size != squareModules {
		return nil
	}
	rows := make([]squareRow, squareModules+2)
	for y := range rows {
		var cells strings.Builder
		black := true // as the screen is
		for x := range squareModules + 2 {
			// Beyond its edges the code is white.
			was := black
			black = drawn.Black(x-1, y-1)
			switch {
			case black && !was:
				cells.WriteString("${b}")
			case !black && was:
				cells.WriteString("${w}")
			}
			if black {
				cells.WriteString("..")
			} else {
				cells.WriteString("==")
			}
		}
		rows[y].Cells = cells.String()
		if y < len(text) {
			rows[y].Text = text[y]
		}
	}
	return rows
}

// claimAddress is claimLink in capitals, and as short as it has to be; "" where it
// cannot be.
func claimAddress(literal, code string) string {
	u, err := url.Parse(literal)
	if err != nil || u.Host == "" {
		return ""
	}
	if long := strings.ToUpper(literal + "/" + code); len(long) <= squareMost {
		return long
	}
	a, err := netip.ParseAddr(u.Hostname())
	if err != nil || !a.Is4() {
		return ""
	}
	four := a.As4()
	u.Host = strconv.FormatUint(uint64(binary.BigEndian.Uint32(four[:])), 10) + strings.TrimPrefix(u.Host, u.Hostname())
	if short := strings.ToUpper(u.String() + "/" + code); len(short) <= squareMost {
		return short
	}
	return ""
}

// claimLink is where whoever types a node's claim code into a browser is led to where he
// claims it.
func (s Site) claimLink(code string) string { return s.Literal + "/" + code }

// beside is what a node that waits to be claimed says beside the QR code.
func (s Site) beside(m provisioning.MAC, code string) []string {
	return []string{
		1: "FARMBOOT: this node is", 2: "not registered,", 3: "and waits to be claimed.",
		5: "node ........ " + m.String(),
		7: "claim code .. " + code,
		9: "The admin scans this, or opens", 10: s.claimLink(code),
		12: "or types on the appliance:", 13: "farmboot node claim " + code, 14: "  --farmer F",
		16: "It then boots on by itself.", 17: "Nothing needs to be done here.",
	}
}
