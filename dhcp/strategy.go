package dhcp

import (
	"slices"
	"strings"

	"farmboot/provisioning"
	"farmboot/provisioning/filenames"
)

// clientKind tells apart the clients of one machine, which are tried independently.
type clientKind int

const (
	kindPXE clientKind = iota // of UEFI
	kindBIOS
	kindHTTP
	kindIPXE // in a network card's ROM
	kinds    // their number
)

// String is what the store calls it.
func (k clientKind) String() string { return [...]string{"pxe", "bios", "http", "ipxe"}[k] }

func kindOf(c Client) clientKind {
	switch {
	case c.IPXE.Present:
		return kindIPXE
	case c.Class == HTTPClient:
		return kindHTTP
	case c.Program.BIOS:
		return kindBIOS
	}
	return kindPXE
}

// outcome is what a boot with a strategy came to.
type outcome int

const (
	unfetched outcome = iota // it asks again and has never fetched its program: it did not take the answer
	silent                   // it fetched the program, and then was silent: that does not run
	booted                   // the program ran
)

// choices are what there is to try for a client: the likeliest first.
type choices struct {
	forms    []provisioning.Form
	programs []provisioning.NBP
}

// choicesOf returns what there is to try. A program that was chosen for the node is the
// only one.
func (r Responder) choicesOf(c Client, in Ingress, pinned provisioning.NBP) choices {
	ch := choices{forms: []provisioning.Form{provisioning.UsualForm}, programs: []provisioning.NBP{provisioning.DefaultNBP}}
	switch {
	case c.IPXE.Ours:
		return ch
	case c.IPXE.Present && r.TFTP && !r.Signed && !c.IPXE.noHTTP && !strings.HasPrefix(in.BaseURL, "https:"):
		ch.forms = append(ch.forms, provisioning.ProgramForIPXE)
	case c.IPXE.Present, c.Program.HTTP:
	case c.Program.BIOS:
		ch.forms = append(ch.forms, provisioning.FromBootServer)
	default:
		ch.forms = append(ch.forms, provisioning.FileInOffer)
	}
	switch {
	case pinned == provisioning.Plain:
		ch.programs = []provisioning.NBP{provisioning.Plain, provisioning.SNPOnly}
	case pinned != provisioning.DefaultNBP:
		ch.programs[0] = pinned
	case c.Program.Shim && r.Shim == filenames.IPXEShim:
	case c.Program.Shim && r.Shim != "":
		ch.programs = append(ch.programs, provisioning.SignedSNPOnly)
	case c.Program.SNPOnly != "":
		ch.programs = append(ch.programs, provisioning.SNPOnly)
	}
	return ch
}

// first is what is tried first.
func (ch choices) first() provisioning.Strategy {
	return provisioning.Strategy{NBP: ch.programs[0], Form: ch.forms[0]}
}

// allows tells whether a strategy is among the choices.
func (ch choices) allows(s provisioning.Strategy) bool {
	return slices.Contains(ch.forms, s.Form) && slices.Contains(ch.programs, s.NBP)
}

// next returns what is tried after a strategy that came to an outcome. Where the answer
// was not taken, that is the next form; where the program did not run, the next program;
// and where all of those were tried, the next of the other. After the last comes the
// first: the fault may have been somewhere else.
func (ch choices) next(s provisioning.Strategy, o outcome) provisioning.Strategy {
	form, program := max(0, slices.Index(ch.forms, s.Form)), max(0, slices.Index(ch.programs, s.NBP))
	switch o {
	case unfetched:
		if form = (form + 1) % len(ch.forms); form == 0 {
			program = (program + 1) % len(ch.programs)
		}
	case silent:
		if program = (program + 1) % len(ch.programs); program == 0 {
			form = (form + 1) % len(ch.forms)
		}
	}
	return provisioning.Strategy{NBP: ch.programs[program], Form: ch.forms[form]}
}
