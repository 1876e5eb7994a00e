package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"

	"golang.org/x/sys/unix"
)

// AskStatus asks the daemon behind an admin socket how it is. The error wraps that of
// the connection, if there is none. trusts tells of whose socket an answer is believed, by the uid
// of who listens; nil: of everybody's. Others are sent nothing.
func AskStatus(ctx context.Context, socket string, trusts func(uid uint32) bool) (Status, error) {
	t := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			c, err := d.DialContext(ctx, "unix", socket)
			if err != nil || trusts == nil {
				return c, err
			}
			uid, err := listener(c.(*net.UnixConn))
			if err == nil && !trusts(uid) {
				err = fmt.Errorf("uid %d listens on %s", uid, socket)
			}
			if err != nil {
				c.Close()
				return nil, err
			}
			return c, nil
		},
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://socket/api/v1/status", nil)
	if err != nil {
		return Status{}, err
	}
	answer, err := t.RoundTrip(r)
	if err != nil {
		return Status{}, fmt.Errorf("ask the daemon: %w", err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		return Status{}, fmt.Errorf("ask the daemon: %w", err)
	}
	if answer.StatusCode != http.StatusOK {
		return Status{}, fmt.Errorf("ask the daemon: it says %s: %.200s", answer.Status, text)
	}
	var s Status
	if err := json.Unmarshal(text, &s); err != nil {
		return Status{}, fmt.Errorf("ask the daemon: %w", err)
	}
	return s, nil
}

// listener is the uid of who listened when c was made (unix(7), SO_PEERCRED).
func listener(c *net.UnixConn) (uint32, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var peer *unix.Ucred
	var fault error
	err = raw.Control(func(fd uintptr) { peer, fault = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err == nil {
		err = fault
	}
	if err != nil {
		return 0, fmt.Errorf("ask who listens: %w", err)
	}
	return peer.Uid, nil
}
