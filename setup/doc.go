// Package setup reads appliance.toml and prepares the host: addresses, folders,
// certificates; it also looks for what would stop a boot.
//
// Decisions are pure functions of what was read from the host: [Parse] of a file's
// bytes, the choice of LAN interfaces of the interfaces that there are, the
// doctor's report of the facts it gathered.
package setup
