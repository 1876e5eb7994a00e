// Package fakeclient plays the firmware of many machines against a network, for
// tests and for the doctor.
//
// A [Persona] is a kind of firmware: it sends exactly what that firmware sends,
// takes and throws away replies by that firmware's rules, and comes to a
// [Result]: what would be booted from where, or why nothing would. The rules were
// read in the firmware's source, named beside each of them, or measured; where
// neither was possible (closed BIOS ROMs) the PXE 2.1 specification stands in.
//
// The core is pure: [Persona.Start], [Machine.Receive] and [Machine.Expire] take
// packets and the passing of time, and give packets. [Run] connects that to
// sockets. Nothing of package dhcp is used here: what tests a program must not
// share its mistakes.
package fakeclient
