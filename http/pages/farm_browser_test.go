//go:build browser

package pages_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"farmboot/provisioning"
)

// farm fills the bench with a farm in the middle of its morning.
func farm(t testing.TB, b *adminBench) {
	b.write(t, "zos-v3.14.0.efi", "MZ zos 3.14"+strings.Repeat(" ", 60_000_000))
	b.write(t, "zos-v3.13.2.efi", "MZ zos 3.13"+strings.Repeat("-", 59_000_000))
	for _, mode := range []provisioning.RunMode{"prod", "test"} {
		if err := b.Pages.Kernels.Point(mode, "zos-v3.14.0.efi", false); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []provisioning.Farmer{{ID: 1234, Name: "Hall 2"}, {ID: 77, Name: "Greenhouse Ghent"}} {
		if _, _, err := b.Registry.AddFarmer(t.Context(), root, f); err != nil {
			t.Fatal(err)
		}
	}
	now := b.now.Now()
	for i := range 14 {
		n := provisioning.Node{MAC: macOf(i), Farmer: 1234, RunMode: "prod", Name: fmt.Sprintf("rack-%d-%02d", 1+i/8, 1+i%8)}
		if i%5 == 3 {
			n.Farmer, n.RunMode, n.Args = 77, "test", "console=ttyS0 zos-debug"
		}
		b.add(t, n)
	}
	for i, s := range []struct {
		ago    time.Duration
		events int
	}{
		{12 * time.Second, 7},
		{9 * time.Second, 5},
		{6 * time.Second, 4},
		{2 * time.Second, 1},
		{4 * time.Minute, 3},
		{3 * time.Minute, 4},
		{90 * time.Second, 8},
		{2 * time.Minute, 8},
		{7 * time.Minute, 8},
		{26 * time.Hour, 8},
		{50 * time.Hour, 8},
	} {
		if i == 6 {
			b.play(t, bootOf(macOf(i), now.Add(-27*time.Hour), 8)...)
		}
		b.play(t, bootOf(macOf(i), now.Add(-s.ago), s.events)...)
	}
	stranger := provisioning.MAC{0x3c, 0xec, 0xef, 0x11, 0x22, 0x33}
	b.play(t, bootOf(stranger, now.Add(-40*time.Second), 6)...)
	args := "console=ttyS0"
	if _, err := b.Registry.SetNode(t.Context(), root, macOf(6), provisioning.NodePatch{Args: &args}); err != nil {
		t.Fatal(err)
	}
}
