// Package doctor looks for what would stop a node from booting, on this host and
// on its LAN, and says how to mend it.
//
// [Gather] collects [Facts]; it is the only part that touches the host. [Examine]
// is a pure function of them: a list of checks, each of which says what is so, and
// where that stops a boot, why and what to do about it.
package doctor
