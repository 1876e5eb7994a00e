package recorder

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// backgroundNice gives a thread a tenth of the processor time that the others get which
	// want the same processor (sched(7)).
	backgroundNice = 10
	// backgroundSlice is for how long at a time (Linux 6.12; 3 ms are usual).
	backgroundSlice = 100 * time.Microsecond
)

// inBackground has the kernel prefer other threads to the goroutine that calls it: nodes that
// wait for an answer do not wait until the last answers are stored. The goroutine keeps its
// thread, and the thread ends with it.
func inBackground() {
	runtime.LockOSThread()
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_NORMAL, Nice: backgroundNice, Runtime: uint64(backgroundSlice)}
	if unix.SchedSetAttr(0, &attr, 0) != nil { // the host may forbid it, and allow the other
		_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), backgroundNice)
	}
}
