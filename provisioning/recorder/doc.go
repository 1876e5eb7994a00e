// Package recorder takes the events of boots from the listeners, and stores them.
//
// No listener waits for it: events go through a bounded queue. On their way it finds
// out whose they are, holds back repeats and floods, writes the log and the metrics,
// and hands them to whoever watches.
package recorder
