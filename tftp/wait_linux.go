package tftp

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// waiter waits until sockets have something to read. It has two ways, for one costs less
// where few transfers are under way, the other where many are (measured with 1 and with 64
// machines):
//
//   - With few, a thread waits in the kernel: a packet wakes it and nothing else. Go's
//     scheduler has lent it a processor, and looks every 20 µs whether other goroutines
//     need that one, as long as there are such.
//   - With many, there always are, and to look costs an eighth of all CPU time. So it waits
//     as goroutines do: Go's poller watches the epoll instance as if that were a socket.
type waiter struct {
	epoll    int
	events   []unix.EpollEvent
	ready    int             // so many of them, at the last look
	polled   *os.File        // the epoll instance, as Go's poller watches it; nil: a thread waits
	conn     syscall.RawConn // polled
	deadline time.Time       // when polled ends a wait; zero: never
}

// few is how many transfers a thread waits for.
const few = 4

func newWaiter() (*waiter, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("open epoll: %w", err)
	}
	return &waiter{epoll: epoll, events: make([]unix.EpollEvent, 128)}, nil
}

func (w *waiter) close() {
	w.unpoll()
	_ = unix.Close(w.epoll)
}

// watch has a file descriptor watched, until it is closed.
func (w *waiter) watch(fd int) error {
	err := unix.EpollCtl(w.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
	if err != nil {
		return fmt.Errorf("watch socket: %w", err)
	}
	return nil
}

// wait returns what can be read, nothing after that time; the zero time: it waits for ever.
// One goroutine calls it, which has locked its thread: else another thread is woken to go on
// with what this one began. It is not locked as long as Go's poller waits.
func (w *waiter) wait(transfers int, until time.Time) []unix.EpollEvent {
	switch {
	case transfers > few && w.polled == nil:
		w.poll()
	case transfers == 0 && w.polled != nil:
		w.unpoll()
	}
	if w.polled == nil {
		n, err := unix.EpollWait(w.epoll, w.events, milliseconds(until))
		if err != nil {
			n = 0 // a signal came
		}
		return w.events[:n]
	}
	if w.deadline.IsZero() || until.Before(w.deadline) {
		w.deadline = until
		_ = w.polled.SetReadDeadline(until)
	}
	if w.conn.Read(w.look) != nil { // the deadline is over
		w.deadline, w.ready = time.Time{}, 0
	}
	return w.events[:w.ready]
}

// poll has Go's poller watch the epoll instance. Where that cannot be, a thread waits on.
func (w *waiter) poll() {
	fd, err := unix.FcntlInt(uintptr(w.epoll), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return // as many files are open as may be
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return
	}
	w.polled, w.deadline = os.NewFile(uintptr(fd), "epoll"), time.Time{}
	runtime.UnlockOSThread()
	if w.conn, err = w.polled.SyscallConn(); err != nil || w.polled.SetReadDeadline(time.Time{}) != nil {
		w.unpoll() // Go's poller does not watch it
	}
}

func (w *waiter) unpoll() {
	if w.polled != nil {
		_ = w.polled.Close()
		w.polled = nil
		runtime.LockOSThread()
	}
}

// look tells whether there is something to read. It never waits, so Go's scheduler need
// not know that it is in the kernel.
func (w *waiter) look(uintptr) bool {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(w.epoll), uintptr(unsafe.Pointer(&w.events[0])), uintptr(len(w.events)), 0, 0, 0)
	if errno != 0 {
		n = 0
	}
	w.ready = int(n)
	return n > 0
}

// milliseconds is how long epoll may wait until then; -1: for ever.
func milliseconds(until time.Time) int {
	if until.IsZero() {
		return -1
	}
	wait := time.Until(until)
	return int(min(max(0, (wait+time.Millisecond-1)/time.Millisecond), math.MaxInt32))
}
