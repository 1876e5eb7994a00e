package main

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"farmboot/dhcp/fakeclient"
)

// discover is the DHCPDISCOVER that the UEFI firmware of machine n sends.
func discover(n uint32) []byte { return firmwarePacket(fakeclient.UEFI(), n) }

// firmwarePacket is the DHCPDISCOVER that a kind of firmware sends on machine n.
func firmwarePacket(p fakeclient.Persona, n uint32) []byte {
	id := fakeclient.Identity{MAC: [6]byte{0x52, 0x54}, XID: firstXID + n}
	binary.BigEndian.PutUint32(id.MAC[2:], n)
	binary.BigEndian.PutUint32(id.GUID[:], n+1) // none is all zeros
	_, step := p.Start(id)
	return step.Send[0].Data
}

// firstXID is the transaction of machine 0.
const firstXID = 0x5eed0000

// offered returns which machine an offer is for.
func offered(m []byte) (n uint32, ok bool) {
	// RFC 2131 section 2: both servers put the message type first.
	if len(m) < 243 || m[0] != 2 || !bytes.Equal(m[240:243], []byte{53, 1, 2}) {
		return 0, false
	}
	return binary.BigEndian.Uint32(m[4:]) - firstXID, true
}

// firmware opens the socket that machines send from and get offers at.
func (s *site) firmware() (conn *net.UDPConn, err error) {
	err = s.nodes.Do(func() error {
		conn, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.IPv4Unspecified(), 68)))
		return err
	})
	if err != nil {
		return nil, err
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var optErr error
	err = raw.Control(func(fd uintptr) {
		optErr = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20)
	})
	if err == nil {
		err = optErr
	}
	return conn, err
}
