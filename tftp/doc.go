// Package tftp serves network boot programs, read-only, from memory.
//
// It implements TFTP (RFC 1350) with option negotiation (RFC 2347) and the
// options blksize (RFC 2348), tsize and timeout (RFC 2349) and windowsize (RFC
// 7440). Which name gives which file is its user's business: see [Resolver].
//
// The sender is our own, because what firmware needs cannot be had from
// pin/tftp's server: that acknowledges options in random order (it keeps them in
// a map; some ROMs take them in the order they asked), drops timeout and
// windowsize, sends its handler's error text to the client, and waits for
// stalled transfers when it stops. pin/tftp's netascii is used here, and its
// client proves in the tests that the two understand each other.
//
// To be read in this order: [CleanName], [Negotiate], transfer.go (one file to one
// client) and limits.go (who gets a place), which decide and do nothing else; [Server]
// (requests, the end); loop_linux.go, in which one goroutine sends all transfers, and
// wait_linux.go, how it waits.
package tftp
