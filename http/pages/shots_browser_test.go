//go:build browser

package pages_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"farmboot/provisioning"
)

var (
	shotsDir = flag.String("shots", "", "write a screenshot of every page into this folder")
	shotsOf  = flag.String("shots-of", "", "only of pages whose name contains this")
)

// farm fills the bench with a farm in the middle of its morning.
func farm(t testing.TB, b *adminBench) {
	b.write(t, "zos-v3.14.0.efi", "MZ zos 3.14"+strings.Repeat(" ", 60_000_000))
	b.write(t, "zos-v3.13.2.efi", "MZ zos 3.13"+strings.Repeat("-", 59_000_000))
	for _, mode := range []provisioning.RunMode{"prod", "test"} {
		if err := b.Pages.Kernels.Point(mode, "zos-v3.14.0.efi"); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []provisioning.Farmer{{ID: 1234, Name: "Hall 2"}, {ID: 77, Name: "Greenhouse Ghent"}} {
		if err := b.Registry.AddFarmer(t.Context(), root, f); err != nil {
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

func TestShots(t *testing.T) {
	if *shotsDir == "" {
		return
	}
	b, tab := startBench(t)
	farm(t, b)
	tab.cookie(b)
	for name, path := range map[string]string{
		"download": "/?farmer=1234", "download-bad": "/?farmer=12x4&runmode=test", "file": "/?format=uefi&runmode=test",
		"expert": "/expert?args=ssh-user%3Dme+vlan:priv%3D5000", "images": "/images", "failure": "/static/none",
		"signin": "/admin/signin", "link": "/admin/signin?code=XYZ", "board": "/admin", "node": "/admin/nodes/" + macOf(6).String(), "stalled": "/admin/nodes/" + macOf(5).String(),
		"discovered": "/admin/discovered?claim=3c:ec:ef:11:22:33", "nodes": "/admin/nodes?done=node-added", "import": "/admin/nodes/import",
		"farmers": "/admin/farmers", "kernels": "/admin/kernels", "tokens": "/admin/tokens", "history": "/admin/history",
	} {
		if strings.Contains(name, *shotsOf) {
			shoot(tab, path, name)
		}
	}
}

func shoot(tab *browser, path, name string) {
	tab.t.Helper()
	for _, v := range []struct {
		name   string
		width  int64
		scheme string
	}{{"desktop", 1280, "light"}, {"phone", 390, "light"}, {"desktop", 1280, "dark"}, {"phone", 390, "dark"}} {
		tab.look(v.width, v.scheme)
		tab.open(path)
		file := filepath.Join(*shotsDir, fmt.Sprintf("%s-%s-%s.png", name, v.name, v.scheme))
		if err := os.WriteFile(file, get(tab, chromedp.FullScreenshot(100)), 0o644); err != nil {
			tab.t.Fatal(err)
		}
	}
}
