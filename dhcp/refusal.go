package dhcp

import "farmboot/provisioning"

// Refusal is why a packet gets no answer: in words for the log, as a metric's label, and,
// where a machine that wants to boot is to be told of it, as a cause.
type Refusal struct {
	text, label string
	cause       provisioning.CauseID // "": it is no matter of a machine's
}

// Error implements error.
func (r *Refusal) Error() string { return r.text }

// Why a packet is not from a client that we can boot.
var (
	ErrNotNetboot  = &Refusal{"not a network boot request", "not_netboot", ""}                                       // no option 60 PXEClient or HTTPClient: an ordinary machine wants an address
	ErrNotEthernet = &Refusal{"hardware address is not a 6-byte MAC", "not_ethernet", provisioning.CauseNotEthernet} // some firmware puts its GUID there (hlen 16)
	ErrBadGUID     = &Refusal{"client GUID is neither absent nor 17 bytes", "bad_guid", ""}                          // option 97, RFC 4578 section 2.3
	ErrUnknownArch = &Refusal{"client architecture is none that Farmboot boots", "unknown_arch", provisioning.CauseArchUnknown}
	ErrRaspberryPi = &Refusal{"a Raspberry Pi claims to be a BIOS PC", "raspberry_pi", provisioning.CauseRaspberryPi} // its ROM sends architecture 0, and cannot run undionly.kpxe

	errShort  = &Refusal{"packet is shorter than a DHCP header", "malformed", ""}
	errCookie = &Refusal{"packet has no DHCP magic cookie", "malformed", ""}
	errOption = &Refusal{"option runs over the end of its field", "malformed", ""}
)

// Why a client that we could boot gets no answer.
var (
	ErrNotForUs = &Refusal{"message is for another server", "not_for_us", ""}                                                    // on this port we do not answer this message type
	ErrIgnored  = &Refusal{"not registered, and such machines are ignored", "ignored", provisioning.CauseIgnored}                // [provisioning] unknown = "ignore"
	ErrNoTFTP   = &Refusal{"client needs TFTP, which is switched off", "no_tftp", provisioning.CauseTFTPOff}                     // [tftp] enabled = false
	ErrNoRoom   = &Refusal{"reply is larger than the client, or a packet, can take", "no_room", provisioning.CauseReplyTooLarge} // option 57; a very long base URL
	ErrFlood    = &Refusal{"too many requests of machines that have not booted here", "flood", ""}                               // or this one asks more often than firmware does: it has to ask again
)
