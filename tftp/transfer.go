package tftp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// ending is how a transfer can end: in words, and as metrics count it.
type ending struct{ text, result string }

// Error implements error.
func (e *ending) Error() string { return e.text }

var (
	errCompleted = &ending{"client has the whole file", "completed"}
	errAborted   = &ending{"client ended the transfer", "aborted"} // after asking for the size only, for instance: normal
	errGone      = &ending{"client ended the transfer: its port is closed", "aborted"}
	errSilent    = &ending{"client never answered", "silent"}
	errStalled   = &ending{"client stopped answering", "stalled"}
	errDisplaced = &ending{"transfer made room for another client", "displaced"}
	errStopping  = &ending{stopping, "stopped"}
)

const (
	// attempts is how often a packet is sent before the client is given up.
	attempts = 6
	// defaultStallLimit is after what time it is given up, whatever time-out it has asked
	// for: that can be 255 s, and six of those are more than half an hour.
	defaultStallLimit = time.Minute
	// defaultSilentLimit is after what time a client is given up that never
	// acknowledged anything. A machine that is there does so in milliseconds; a request
	// with a forged address must not hold a place for long.
	defaultSilentLimit = 5 * time.Second
)

// timeouts are for how long a client may answer nothing.
type timeouts struct {
	stalled time.Duration
	silent  time.Duration // the same, as long as it has never answered
}

// transfer is one file on its way to one client, in lock step or in windows. It decides;
// it neither sends nor waits: after start, and whenever receive or expire say so, the
// packets of pending are to be sent, and at its deadline it expires. The end is an error,
// [errCompleted] if all went well.
type transfer struct {
	data     io.ReaderAt
	size     int64
	terms    Terms
	oack     []byte // sent first, and acknowledged as block 0; nil once it has been, or if no options were agreed on
	timeouts timeouts

	answered bool  // the client has acknowledged something
	acked    int64 // blocks that the client has
	blocks   int64 // of the file
	attempt  int   // how often the pending packets have been sent again
	resent   bool  // once because the client asked for it

	deadline time.Time // when the pending packets are sent again, or given up
	limit    time.Time // when they are given up at the latest
}

func newTransfer(data io.ReaderAt, size int64, terms Terms, agreed []Option, p timeouts) *transfer {
	t := &transfer{data: data, size: size, terms: terms, timeouts: p}
	// The last block is the one that is not full, and may be empty (RFC 1350
	// section 6).
	t.blocks = size/int64(terms.BlockSize) + 1
	if len(agreed) > 0 {
		t.oack = appendOAck(nil, agreed)
	}
	return t
}

// start begins the transfer.
func (t *transfer) start(now time.Time) {
	p := t.timeouts.stalled
	if !t.answered {
		p = min(p, t.timeouts.silent)
	}
	t.attempt, t.resent, t.limit = 0, false, now.Add(p)
	t.await(now)
}

// await sets the deadline of what is being sent now.
func (t *transfer) await(now time.Time) {
	timeout := t.terms.Timeout
	if !t.answered { // until then what the client wants does not count
		timeout = min(timeout, defaultTimeout)
	}
	t.deadline = now.Add(timeout << min(t.attempt, 2))
	if t.limit.Before(t.deadline) {
		t.deadline = t.limit
	}
}

// pending are the blocks to send, counted from 1; none where it is the oack.
func (t *transfer) pending() (first, last int64) {
	if t.oack != nil {
		return 1, 0
	}
	return t.acked + 1, min(t.acked+int64(t.terms.Window), t.blocks)
}

// block appends the packet of a block.
func (t *transfer) block(b []byte, block int64) ([]byte, error) {
	b = append(b, 0, opData, byte(block>>8), byte(block))
	at := (block - 1) * int64(t.terms.BlockSize)
	n := int(min(t.size-at, int64(t.terms.BlockSize)))
	b = b[:len(b)+n]
	if _, err := t.data.ReadAt(b[len(b)-n:], at); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read block %d: %w", block, err)
	}
	return b, nil
}

// receive takes a packet of the client, and skips what means nothing.
func (t *transfer) receive(b []byte, now time.Time) (send bool, end error) {
	if len(b) < 4 {
		return false, nil
	}
	switch binary.BigEndian.Uint16(b) {
	case opAck:
		return t.acknowledged(binary.BigEndian.Uint16(b[2:]), now)
	case opError:
		return false, errAborted
	}
	return false, nil
}

// acknowledged follows an acknowledgement.
func (t *transfer) acknowledged(ack uint16, now time.Time) (send bool, end error) {
	// Block numbers have 16 bits and wrap around.
	progress := int64(ack - uint16(t.acked))
	first, last := t.pending()
	switch {
	case t.oack != nil && progress == 0:
		t.oack = nil
	case t.oack == nil && progress > 0 && progress <= last-first+1:
		t.acked += progress
	case t.terms.Window > 1 && progress == 0 && !t.resent:
		// The client repeats its last acknowledgement. In lock step that is a
		// duplicate, and answering it would double all traffic from here on (RFC 1123
		// section 4.2.3.1). In a window it means that the first packet is lost (RFC
		// 7440 section 4): send again, but once.
		t.resent = true
		return t.again(now)
	default:
		return false, nil
	}
	t.answered = true
	if t.acked == t.blocks {
		return false, errCompleted
	}
	t.start(now)
	return true, nil
}

// expire is called when the deadline is over.
func (t *transfer) expire(now time.Time) (send bool, end error) {
	return t.again(now)
}

// again sends the pending packets again, if there is still a point in that.
func (t *transfer) again(now time.Time) (send bool, end error) {
	t.attempt++
	switch {
	case t.attempt < attempts && now.Before(t.limit):
		t.await(now)
		return true, nil
	case t.answered:
		return false, errStalled
	}
	return false, errSilent
}

// unreachable is called when the client's host says that its port is closed.
func (t *transfer) unreachable() (end error) {
	if _, last := t.pending(); last == t.blocks {
		// It has the whole file and does not stay for us: only its last acknowledgement
		// was lost.
		t.acked = t.blocks
		return errCompleted
	}
	return errGone
}

// sent is how much of the file the client has, in bytes.
func (t *transfer) sent() int64 { return min(t.acked*int64(t.terms.BlockSize), t.size) }
