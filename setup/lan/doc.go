// Package lan follows the network of this host: which interfaces machines boot from,
// and our addresses there, while both may change.
//
// A [Watcher] returns its [View], which never changes, and a View tells when the next one
// replaces it. The kernel reports changes (rtnetlink(7)); what a report says is not read:
// each one makes the Watcher look at the interfaces again.
package lan
