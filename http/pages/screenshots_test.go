//go:build browser && screenshots

package pages_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"farmboot/provisioning"
)

var (
	shotsDir = flag.String("screenshots", ".", "folder to write to")
	every    = flag.Bool("every", false, "every page in every look, for whoever changes them; else the few for the README")
	only     = flag.String("only", "", "with -every: pages whose name contains this")
)

// shot is a page to be pictured.
type shot struct {
	name, path string
	width      int64
	scheme     string
}

// TestScreenshots pictures the pages of a farm in the middle of its morning.
func TestScreenshots(t *testing.T) {
	b, tab := startBench(t)
	farm(t, b)
	tab.cookie(b)
	if *every {
		b.unknown(provisioning.Hold)
		seen, err := b.Registry.Discovered(t.Context(), root, 1)
		if err != nil || len(seen) == 0 {
			t.Fatalf("discovered %v, %v", seen, err)
		}
		for _, s := range everyPage(seen[0].Code) {
			tab.picture(s, chromedp.FullScreenshot(100))
		}
		return
	}
	for _, s := range []shot{
		{"download", "/?farmer=1234", 1120, "light"},
		{"board", "/admin", 1120, "dark"},
		{"board-phone", "/admin", 390, "light"},
		{"node", "/admin/nodes/" + macOf(5).String(), 1120, "light"},
	} {
		tab.picture(s, chromedp.CaptureScreenshot())
	}
}

func everyPage(code string) []shot {
	var all []shot
	for name, path := range map[string]string{
		"download": "/?farmer=1234", "download-bad": "/?farmer=12x4&runmode=test", "no-kernel": "/?runmode=dev", "file": "/?format=uefi&runmode=test",
		"expert": "/expert?args=ssh-user%3Dme+vlan:priv%3D5000", "images": "/images", "failure": "/static/none",
		"signin": "/admin/signin", "link": "/admin/signin?code=XYZ", "board": "/admin", "node": "/admin/nodes/" + macOf(6).String(), "stalled": "/admin/nodes/" + macOf(5).String(),
		"discovered": "/admin/discovered", "claim": "/admin/discovered?claim=" + code, "help": "/help", "symptoms": "/help/symptoms", "nodes": "/admin/nodes?done=node-added", "import": "/admin/nodes/import",
		"farmers": "/admin/farmers", "kernels": "/admin/kernels", "tokens": "/admin/tokens", "history": "/admin/history",
	} {
		if !strings.Contains(name, *only) {
			continue
		}
		for _, scheme := range []string{"light", "dark"} {
			all = append(all, shot{fmt.Sprintf("%s-desktop-%s", name, scheme), path, 1280, scheme}, shot{fmt.Sprintf("%s-phone-%s", name, scheme), path, 390, scheme})
		}
	}
	return all
}

func (b *browser) picture(s shot, take chromedp.Action[[]byte]) {
	b.t.Helper()
	b.look(s.width, s.scheme)
	b.open(s.path)
	if err := os.WriteFile(filepath.Join(*shotsDir, s.name+".png"), get(b, take), 0o644); err != nil {
		b.t.Fatal(err)
	}
}
