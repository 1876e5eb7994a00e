// Package setup reads appliance.toml, and chooses from the host's interfaces and
// addresses those that nodes boot from.
//
// Decisions are pure functions of what was read from the host: [Parse] of a file's
// bytes, the choice of LAN interfaces of the interfaces that there are. The packages
// below it do the rest: certificates, the doctor, alerts, the manual.
package setup
