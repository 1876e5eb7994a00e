package fakeclient

import (
	"fmt"
	"net/netip"
	"net/url"
	"time"
)

// httpBoot is UEFI HTTP Boot: TianoCore's NetworkPkg/HttpBootDxe/HttpBootDhcp4.c.
type httpBoot struct {
	arch uint16
	on   target
}

func (httpBoot) waits() []time.Duration { return edk2{}.waits() } // mHttpDhcpTimeout is the same

func (httpBoot) broadcasts() bool { return true }

// options: HttpBootBuildDhcp4Options.
func (f httpBoot) options(m *Machine, messageType byte) []option {
	o := append([]option{{optMessageType, []byte{messageType}}}, m.lease()...)
	return append(o,
		option{optMaxSize, []byte{0x05, 0xc0}}, // 1472: HTTP_BOOT_DHCP4_PACKET_MAX_SIZE
		option{optParameters, []byte{
			1, 2, 3, 4, 5, 6, 12, 13, 15, 17, 18, 22, 23, 28, 40, 41, 42, 43, 50, 51, 54, 58, 59, 60,
			0xeb, // never set: what the memory held (measured in OVMF)
			67, 97,
		}},
		option{optGUID, m.guid()},
		option{optNIC, []byte{1, 3, 0}},
		option{optArch, []byte{byte(f.arch >> 8), byte(f.arch)}},
		option{optClass, fmt.Appendf(nil, "HTTPClient:Arch:%05d:UNDI:003000", f.arch)})
}

// admit: DhcpHandleSelect, then HttpBootParseDhcp4Packet, which does not look at
// the message type.
func (httpBoot) admit(_ *Machine, r reply) error {
	http := r.isClass("HTTPClient")
	switch {
	case r.messageType() == 0 && isProxy(r):
		return ErrNoMessageType // DhcpLeaseAcquired aborts on it if it is chosen
	case r.messageType() != 0 && r.messageType() != offer:
		return ErrWrongType
	case r.messageType() != 0 && !r.serverID().IsValid():
		return ErrNoServerID
	case http && r.file() == "":
		return ErrNoFile
	case http && !isURL(r.file()):
		return ErrNotURL
	case !http && isProxy(r):
		return ErrNotHTTPClient
	}
	return nil
}

func isURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Scheme != "" && u.Host != ""
}

// byAddress tells whether an offer's URL has a literal IPv4 address.
func byAddress(r reply) bool {
	u, err := url.Parse(r.file())
	if err != nil {
		return false
	}
	a, err := netip.ParseAddr(u.Hostname())
	return err == nil && a.Is4()
}

func (httpBoot) collects() int { return 1 }

func (httpBoot) enough([]reply, int) bool { return false }

// choose: HttpBootSelectDhcpOffer, in its "corporate environment".
func (httpBoot) choose(offers []reply) (plan, error) {
	pick := func(http, proxy, literal, dns bool) (reply, bool) {
		return first(offers, func(r reply) bool {
			return r.isClass("HTTPClient") == http && isProxy(r) == proxy &&
				(!http || byAddress(r) == literal) &&
				(proxy || (r.option(optDNS) != nil) == dns)
		})
	}
	boot := func(lease, o reply) (plan, error) {
		return plan{lease: lease, boot: &Boot{o.file(), o.nextServer()}}, nil
	}
	for _, c := range []struct{ literal, dns bool }{{true, false}, {true, true}, {false, true}} { // 1 and 2: the DHCP server itself
		if o, ok := pick(true, false, c.literal, c.dns); ok {
			return boot(o, o)
		}
	}
	address, haveAddress := pick(true, true, true, false)
	name, haveName := pick(true, true, false, false)
	bare, haveBare := pick(false, false, false, false)
	dns, haveDNS := pick(false, false, false, true)
	switch {
	case haveBare && haveAddress: // 3
		return boot(bare, address)
	case haveDNS && haveAddress: // 4
		return boot(dns, address)
	case haveDNS && haveName: // 5
		return boot(dns, name)
	case haveName:
		return plan{}, fmt.Errorf("%w: the URL has a name and no DHCP server names a DNS server", ErrNoBootOffer)
	}
	return plan{}, ErrNoBootOffer
}

// bootAck is never asked for: HTTP Boot knows no port 4011.
func (httpBoot) bootAck(*Machine, reply) (Boot, error) { return Boot{}, ErrWrongType }

func (f httpBoot) runs(file string) error { return runnableOn(file, f.on) }
