// Package lan follows the network of this host: which interfaces machines boot from,
// and our addresses there, while both may change.
//
// Everybody else asks a [Watcher] for its [View], a picture that never changes, and
// waits on it for the next one. The kernel tells of changes (rtnetlink(7)); what it
// tells is not read, only taken for a reason to look again.
package lan
