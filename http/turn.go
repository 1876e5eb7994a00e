package http

import (
	"context"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"farmboot/http/admission"
	"farmboot/http/answer"
	"farmboot/ipxe"
	"farmboot/provisioning"
)

// heldMost is how many nodes are left waiting for their turn at once, at most: those that
// are next, so that each begins the moment it may. The others sleep before they ask again.
const heldMost = 256

// NewAdmission returns what decides which nodes fetch their kernels now. Those that are
// left waiting for an answer take no more than a part of the connections that there may be.
func NewAdmission(now func() time.Time) *admission.Control {
	return admission.New(now, min(heldMost, mostConns()/4))
}

const (
	// turnTime is how long a node is left waiting for its turn before it is told its new
	// place, and turnPoll how often it is looked whether somebody's turn has lapsed.
	turnTime = 10 * time.Second
	turnPoll = 250 * time.Millisecond
)

// takesTurns tells whether a request is one of iPXE, that runs what it gets: it can be
// told to wait. Other programs look at a script, or do with it what we do not know.
func (r asking) takesTurns() bool {
	return r.Method == http.MethodGet && (r.waitsAlready() || strings.HasPrefix(r.UserAgent(), "iPXE/"))
}

// waitsAlready tells whether the script asks that has a node wait.
func (r asking) waitsAlready() bool { return r.query.Has("waits") }

// mayWait tells whether a request for a script can be left waiting for its answer: for its
// turn, or to be claimed.
func mayWait(r *http.Request) bool {
	asks := asking{r, r.URL.Query()}
	return asks.waitsAlready() || asks.held()
}

// boots tells whether it is certain that a node boots next: our own script asks, which says
// what machine it runs on, or one that waits.
func (r asking) boots() bool { return r.waitsAlready() || r.query.Has("platform") }

// inTurn returns what a node gets that is to boot: what it was to get, when it is its
// turn to fetch its kernel, else a script that waits. One that has been told that it waits
// is left waiting for a while, and gets what is right for it then.
func (b *Boot) inTurn(r asking, site ipxe.Site, a provisioning.Assignment, gets ipxe.Answer) (provisioning.Assignment, ipxe.Answer, error) {
	if b.Turns == nil {
		return a, gets, nil
	}
	n := a.Node
	turn := b.Turns.Ask(n.MAC, n.Farmer, r.boots())
	news := turn.News
	if !turn.Admitted && turn.Sleep == 0 && r.waitsAlready() {
		var err error
		if turn, err = b.stay(r, n, turn); err != nil {
			return a, gets, err
		}
		if turn.Admitted {
			return b.decide(r, site, n.MAC)
		}
	}
	if turn.Admitted {
		return a, gets, nil
	}
	a.Once = false // that is for the boot which comes after
	script, err := site.Wait(n, ipxe.Wait{
		Place: turn.Place, Of: turn.Of, About: turn.About.Round(time.Second), Sleep: turn.Sleep, First: !r.waitsAlready(),
	})
	gets = ipxe.Answer{Script: script}
	if news || turn.News {
		gets.Event = provisioning.Event{
			Stage: provisioning.StageWait,
			Cause: provisioning.Cause{ID: provisioning.CauseQueued, Size: int64(turn.Place), Limit: int64(turn.Of)},
		}
	}
	return a, gets, err
}

// stay leaves a node waiting: until it is its turn, for turnTime, or until we are about to
// stop.
func (b *Boot) stay(r asking, n provisioning.Node, turn admission.Turn) (admission.Turn, error) {
	leave := b.Turns.Stay(n.MAC)
	defer leave()
	poll := time.NewTicker(turnPoll)
	defer poll.Stop()
	end := time.NewTimer(turnTime)
	defer end.Stop()
	for {
		select {
		case <-turn.Called:
			return admission.Turn{Admitted: true}, nil
		case <-poll.C:
			b.Turns.Look()
			continue
		case <-end.C:
		case <-answer.Stopping(r.Request):
		case <-r.Context().Done():
			return turn, context.Cause(r.Context())
		}
		return b.Turns.Ask(n.MAC, n.Farmer, r.boots()), nil
	}
}

// downloads counts a kernel that goes out, until the function is called that it returns.
func (b *Boot) downloads(w http.ResponseWriter, r *http.Request) (ended func()) {
	if b.Turns == nil || r.Method != http.MethodGet {
		return func() {}
	}
	d := b.Turns.Begin(cardOf(r), acknowledged(connOf(r).tcp()))
	return func() {
		var sent int64
		if rec, ok := w.(*answer.Recorder); ok {
			sent = rec.Sent
		}
		d.End(sent, sent > 0 && w.Header().Get("Content-Length") == strconv.FormatInt(sent, 10))
	}
}

// acknowledged returns a function that tells how many bytes the other end of a TCP
// connection has acknowledged (tcpi_bytes_acked, RFC 4898), nil if conn is none.
func acknowledged(conn net.Conn) func() int64 {
	c, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	last := int64(0)
	return func() int64 {
		_ = raw.Control(func(fd uintptr) {
			if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
				last = int64(info.Bytes_acked)
			}
		})
		return last // of a connection that is closed, what it was
	}
}
