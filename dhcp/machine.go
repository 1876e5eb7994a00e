package dhcp

import (
	"encoding/hex"

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
	if !c.IPXE.Present {
		id = []byte{id[3], id[2], id[1], id[0], id[5], id[4], id[7], id[6], id[8], id[9], id[10], id[11], id[12], id[13], id[14], id[15]}
	}
	text := make([]byte, 0, 36)
	for i, part := range [][]byte{id[:4], id[4:6], id[6:8], id[8:10], id[10:]} {
		if i > 0 {
			text = append(text, '-')
		}
		text = hex.AppendEncode(text, part)
	}
	return string(text)
}
