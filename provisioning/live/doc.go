// Package live remembers what every node did last, so that all of them can be shown at
// once.
package live
