package dhcp

import (
	"encoding/binary"
	"fmt"

	"farmboot/provisioning"
)

// Machine is what the client says of its machine. The iPXE that we loaded says
// nothing new: what its firmware said stays.
func (c Client) Machine() provisioning.Machine {
	if c.IPXE.Ours {
		return provisioning.Machine{}
	}
	firmware := string(c.Class)
	if c.IPXE.Present {
		firmware = "iPXE " + c.IPXE.Version
	}
	return provisioning.Machine{Arch: c.Program.Platform, Firmware: firmware, UUID: c.uuid()}
}

// uuid writes the machine identifier (option 97) as the machine's own dmidecode
// does, "" if there is none. Firmware copies SMBIOS' bytes, whose first three
// fields are little-endian since SMBIOS 2.6; iPXE has them in network order.
func (c Client) uuid() string {
	if len(c.GUID) != 17 || c.GUID[0] != 0 { // type 0 is a UUID (RFC 4578 section 2.3)
		return ""
	}
	id := c.GUID[1:]
	if [16]byte(id) == [16]byte{} { // a machine that has none
		return ""
	}
	var order binary.ByteOrder = binary.LittleEndian
	if c.IPXE.Present {
		order = binary.BigEndian
	}
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", order.Uint32(id), order.Uint16(id[4:]), order.Uint16(id[6:]), id[8:10], id[10:])
}
