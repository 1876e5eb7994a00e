package tftp

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// How a transfer can end, besides well.
var (
	errAborted  = errors.New("client ended the transfer") // after asking for the size only, for instance: normal
	errGone     = fmt.Errorf("%w: its port is closed", errAborted)
	errStalled  = errors.New("client stopped answering")
	errStopping = errors.New(stopping)
)

const (
	// attempts is how often a packet is sent before the client is given up.
	attempts = 6
	// defaultStallLimit is after what time it is given up, whatever time-out it has asked
	// for: that can be 255 s, and six of those are more than half an hour.
	defaultStallLimit = time.Minute
)

// transfer sends one file to one client, in lock step or in windows.
type transfer struct {
	conn  *net.UDPConn // connected: the kernel drops what other hosts send, and tells when the client is gone
	data  io.ReaderAt
	size  int64
	terms Terms
	limit time.Duration // how long it may answer nothing

	packet []byte // the one being sent
	reply  []byte // the one received
	acked  int64  // blocks that the client has

	begun func() // called when the client has acknowledged something for the first time, and then nil
}

// run sends the acknowledgement of the options, if there are any, and then the
// file. It returns nil once the client has acknowledged the last block.
func (t *transfer) run(ctx context.Context, agreed []Option) error {
	// Wake the reader when the server is to stop.
	stop := context.AfterFunc(ctx, func() { _ = t.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	t.packet = make([]byte, 4+t.terms.BlockSize)
	t.reply = make([]byte, 1500)
	var err error
	if len(agreed) > 0 {
		oack := appendOAck(nil, agreed)
		err = t.exchange(ctx, 0, func() error { return t.write(oack) })
	}
	// The last block is the one that is not full, and may be empty (RFC 1350
	// section 6).
	blocks := t.size/int64(t.terms.BlockSize) + 1
	for err == nil && t.acked < blocks {
		last := min(t.acked+int64(t.terms.Window), blocks)
		err = t.exchange(ctx, last, func() error { return t.sendBlocks(t.acked+1, last) })
		if errors.Is(err, errGone) && last == blocks {
			// It has the whole file and does not stay for us: only its last
			// acknowledgement was lost.
			t.acked, err = blocks, nil
		}
	}
	if errors.Is(err, errStopping) {
		_ = t.write(appendError(nil, errorUndefined, stopping))
	}
	return err
}

// exchange sends until the client acknowledges something new: any block after
// t.acked up to last, or, where nothing is new, block 0, the options.
func (t *transfer) exchange(ctx context.Context, last int64, send func() error) error {
	resent := false
	limit := time.Now().Add(t.limit)
	for attempt := 0; attempt < attempts && time.Now().Before(limit); attempt++ {
		if err := send(); err != nil {
			return gone(err)
		}
		deadline := time.Now().Add(t.terms.Timeout << min(attempt, 2))
		if limit.Before(deadline) {
			deadline = limit
		}
		for again := false; !again; {
			ack, err := t.readAck(ctx, deadline)
			switch {
			case errors.Is(err, os.ErrDeadlineExceeded):
				again = true
			case err != nil:
				return err
			default:
				progress, ok := t.progress(ack, last)
				if ok {
					if t.begun != nil {
						t.begun()
						t.begun = nil
					}
					t.acked += progress
					return nil
				}
				// The client repeats its last acknowledgement. In lock step that is
				// a duplicate, and answering it would double all traffic from here
				// on (RFC 1123 section 4.2.3.1). In a window it means that the first
				// packet is lost (RFC 7440 section 4): send again, but once.
				if t.terms.Window > 1 && progress == 0 && !resent {
					resent, again = true, true
				}
			}
		}
	}
	return errStalled
}

// progress says how many blocks an acknowledgement adds, and whether it answers
// what was sent. Block numbers have 16 bits and wrap around.
func (t *transfer) progress(ack uint16, last int64) (int64, bool) {
	n := int64(ack - uint16(t.acked))
	if last == 0 {
		return n, n == 0
	}
	return n, n > 0 && n <= last-t.acked
}

// sendBlocks sends the blocks from first to last; blocks count from 1.
func (t *transfer) sendBlocks(first, last int64) error {
	for block := first; block <= last; block++ {
		binary.BigEndian.PutUint16(t.packet, opData)
		binary.BigEndian.PutUint16(t.packet[2:], uint16(block))
		at := (block - 1) * int64(t.terms.BlockSize)
		n := min(t.size-at, int64(t.terms.BlockSize))
		if _, err := t.data.ReadAt(t.packet[4:4+n], at); err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read block %d: %w", block, err)
		}
		if err := t.write(t.packet[:4+n]); err != nil {
			return err
		}
	}
	return nil
}

func (t *transfer) write(b []byte) error {
	_, err := t.conn.Write(b)
	return err
}

// readAck waits for an acknowledgement, and skips what is none.
func (t *transfer) readAck(ctx context.Context, deadline time.Time) (uint16, error) {
	if err := t.conn.SetReadDeadline(deadline); err != nil {
		return 0, err
	}
	for {
		if ctx.Err() != nil { // after the deadline was set: it may have replaced the one that was to wake us
			return 0, errStopping
		}
		n, err := t.conn.Read(t.reply)
		switch {
		case ctx.Err() != nil:
			return 0, errStopping
		case err != nil:
			return 0, gone(err)
		case n < 4:
			continue
		}
		switch binary.BigEndian.Uint16(t.reply) {
		case opAck:
			return binary.BigEndian.Uint16(t.reply[2:]), nil
		case opError:
			return 0, errAborted
		}
	}
}

// gone recognizes the ICMP message of a client that has closed its port.
func gone(err error) error {
	if errors.Is(err, syscall.ECONNREFUSED) {
		return errGone
	}
	return err
}
