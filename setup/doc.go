// Package setup reads appliance.toml, and chooses from the host's interfaces and
// addresses those that nodes boot from.
//
// Decisions are pure functions of what was read from the host: [Parse] of a file's
// bytes, the choice of LAN interfaces of the interfaces that there are. The packages
// below it do the rest: certificates, the doctor, alerts, the manual.
//
// The reader of that file is our own above a TOML library, because the library ends at the
// first wrong type, has no place for a value and no hint for a typo: keys.go is the table
// of keys and what contradicts what, value.go what each accepts, toml.go where it stands.
package setup
