// Package dhcp answers PXE clients as a proxyDHCP server and PXE boot server; it
// never assigns an address.
//
// Beside the LAN's ordinary DHCP server, which leases the address and knows
// nothing of network boot, a proxyDHCP server adds what is missing: who serves
// the boot file and what it is called (PXE 2.1 section 2.2.3; the options are in
// RFC 4578). Some firmware takes the file from our OFFER on port 67, other
// firmware asks once more on port 4011, the PXE boot server.
//
// All decisions are pure functions, to be read in this order: [ParseClient] (which
// client asks), [Responder.Reply] (what it gets), [Destination] (where the reply goes). The
// [Server] moves packets between them and sockets that are already open.
//
// What it does not do: lease addresses, answer clients that are not booting,
// serve menus, multicast or IPv6.
package dhcp
