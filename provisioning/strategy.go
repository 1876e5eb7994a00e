package provisioning

import (
	"strings"
	"time"
)

// Strategy is how a machine is brought to its boot program. The zero value is what most
// machines need.
type Strategy struct {
	NBP  NBP  // the program
	Form Form // how it is named to the firmware
}

// Form is a form of an answer to a machine that netboots.
type Form string

// The forms.
const (
	UsualForm      Form = ""           // UEFI asks the boot server (no option 43), BIOS finds the file in the offer, iPXE gets a script
	FileInOffer    Form = "offer"      // UEFI finds the file in the offer, too (PXE discovery control)
	FromBootServer Form = "bootserver" // BIOS asks the boot server, too
	ProgramForIPXE Form = "program"    // iPXE of a network card gets our boot program, not a script
)

// String describes the strategy for people: "snponly, file in the offer".
func (s Strategy) String() string {
	words := []string{string(AllDrivers)}
	switch s.NBP {
	case SNPOnly, SignedSNPOnly, Signed:
		words[0] = string(s.NBP)
	}
	switch s.Form {
	case FileInOffer:
		words = append(words, "file in the offer")
	case FromBootServer:
		words = append(words, "file from the boot server")
	case ProgramForIPXE:
		words = append(words, "in place of a script")
	}
	return strings.Join(words, ", ")
}

// MarshalText writes what String returns.
func (s Strategy) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Proven is the strategy that booted a machine.
type Proven struct {
	MAC      MAC       `json:"-"`
	Client   string    `json:"client"` // which of the machine's clients: "pxe" and "http" are its UEFI's, "bios" its BIOS's, "ipxe" its network card's
	Strategy Strategy  `json:"strategy"`
	Since    time.Time `json:"since"`
}

// Unusual tells whether the machine needs anything else than most machines.
func (p Proven) Unusual() bool { return p.Strategy != Strategy{} }
