package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"farmboot/ipxe/kernel/kerneltest"
	"farmboot/ipxe/rollout"
	"farmboot/provisioning"
	"farmboot/provisioning/boots"
	"farmboot/provisioning/sqlite"
	"farmboot/setup/alert"
)

// TestNodesTryAKernel: the daemon gives a node its candidate from the moment on that a
// command beside it says so, the other nodes what they had, and everybody what was there
// after the way back.
func TestNodesTryAKernel(t *testing.T) {
	d := startDaemon(t)
	file := filepath.Join(t.TempDir(), "v2.efi")
	if err := os.WriteFile(file, []byte(kerneltest.EFI("v2")), 0o644); err != nil {
		t.Fatal(err)
	}
	do := func(want string, args ...string) {
		t.Helper()
		if status, out, errs := d.command(args...); status != 0 || !strings.Contains(out, want) {
			t.Fatalf("farmboot %s: %d %s%s", strings.Join(args, " "), status, out, errs)
		}
	}
	boots := func(n, want string) {
		t.Helper()
		if status, text := d.get("/provision/52:54:00:00:00:0" + n); status != 200 || !strings.Contains(text, "/kernel/"+want) {
			t.Errorf("node %s, want %s: %d\n%s", n, want, status, text)
		}
	}
	do("", "kernel", "add", file)
	boots("1", "net/prod.efi")
	do("tries v2.efi on 1 node at its next boot", "kernel", "use", "prod", "v2.efi", "--canary", "52:54:00:00:00:01")
	boots("1", "v2.efi")
	boots("2", "net/prod.efi")
	if _, text := d.get("/provision/52:54:00:00:00:01"); !strings.Contains(text, "echo -- kernel candidate v2.efi\n") {
		t.Errorf("its screen does not say so:\n%s", text)
	}
	do("prod boots v2.efi", "kernel", "promote", "prod")
	boots("1", "net/prod.efi")
	if status, text := d.get("/kernel/net/prod.efi"); status != 200 || text != kerneltest.EFI("v2") {
		t.Errorf("prod.efi: %d, %d bytes", status, len(text))
	}
	do("again, not v2.efi", "kernel", "rollback", "prod")
	if status, text := d.get("/kernel/net/prod.efi"); status != 200 || text != "MZ" {
		t.Errorf("prod.efi after the way back: %d, %d bytes", status, len(text))
	}
}

// TestCanaryIsTold: people are told of a kernel that is taken back, with the stories of the
// nodes that failed.
func TestCanaryIsTold(t *testing.T) {
	store, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "p.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	now := time.Date(2027, 1, 1, 12, 0, 0, 0, time.UTC)
	var told []alert.Notice
	a := &appliance{log: slog.New(slog.DiscardHandler), now: func() time.Time { return now }, store: store}
	a.tellOf = func(n alert.Notice) { told = append(told, n) }
	var bad []provisioning.MAC
	for n := range byte(7) {
		bad = append(bad, provisioning.MAC{0x52, 0x54, 0, 0, 0, n})
	}
	if err := store.Update(t.Context(), func(tx provisioning.Tx) error {
		return boots.AddEvents(t.Context(), tx, []provisioning.Event{
			{At: now.Add(-3 * time.Minute), MAC: bad[0], Stage: provisioning.StageScript},
			{At: now.Add(-2 * time.Minute), MAC: bad[0], Stage: provisioning.StageKernel, File: "v2.efi", Bytes: 5, Size: 5},
			{At: now.Add(-time.Minute), MAC: bad[0], Stage: provisioning.StageDiscover},
		})
	}); err != nil {
		t.Fatal(err)
	}
	c := &rollout.Canary{RunMode: "prod", Kernel: "v2.efi", Since: now.Add(-time.Hour), Failed: 7, FailedNodes: bad}
	a.canaryEnded(t.Context(), c, rollout.TakenBack)
	c.Failed, c.Proven, c.FailedNodes = 0, 3, nil
	a.canaryEnded(t.Context(), c, rollout.Promoted)
	if len(told) != 2 {
		t.Fatalf("told %+v", told)
	}
	text := told[0].Text + "\n" + strings.Join(told[0].Details, "\n") + "\n" + strings.Join(told[0].Cure, "\n")
	for _, words := range []string{"kernel v2.efi is taken back from run mode prod: 7 boots failed", "\n" + bad[0].String() + ": ", "\nand 2 more nodes", "\nthe screens of these nodes"} {
		if !strings.Contains(text, words) {
			t.Errorf("%q does not say %q", text, words)
		}
	}
	if !strings.HasPrefix(told[1].Text, "kernel v2.efi is what all nodes of run mode prod boot from now on: 3 nodes have proven it") {
		t.Errorf("%+v", told[1])
	}
}
