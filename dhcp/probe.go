package dhcp

import "farmboot/provisioning"

// ProbeMAC is the MAC address of the nth machine that a doctor plays on a LAN: locally
// administered, and always the same. It is answered like any other, but it is no
// node, and nothing is recorded of it.
func ProbeMAC(n byte) provisioning.MAC {
	return provisioning.MAC{probePrefix[0], probePrefix[1], probePrefix[2], probePrefix[3], probePrefix[4], n}
}

// IsProbe tells whether mac is a [ProbeMAC].
func IsProbe(mac provisioning.MAC) bool { return [5]byte(mac[:5]) == probePrefix }

var probePrefix = [5]byte{0x02, 'd', 'o', 'c', 't'}
