// Package provisioning knows the farmers, their nodes by MAC address, and what
// each node did while booting.
//
// It holds the domain's types and its pure decisions: what a MAC address gets
// ([Policy], [Node]), and what a series of boot [Event]s tells about a boot
// ([Story]). It does no network I/O and imports nothing of ours; package
// sqlite stores what is declared here.
package provisioning
