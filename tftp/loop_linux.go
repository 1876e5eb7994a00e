package tftp

import (
	"container/heap"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The loop
//
// In lock step a file of a megabyte is seven hundred times the same: a packet comes, a
// packet goes. With a goroutine for each transfer and the net package, which is the
// ordinary way in Go, half of the time for that goes into finding out who is meant: the
// runtime asks the kernel whose socket has a packet, wakes the goroutine, sets its timers
// anew, and the goroutine reads, writes and goes to sleep. Measured beside dnsmasq, which
// has one loop, that took 1.1 to 1.3 times its CPU time; this loop takes 0.7 to 1.0 times.
//
// So one goroutine does it all, for all transfers that began on one listening socket:
//
//   - It waits (epoll, see [waiter]) until a socket has a packet, the next deadline is over,
//     or somebody has left it something in its inbox and woken it (eventfd).
//   - It reads one packet, asks the transfer what that means, and sends what is pending:
//     three system calls for a packet, wait included, and nothing is allocated. All
//     transfers share the memory in which packets are put together.
//   - A window leaves in one send, which kernel or card cut into packets (UDP_SEGMENT);
//     where they cannot, packet by packet.
//
// What may take time is not done here: requests are read, and files found, by goroutines
// (see [Server.Serve]), which hand over transfers that are ready to start. What is sent
// is in memory.
//
// Nothing here is shared but the inbox. A transfer belongs to the loop from when it is
// taken out of the inbox until done is called.
//
// Deadlines are in a heap. An acknowledgement moves a deadline by some milliseconds, seven
// hundred times; so the heap is not told of deadlines that move back. It wakes the
// transfer at the old one, which looks, and goes back to sleep.

// carried is a transfer that the loop carries out.
type carried struct {
	*transfer
	socket   socket
	answered func()          // called when the client has answered for the first time
	done     func(err error) // called at the end

	ended       error     // it has to end before it has started
	unsegmented bool      // windows have to be sent packet by packet
	wake        time.Time // when the loop looks at its deadline
	index       int       // in the heap
}

// loop carries out transfers.
type loop struct {
	waiter  *waiter
	event   int // eventfd: something is in the inbox
	sockets map[socket]*carried
	queue   wakeQueue
	buf     []byte // packets being sent
	in      []byte // the one received
	control []byte
	refused func(error) // told when windows cannot be sent at once

	mu     sync.Mutex
	inbox  []order
	closed bool
}

// order is what others leave in the inbox.
type order struct {
	c   *carried
	end error // end it so; nil: start it
}

func newLoop(refused func(error)) (*loop, error) {
	waiter, err := newWaiter()
	if err != nil {
		return nil, err
	}
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		waiter.close()
		return nil, fmt.Errorf("open eventfd: %w", err)
	}
	l := &loop{
		waiter: waiter, event: event, sockets: make(map[socket]*carried), refused: refused,
		buf: make([]byte, 0, 1<<16), in: make([]byte, 1500),
	}
	if err := waiter.watch(event); err != nil {
		waiter.close()
		return nil, errors.Join(err, unix.Close(event))
	}
	return l, nil
}

// start has the loop carry out a transfer.
func (l *loop) start(c *carried) { l.leave(order{c: c}) }

// end ends a transfer that was started, unless it has ended already.
func (l *loop) end(c *carried, why error) { l.leave(order{c, why}) }

// close ends the loop. There must be no transfers left.
func (l *loop) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.wakeUp()
}

func (l *loop) leave(o order) {
	l.mu.Lock()
	l.inbox = append(l.inbox, o)
	first := len(l.inbox) == 1
	l.mu.Unlock()
	if first {
		l.wakeUp()
	}
}

// wakeUp adds to the counter that the loop waits for, among others.
func (l *loop) wakeUp() { _, _ = unix.Write(l.event, []byte{1, 0, 0, 0, 0, 0, 0, 1}) } // 8 bytes that are not 0, in whatever order

// run works until close.
func (l *loop) run() {
	runtime.LockOSThread() // see waiter
	defer runtime.UnlockOSThread()
	for {
		ready := l.waiter.wait(len(l.sockets), l.queue.next())
		now := time.Now()
		for _, e := range ready {
			if int(e.Fd) == l.event {
				if l.empty(now) {
					l.waiter.close()
					_ = unix.Close(l.event)
					return
				}
			} else if c := l.sockets[socket(e.Fd)]; c != nil {
				l.receive(c, now)
			}
		}
		for c := l.queue.due(now); c != nil; c = l.queue.due(now) {
			l.do(c, func() (bool, error) { return c.expire(now) })
		}
	}
}

// empty does what is in the inbox, and tells whether the loop is to end.
func (l *loop) empty(now time.Time) (closed bool) {
	var count [8]byte
	_, _ = unix.Read(l.event, count[:])
	l.mu.Lock()
	orders := l.inbox
	l.inbox, closed = nil, l.closed
	l.mu.Unlock()
	for _, o := range orders {
		switch {
		case o.end == nil:
			l.add(o.c, now)
		case l.sockets[o.c.socket] == o.c:
			l.drop(o.c, o.end)
		default: // it has ended already, or starts with a later order
			o.c.ended = o.end
		}
	}
	return closed
}

// add starts a transfer.
func (l *loop) add(c *carried, now time.Time) {
	c.transfer.start(now)
	l.sockets[c.socket] = c
	c.wake = c.deadline
	heap.Push(&l.queue, c)
	if c.ended == nil {
		c.ended = l.waiter.watch(int(c.socket))
	}
	if c.ended != nil {
		l.drop(c, c.ended)
		return
	}
	l.do(c, func() (bool, error) { return true, nil })
}

// drop ends a transfer.
func (l *loop) drop(c *carried, end error) {
	delete(l.sockets, c.socket)
	heap.Remove(&l.queue, c.index)
	if text := farewell(end); text != nil {
		_ = c.socket.send(text) // if it is lost, the client finds out by itself
	}
	c.socket.close()
	c.done(end)
}

// farewell is what a client is told at the end of its transfer; nil: nothing.
func farewell(end error) []byte {
	var p *panicError
	switch {
	case errors.Is(end, errStopping):
		return appendError(nil, errorUndefined, stopping)
	case errors.As(end, &p):
		return appendError(nil, errorFileNotFound, fileNotFound)
	}
	return nil
}

// panicError is a panic that cost a transfer.
type panicError struct {
	value any
	stack []byte
}

func (p *panicError) Error() string { return fmt.Sprintf("panic: %v", p.value) }

// receive reads one packet.
func (l *loop) receive(c *carried, now time.Time) {
	l.do(c, func() (bool, error) {
		n, err := c.socket.receive(l.in)
		switch {
		case errors.Is(err, syscall.ECONNREFUSED):
			return false, c.unreachable()
		case err != nil: // nothing there after all, or the trouble of the network
			return false, nil
		}
		before := c.transfer.answered
		send, end := c.transfer.receive(l.in[:n], now)
		if c.transfer.answered && !before {
			c.answered()
		}
		return send, end
	})
}

// do lets a transfer decide, sends what it wants to be sent, and drops it at its end. A
// panic costs this transfer only.
func (l *loop) do(c *carried, decide func() (send bool, end error)) {
	defer func() {
		if p := recover(); p != nil && l.sockets[c.socket] == c {
			l.drop(c, &panicError{p, debug.Stack()})
		}
	}()
	send, end := decide()
	if end == nil && send {
		end = l.send(c)
	}
	if end != nil {
		l.drop(c, end)
		return
	}
	if c.deadline.Before(c.wake) {
		c.wake = c.deadline
		heap.Fix(&l.queue, c.index)
	}
}

// send sends the pending packets of a transfer.
func (l *loop) send(c *carried) error {
	if c.oack != nil {
		return l.sent(c, c.socket.send(c.oack))
	}
	first, last := c.pending()
	packet := 4 + c.terms.BlockSize
	most := int64(min(maxDatagram/packet, maxSegments))
	if first == last || c.unsegmented || most < 2 {
		return l.sendSingly(c, first, last)
	}
	for at := first; at <= last; at += most {
		until := min(at+most-1, last)
		b := l.buf[:0]
		for block := at; block <= until; block++ {
			var err error
			if b, err = c.block(b, block); err != nil {
				return err
			}
		}
		l.control = segmentControl(l.control, packet)
		err := c.socket.sendSegments(b, l.control)
		if err != nil && unsegmented(err) {
			c.unsegmented = true
			l.refused(err)
			return l.sendSingly(c, at, last)
		}
		if err := l.sent(c, err); err != nil {
			return err
		}
	}
	return nil
}

// sendSingly sends blocks packet by packet.
func (l *loop) sendSingly(c *carried, first, last int64) error {
	for block := first; block <= last; block++ {
		b, err := c.block(l.buf[:0], block)
		if err != nil {
			return err
		}
		if err := l.sent(c, c.socket.send(b)); err != nil {
			return err
		}
	}
	return nil
}

// sent says what the result of sending means for a transfer.
func (l *loop) sent(c *carried, err error) error {
	switch {
	case err == nil, lost(err):
		return nil
	case errors.Is(err, syscall.ECONNREFUSED):
		return c.unreachable()
	}
	return err
}

// wakeQueue has the transfers in the order in which they are to be looked at.
type wakeQueue []*carried

// next is when a transfer is to be looked at; the zero time: never.
func (q wakeQueue) next() time.Time {
	if len(q) == 0 {
		return time.Time{}
	}
	return q[0].wake
}

// due returns a transfer whose deadline is over, if there is one.
func (q *wakeQueue) due(now time.Time) *carried {
	for len(*q) > 0 {
		c := (*q)[0]
		switch {
		case now.Before(c.wake):
			return nil
		case !now.Before(c.deadline):
			c.wake = c.deadline
			return c
		}
		c.wake = c.deadline
		heap.Fix(q, 0)
	}
	return nil
}

func (q wakeQueue) Len() int           { return len(q) }
func (q wakeQueue) Less(i, j int) bool { return q[i].wake.Before(q[j].wake) }
func (q wakeQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

// Push and Pop are for package heap.
func (q *wakeQueue) Push(x any) {
	c := x.(*carried)
	c.index = len(*q)
	*q = append(*q, c)
}

// Pop takes the last one off.
func (q *wakeQueue) Pop() any {
	last := len(*q) - 1
	c := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return c
}
