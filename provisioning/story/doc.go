// Package story tells how a boot went, from its events: how far it came, whether it
// stalled or was refused, and what to check. It is pure: what it is told depends on
// the events and the time that it is given.
package story
