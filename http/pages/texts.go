package pages

import (
	"cmp"
	"fmt"

	"farmboot/ipxe/image"
)

// The texts that Go code chooses from. All others are in the templates.

const badFarmer = "A farmer id is a whole number from 1 to 4294967295, digits only"

// What may be done with the files of a stick that has no more than files on it.
const (
	editable = "Its boot script, autoexec.ipxe, can be edited."
	sealed   = "Its programs are signed for Secure Boot: leave its files as they are."
)

// formats are the kinds of image that farmers choose from, the one for nearly
// everybody first.
var formats = []choice{
	{Value: "usb", Title: "USB stick, works everywhere", Text: "Starts old BIOS machines and new UEFI ones. Take this one if you are not sure."},
	{Value: "uefimg", Title: "USB stick, UEFI only", Text: "A plain FAT stick for machines from about 2012 on. " + editable},
	{Value: "iso", Title: "CD or virtual media", Text: "For the remote console of a server (iDRAC, iLO, IPMI), for virtual machines, or to burn."},
}

// files are the kinds for people with a PXE server of their own.
var files = []choice{
	{Value: "krn", Title: "BIOS", Text: "Starts like a Linux kernel: from PXELINUX, GRUB or iPXE."},
	{Value: "uefi", Title: "UEFI", Text: "A UEFI program with drivers for most network cards."},
	{Value: "snponly", Title: "UEFI, firmware's driver", Text: "Small. Uses the network card that it was loaded over, by the firmware's driver; for cards that the other does not know. From a stick it finds no card."},
}

// architectures are what images are made for.
var architectures = []choice{
	{Value: "amd64", Title: "Intel and AMD, 64 bits"},
	{Value: "arm64", Title: "ARM, 64 bits"},
	{Value: "riscv64", Title: "RISC-V, 64 bits"},
}

// schemes are how an image fetches its kernel.
var schemes = []choice{
	{Value: "", Title: "As the appliance prefers"},
	{Value: "http", Title: "HTTP"},
	{Value: "https", Title: "HTTPS, with a certificate check"},
}

// medium says what becomes of an image: a stick is written, a disc is burnt or
// attached, a file is served.
func medium(k image.Kind) string {
	switch k {
	case image.USB, image.UEFIDisk:
		return "stick"
	case image.ISO:
		return "disc"
	}
	return "file"
}

// wordsFor is how a keyword of ours is called on a page.
func wordsFor(keyword any) string {
	switch k := fmt.Sprint(keyword); k {
	case "error":
		return "Refused:"
	case "warning":
		return "Careful:"
	case "note":
		return "Note:"
	case "booted":
		return "up"
	case "exited":
		return "sent on"
	case "held":
		return "waits to be claimed"
	default:
		return k
	}
}

const (
	leaveAsItIs = "Leave as it is"
	theDefault  = "The default"
)

// nbps are the network boot programs that a node may get.
var nbps = []choice{
	{Value: "", Title: "Whichever boots it"},
	{Value: "ipxe", Title: "UEFI, iPXE's network drivers (ipxe)"},
	{Value: "snponly", Title: "UEFI, firmware's network driver (snponly)"},
	{Value: "signed-snponly", Title: "The same, signed for Secure Boot (signed-snponly)"},
	{Value: "signed", Title: "Signed, without shim (signed)"},
	{Value: "plain", Title: "Unsigned, for Secure Boot switched off (plain)"},
}

// What is wrong with what should say which machine is meant.
const (
	badMachine = "type the machine's MAC address, or the six characters on its screen if it shows any"
	badCode    = "type the six characters on the machine's screen"
)

// fieldWords are what fields of the history are called where it is not their name.
var fieldWords = map[string]string{"runmode": "run mode", "nbp": "boot program", "args": "arguments", "exit": "its own disk", "read_only": "only to look"}

// fieldWord is what a field is called.
func fieldWord(name string) string { return cmp.Or(fieldWords[name], name) }

// manyWords say what was done to many nodes at once, by action of the history.
var manyWords = map[string]string{"node add": "nodes added", "node set": "nodes changed", "node rm": "nodes removed"}

// roles are what a token may be for.
var roles = []choice{
	{Value: "farmer", Title: "A farmer", Text: "Sees and changes his own nodes."},
	{Value: "admin", Title: "An admin", Text: "Sees and changes everything."},
}

// boardGroups are the groups of nodes that the board tells apart, and what it says where one
// of them is empty.
var boardGroups = []choice{
	{Value: "", Title: "All", Text: "No node to show"},
	{Value: "booting", Title: "Booting", Text: "No node is booting now"},
	{Value: "attention", Title: "Need a look", Text: "No node needs a look"},
	{Value: "started", Title: "Started", Text: "No node has started yet"},
	{Value: "quiet", Title: "Quiet", Text: "Every node has done something"},
}

// tokenEnds are how long tokens last, in days; "": for ever.
var tokenEnds = []choice{
	{Value: "", Title: "Until it is revoked"},
	{Value: "7", Title: "7 days"},
	{Value: "30", Title: "30 days"},
	{Value: "90", Title: "90 days"},
	{Value: "365", Title: "A year"},
}

// What there is to say besides when a change was taken back.
const (
	undoneEnrol   = "Not to be enrolled for Secure Boot any more, for that ended with their registration: {names}."
	undoneOnce    = "Their one-time next boot was dropped with their registration: {names}."
	undoneFarmers = "Farmers who stay registered, without a node: {names}."
)

// whatWasDone says what a form did.
var whatWasDone = map[string]string{
	"node-added":      "Node registered. It boots like this from its next start on.",
	"node-changed":    "Saved. It counts from the node's next start on.",
	"node-claimed":    "Claimed. If it waits on its screen, it boots on within seconds.",
	"node-once":       "Saved. It counts for the node's next boot alone.",
	"node-enrol":      "Saved. It is made to trust our key at its next boot from us: by HTTP Boot, or with Secure Boot off, its screen says which keys to press.",
	"node-enrol-off":  "Saved. It boots as usual.",
	"node-woken":      "The magic packet is on its way. If Wake-on-LAN is on in its firmware, the node starts.",
	"nodes-woken":     "Magic packets go out, to 20 nodes every 10 seconds. Those start that have Wake-on-LAN on in their firmware.",
	"nodes-claimed":   "Claimed. Those that wait on their screens boot on within seconds.",
	"undone":          "Taken back.",
	"node-removed":    "Node removed. Its boots and its history stay.",
	"nodes-changed":   "Saved for all selected nodes.",
	"nodes-removed":   "The selected nodes are removed.",
	"nodes-imported":  "Imported, every line of it.",
	"farmer-added":    "Farmer registered.",
	"farmer-named":    "The farmer was registered already, without a name, and has one now.",
	"farmer-renamed":  "Saved.",
	"farmer-removed":  "Farmer removed, with his tokens.",
	"kernel-uploaded": "Kernel stored.",
	"kernel-back":     "Done. Nodes get from their next start on what they had before.",
	"kernel-promoted": "Done. All nodes of the run mode get it from their next start on.",
	"kernel-pointed":  "Done. Nodes get it from their next start on.",
	"kernel-removed":  "Kernel removed.",
	"token-removed":   "Token revoked. Whoever used it is signed out.",
}
