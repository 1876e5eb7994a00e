package fakeclient

import (
	"fmt"
	"net/netip"
	"time"
)

// biosROM is a PXE ROM of a BIOS machine, as Intel's Boot Agent: the PXE 2.1
// specification by the letter (sections 2.2 and 2.4), with its error numbers,
// which are what the person before the screen sees.
type biosROM struct{}

// waits: PXE 2.1 section 2.2.2, "4, 8, 16 and 32 seconds".
func (biosROM) waits() []time.Duration { return edk2{}.waits() }

func (biosROM) broadcasts() bool { return true }

func (biosROM) options(m *Machine, messageType byte) []option {
	o := append([]option{{optMessageType, []byte{messageType}}}, m.lease()...)
	return append(o,
		option{optParameters, []byte{
			1, 2, 3, 5, 6, 11, 12, 13, 15, 16, 17, 18, 43, 54, 60, 67, 128, 129, 130, 131, 132, 133, 134, 135,
		}},
		option{optMaxSize, []byte{0x04, 0xec}}, // 1260
		option{optGUID, m.guid()},
		option{optArch, []byte{0, 0}},
		option{optNIC, []byte{1, 2, 1}},
		option{optClass, []byte("PXEClient:Arch:00000:UNDI:002001")})
}

func (biosROM) admit(m *Machine, r reply) error {
	switch {
	case r.messageType() == 0 && isProxy(r):
		return ErrNoMessageType
	case r.messageType() != 0 && r.messageType() != offer:
		return ErrWrongType
	case r.messageType() != 0 && !r.serverID().IsValid():
		return ErrNoServerID
	case r.from.Port() != serverPort:
		return ErrWrongPort
	case isProxy(r) && !r.isClass("PXEClient"):
		return ErrNotPXEClient
	case !guidOK(m, r):
		return ErrWrongGUID
	}
	return nil
}

// collects: until the time is over.
func (biosROM) collects() int { return 1 }

func (biosROM) enough([]reply, int) bool { return false }

func (biosROM) choose(offers []reply) (plan, error) {
	lease, _ := first(offers, func(r reply) bool { return !isProxy(r) })
	pxe, ok := first(offers, func(r reply) bool { return r.isClass("PXEClient") && !isProxy(r) })
	if ok {
		lease = pxe // a DHCP server that speaks PXE is preferred
	} else if pxe, ok = first(offers, isProxy); !ok {
		if lease.file() == "" {
			return plan{lease: lease, fail: fmt.Errorf("%w (the screen says PXE-E53: No boot filename received)", ErrNoBootOffer)}, nil
		}
		return plan{lease: lease, boot: &Boot{lease.file(), lease.nextServer()}}, nil
	}
	if find(pxe.option(optVendor), pxeDiscoveryControl) != nil {
		return bootOf(lease, pxe)
	}
	// No PXE options: ask the server that sent option 60, from the DHCP client's
	// own port (PXE 2.1 section 2.2.3). If it is silent: PXE-E55.
	return plan{lease: lease, ask: []netip.Addr{pxe.serverID()}, port: clientPort}, nil
}

func (biosROM) bootAck(m *Machine, r reply) (Boot, error) {
	switch {
	case r.messageType() != ack:
		return Boot{}, ErrWrongType
	case r.from.Port() != bootServerPort:
		return Boot{}, ErrWrongPort
	case r.serverID() != m.plan.ask[0]:
		return Boot{}, ErrWrongServer
	case r.file() == "":
		return Boot{}, ErrNoFile
	}
	return Boot{r.file(), r.nextServer()}, nil
}

func (biosROM) runs(file string) error { return runnableOn(file, targetBIOS) }
