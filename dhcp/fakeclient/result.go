package fakeclient

import (
	"errors"
	"net/netip"
)

// Result is what a boot attempt came to.
type Result struct {
	Persona string     // its name
	Address netip.Addr // what the machine got for itself
	Lease   netip.Addr // the DHCP server that it got that from
	Boot    *Boot      // nil: it boots nothing from the network
	Err     error      // why it did not get what it wants; nil: it did
	Ignored []Ignored  // replies that the firmware threw away
}

// Boot is what a machine loads next.
type Boot struct {
	File   string     // name on the TFTP server, or URL
	Server netip.Addr // TFTP server; where the file is a URL, who named it
}

// Ignored is a reply that the firmware threw away, and its rule for that.
type Ignored struct {
	From netip.AddrPort
	Why  error
}

// Why a machine does not boot from the network.
var (
	ErrNoLease      = errors.New("no DHCP server offered an address")
	ErrNoBootOffer  = errors.New("nobody told the machine what to boot")
	ErrNoBootServer = errors.New("boot server did not answer on port 4011 with a boot file")
	ErrRefused      = errors.New("DHCP server did not confirm the address that it had offered")
	ErrMenu         = errors.New("offer wants the machine to show a menu or to search for boot servers")
	ErrWrongFile    = errors.New("boot file is for another kind of machine")
	ErrLoop         = errors.New("iPXE is told to load iPXE again")
	ErrCannotFetch  = errors.New("boot file's protocol is not one that this iPXE has")
	ErrUnsigned     = errors.New("firmware with Secure Boot on starts nothing that Microsoft has not signed")
	ErrGaveUp       = errors.New("attempt ended before the firmware came to a decision")
)

// Why firmware throws a reply away.
var (
	ErrWrongType     = errors.New("option 53 is not what the firmware waits for")
	ErrNoMessageType = errors.New("no option 53: counts as BOOTP")
	ErrNoServerID    = errors.New("no option 54")
	ErrWrongServer   = errors.New("option 54 names another server than the one asked")
	ErrWrongPort     = errors.New("comes from the wrong port")
	ErrNotPXEClient  = errors.New("assigns no address, and option 60 is not PXEClient")
	ErrNotHTTPClient = errors.New("assigns no address, and option 60 is not HTTPClient")
	ErrPXE10         = errors.New("option 43 has discovery control: firmware before 2017 throws such offers of a proxyDHCP server away")
	ErrMTFTP         = errors.New("option 43 wants multicast TFTP")
	ErrNoFile        = errors.New("no boot file")
	ErrNotURL        = errors.New("boot file is not a URL")
	ErrWrongGUID     = errors.New("option 97 is not the machine's")
	ErrNotForPi      = errors.New("option 43 does not say \"Raspberry Pi Boot\"")
	ErrTooMany       = errors.New("more offers than the firmware keeps")
)
