package main

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

// TestEnrolmentEndsWithTheNode: a node that is removed by the API is not to be enrolled any
// more, whether Secure Boot is on or was.
func TestEnrolmentEndsWithTheNode(t *testing.T) {
	const mac, file = "52:54:00:00:00:01", "secure-boot/enrol/52-54-00-00-00-01"
	d := startDaemonWith(t, func(state string) {
		path := filepath.Join(state, file)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte("2026-11-23T00:00:00Z \n"), 0o600)); err != nil {
			t.Fatal(err)
		}
	})
	if status, _, stderr := d.command("node", "add", mac); status != 0 {
		t.Fatalf("node add: %s", stderr)
	}
	client := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var n net.Dialer
		return n.DialContext(ctx, "unix", filepath.Join(d.state, "farmboot.sock"))
	}}}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodDelete, "http://local/api/v1/nodes/"+mac, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusNoContent {
		t.Errorf("status %d", res.StatusCode)
	}
	if _, err := os.Stat(filepath.Join(d.state, file)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is still to be enrolled: %v", err)
	}
}
