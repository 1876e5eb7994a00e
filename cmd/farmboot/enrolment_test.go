package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"farmboot/provisioning"
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
	call := d.api()
	if status, text := call(http.MethodDelete, "nodes/"+mac); status != http.StatusNoContent {
		t.Errorf("status %d: %s", status, text)
	}
	if _, err := os.Stat(filepath.Join(d.state, file)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is still to be enrolled: %v", err)
	}
	var history []provisioning.Change
	if _, text := call(http.MethodGet, "history"); json.Unmarshal([]byte(text), &history) != nil || len(history) != 3 ||
		history[0].Action != "node enrol cancel" || history[1].Action != "node rm" || history[0].Batch != history[1].Batch {
		t.Fatalf("history: %+v", history)
	}
	var undone struct {
		Undone     int
		Unenrolled []string
	}
	if status, text := call(http.MethodPost, fmt.Sprintf("history/%d/undo", history[1].ID)); status != http.StatusOK || json.Unmarshal([]byte(text), &undone) != nil ||
		undone.Undone != 1 || !slices.Equal(undone.Unenrolled, []string{mac}) {
		t.Errorf("undo: status %d, %s", status, text)
	}
}
