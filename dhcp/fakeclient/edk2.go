package fakeclient

import (
	"bytes"
	"fmt"
	"net/netip"
	"time"
)

// edk2 is the PXE client of UEFI firmware: TianoCore's NetworkPkg/UefiPxeBcDxe,
// which nearly all vendors use (files named below are there or in
// MdeModulePkg/…/Dhcp4Dxe).
type edk2 struct {
	arch uint16
	on   target
	old  bool // before 2017: PxeBcDhcp4.c tests the wrong way round whether it has a PXE 1.0 offer of a proxy yet
}

// The kinds of offers that PxeBcParseDhcp4Packet tells apart.
type offerKind int

const (
	kindDHCP  offerKind = iota // plain DHCP
	kindPXE10                  // PXEClient with discovery control in option 43
	kindBINL                   // PXEClient without
	kindBOOTP                  // no option 53
	kindMTFTP                  // PXEClient with multicast TFTP options
)

// Sub-options of option 43 (PXE 2.1 table 2-1, RFC 4578 refers to it).
const (
	pxeMTFTPAddress     = 1
	pxeDiscoveryControl = 6

	// useBootFile is a bit of the discovery control: boot the file of this offer,
	// without prompt, menu or discovery.
	useBootFile = 8
)

// kindOf classifies an offer (PxeBcParseDhcp4Packet).
func kindOf(r reply) offerKind {
	vendor := r.option(optVendor)
	switch pxe := r.isClass("PXEClient"); {
	case r.messageType() == 0:
		return kindBOOTP
	case pxe && find(vendor, pxeDiscoveryControl) != nil:
		return kindPXE10
	case pxe && find(vendor, pxeMTFTPAddress) != nil:
		return kindMTFTP
	case pxe:
		return kindBINL
	}
	return kindDHCP
}

// isProxy tells whether an offer assigns nothing.
func isProxy(r reply) bool { return !r.yiaddr().IsValid() }

// waits: mPxeDhcpTimeout. All offers that come meanwhile are collected.
func (edk2) waits() []time.Duration {
	return []time.Duration{4 * time.Second, 8 * time.Second, 16 * time.Second, 32 * time.Second}
}

func (edk2) broadcasts() bool { return true } // Dhcp4Io.c, DhcpSendMessage

// options: Dhcp4Io.c puts the message type, the lease and the size before those
// of PxeBcBuildDhcp4Options.
func (f edk2) options(m *Machine, messageType byte) []option {
	o := append([]option{{optMessageType, []byte{messageType}}}, m.lease()...)
	return append(o,
		option{optMaxSize, []byte{0x05, 0xc0}}, // 1472, measured in OVMF
		option{optParameters, []byte{
			1, 2, 3, 4, 5, 6, 12, 13, 15, 17, 18, 22, 23, 28, 40, 41, 42, 43, 50, 51, 54, 58, 59, 60, 66, 67, 97,
			128, 129, 130, 131, 132, 133, 134, 135,
		}},
		option{optGUID, m.guid()},
		option{optNIC, []byte{1, 3, 0}},
		option{optArch, []byte{byte(f.arch >> 8), byte(f.arch)}},
		option{optClass, fmt.Appendf(nil, "PXEClient:Arch:%05d:UNDI:003000", f.arch)})
}

// admit: DhcpHandleSelect, then PxeBcCacheDhcp4Offer.
func (f edk2) admit(m *Machine, r reply) error {
	kind := kindOf(r)
	switch {
	case r.messageType() != 0 && r.messageType() != offer:
		return ErrWrongType
	case r.messageType() != 0 && !r.serverID().IsValid():
		return ErrNoServerID
	case kind == kindBOOTP && r.file() == "":
		return ErrNoMessageType
	case kind == kindMTFTP:
		return ErrMTFTP
	case kind == kindDHCP && isProxy(r):
		return ErrNotPXEClient
	case kind == kindPXE10 && isProxy(r) && f.old:
		return ErrPXE10
	}
	return nil
}

// collects: PxeBcDhcp4CallBack answers EFI_NOT_READY to every offer; the choice is
// made when the time is over.
func (edk2) collects() int { return 1 }

func (edk2) enough([]reply, int) bool { return false }

// choose: PxeBcSelectDhcp4Offer, sorted, and PxeBcHandleDhcp4Offer.
func (edk2) choose(offers []reply) (plan, error) {
	pick := func(kind offerKind, proxy bool) (reply, bool) {
		return first(offers, func(r reply) bool { return kindOf(r) == kind && isProxy(r) == proxy })
	}
	dhcp, haveDHCP := pick(kindDHCP, false)
	if o, ok := pick(kindPXE10, false); ok { // 1. the DHCP server speaks PXE itself
		return bootOf(o, o)
	}
	if o, ok := pick(kindPXE10, true); ok && haveDHCP { // 3. DHCP server and proxy with discovery control
		return bootOf(dhcp, o)
	}
	if o, ok := pick(kindBINL, false); ok { // 5. a DHCP server that sends option 60 outranks a proxy without 43
		return plan{lease: o, ask: []netip.Addr{o.nextServer()}, port: bootServerPort, newXID: true}, nil
	}
	if _, ok := pick(kindBINL, true); ok && haveDHCP { // 6. DHCP server and proxy: BINL
		p := plan{lease: dhcp, port: bootServerPort, newXID: true}
		for _, o := range offers {
			if kindOf(o) == kindBINL && isProxy(o) {
				p.ask = append(p.ask, o.nextServer())
			}
		}
		return p, nil
	}
	named := func(r reply) bool { return kindOf(r) == kindDHCP && r.file() != "" }
	if o, ok := first(offers, named); ok { // 7. DHCP server that names a file
		return plan{lease: o, boot: &Boot{o.file(), o.nextServer()}}, nil
	}
	if o, ok := first(offers, func(r reply) bool { return kindOf(r) == kindBOOTP }); ok { // 8. BOOTP
		if isProxy(o) {
			// DhcpLeaseAcquired aborts: it assigns no address.
			return plan{}, fmt.Errorf("%w: %w", ErrNoBootOffer, ErrNoMessageType)
		}
		return plan{lease: o, boot: &Boot{o.file(), o.nextServer()}}, nil
	}
	return plan{}, fmt.Errorf("%w (the screen says PXE-E16: No valid offer received)", ErrNoBootOffer)
}

// bootOf boots the file of an offer with discovery control.
func bootOf(lease, o reply) (plan, error) {
	control := find(o.option(optVendor), pxeDiscoveryControl)
	if len(control) != 1 || control[0]&useBootFile == 0 {
		return plan{}, ErrMenu
	}
	if o.file() == "" {
		return plan{}, fmt.Errorf("%w: %w", ErrNoBootOffer, ErrNoFile)
	}
	return plan{lease: lease, boot: &Boot{o.file(), o.nextServer()}}, nil
}

// bootAck: PxeBcRetryBinlOffer. The message type is not looked at.
func (edk2) bootAck(_ *Machine, r reply) (Boot, error) {
	if r.file() == "" {
		return Boot{}, ErrNoFile
	}
	return Boot{r.file(), r.nextServer()}, nil
}

func (f edk2) runs(file string) error { return runnableOn(file, f.on) }

// guidOK tells whether a reply's option 97 is absent or the machine's.
func guidOK(m *Machine, r reply) bool {
	v := r.option(optGUID)
	return v == nil || bytes.Equal(v, m.guid())
}
