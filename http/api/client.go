package api

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
)

// AskStatus asks the daemon behind an admin socket how it is. The error wraps that of
// the connection, if there is none.
func AskStatus(ctx context.Context, socket string) (Status, error) {
	t := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
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
