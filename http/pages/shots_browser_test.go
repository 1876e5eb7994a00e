//go:build browser

package pages_test

import (
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"

	apphttp "farmboot/http"
)

var shotsDir = flag.String("shots", "", "write a screenshot of every page into this folder")

func TestShots(t *testing.T) {
	if *shotsDir == "" {
		return
	}
	b := newBench(t)
	b.write(t, "net/prod.efi", "MZ prod")
	b.write(t, "zos-v3.14.0.efi", "MZ zos")
	srv := httptest.NewServer(apphttp.Plane(&b.Pages, images{}))
	t.Cleanup(srv.Close)
	tab := newBrowser(t)
	for name, path := range map[string]string{
		"download": "/?farmer=1234", "download-bad": "/?farmer=12x4&runmode=test", "file": "/?format=uefi&runmode=test",
		"expert": "/expert?args=ssh-user%3Dme+vlan:priv%3D5000", "images": "/images", "failure": "/static/none",
	} {
		shoot(tab, srv.URL+path, name)
	}
}

func shoot(tab browser, url, name string) {
	tab.t.Helper()
	for _, v := range []struct {
		name   string
		width  int64
		scheme string
	}{{"desktop", 1280, "light"}, {"phone", 390, "light"}, {"desktop", 1280, "dark"}, {"phone", 390, "dark"}} {
		tab.look(v.width, v.scheme)
		tab.open(url)
		file := filepath.Join(*shotsDir, fmt.Sprintf("%s-%s-%s.png", name, v.name, v.scheme))
		if err := os.WriteFile(file, get(tab, chromedp.FullScreenshot(100)), 0o644); err != nil {
			tab.t.Fatal(err)
		}
	}
}
