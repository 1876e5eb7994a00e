// Package recorder takes the events of boots from the listeners, and stores them.
//
// Events go through a bounded queue, so no listener waits for the store. The recorder
// finds out which node each belongs to, drops repeats and floods, writes the log and the
// metrics, and sends the events to subscribers.
package recorder
