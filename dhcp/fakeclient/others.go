package fakeclient

import (
	"bytes"
	"fmt"
	"time"
)

// raspberryPi is the boot ROM of a Raspberry Pi: it claims to be a BIOS PC, and
// takes its files only from a server that says "Raspberry Pi Boot" in option 43
// (Raspberry Pi documentation, "Network booting").
type raspberryPi struct{ biosROM }

func (raspberryPi) options(m *Machine, messageType byte) []option {
	o := append([]option{{optMessageType, []byte{messageType}}}, m.lease()...)
	return append(o,
		option{optParameters, []byte{1, 3, 43, 60, 66, 67, 128, 129, 130, 131, 132, 133, 134, 135}},
		option{optArch, []byte{0, 0}},
		option{optNIC, []byte{1, 2, 1}},
		option{optGUID, m.guid()},
		option{optClass, []byte("PXEClient:Arch:00000:UNDI:002001")})
}

func (f raspberryPi) admit(m *Machine, r reply) error {
	if err := f.biosROM.admit(m, r); err != nil {
		return err
	}
	if isProxy(r) && !saysPi(r) {
		return ErrNotForPi
	}
	return nil
}

func saysPi(r reply) bool { return bytes.Contains(r.option(optVendor), []byte("Raspberry Pi Boot")) }

func (raspberryPi) choose(offers []reply) (plan, error) {
	lease, _ := first(offers, func(r reply) bool { return !isProxy(r) })
	pi, ok := first(offers, saysPi)
	if !ok {
		return plan{}, fmt.Errorf("%w: nobody says \"Raspberry Pi Boot\"", ErrNoBootOffer)
	}
	return plan{lease: lease, boot: &Boot{"bootcode.bin", pi.nextServer()}}, nil
}

func (raspberryPi) runs(file string) error {
	if targetOf(file) != "" {
		return fmt.Errorf("%w: %s", ErrWrongFile, file)
	}
	return nil
}

// laptop is an operating system that wants an address and nothing else.
type laptop struct{}

func (laptop) waits() []time.Duration { return edk2{}.waits() }

func (laptop) broadcasts() bool { return false }

func (laptop) options(m *Machine, messageType byte) []option {
	o := []option{{optMessageType, []byte{messageType}}, {optClientID, append([]byte{1}, m.id.MAC[:]...)}}
	o = append(o, m.lease()...)
	return append(o,
		option{optMaxSize, []byte{0x05, 0xc0}},
		option{12, []byte("laptop")}, // host name
		option{optParameters, []byte{1, 3, 6, 12, 15, 26, 28, 42, 119, 121}})
}

func (laptop) admit(_ *Machine, r reply) error {
	switch {
	case r.messageType() != offer:
		return ErrWrongType
	case isProxy(r) || !r.serverID().IsValid():
		return ErrNoServerID
	}
	return nil
}

func (laptop) collects() int { return 1 }

func (laptop) enough(offers []reply, _ int) bool { return len(offers) > 0 }

func (laptop) choose(offers []reply) (plan, error) { return plan{lease: offers[0]}, nil }

func (laptop) bootAck(*Machine, reply) (Boot, error) { return Boot{}, ErrWrongType }

func (laptop) runs(string) error { return nil }
