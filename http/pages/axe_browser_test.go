//go:build browser

package pages_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"farmboot/provisioning"
)

// violation is what axe-core reports.
type violation struct {
	ID    string `json:"id"`
	Help  string `json:"help"`
	Nodes []struct {
		HTML    string `json:"html"`
		Summary string `json:"failureSummary"`
	} `json:"nodes"`
}

// TestAccessibility has axe-core look at every page, light and dark, wide and
// narrow. FARMBOOT_AXE names its file: npm install axe-core, axe.min.js.
func TestAccessibility(t *testing.T) {
	axe, err := os.ReadFile(os.Getenv("FARMBOOT_AXE"))
	if err != nil {
		t.Fatalf("FARMBOOT_AXE must name axe-core's axe.min.js (npm install axe-core): %v", err)
	}
	b, tab := startBench(t)
	farm(t, b)
	tab.cookie(b)
	paths := append([]string{
		"/?farmer=1234", "/?farmer=x", "/?runmode=dev", "/?format=iso", "/?format=uefi", "/expert?args=zos-debgu+ssh-user%3Dme", "/expert?args=%22",
		"/images", "/static/none", "/admin/signin", "/admin/signin?code=X",
		"/admin/nodes?farmer=x", "/admin/nodes?done=node-added", "/admin/discovered?claim=" + macOf(0).String(),
		"/admin/nodes/" + macOf(5).String(), "/admin/nodes/" + macOf(6).String(), "/admin?q=nothing",
	}, adminPages...)
	for _, look := range []struct {
		width  int64
		scheme string
	}{{1280, "light"}, {1280, "dark"}, {390, "light"}, {390, "dark"}} {
		tab.look(look.width, look.scheme)
		for _, path := range paths {
			tab.open(path)
			for _, v := range violations(tab, string(axe)) {
				for _, n := range v.Nodes {
					t.Errorf("%s, %d wide, %s: %s: %s\n%s\n%s", path, look.width, look.scheme, v.ID, v.Help, n.HTML, n.Summary)
				}
			}
			// A phone's own measure of its window grows with the page.
			if wide := get(tab, chromedp.Evaluate[int64]("document.documentElement.scrollWidth")); wide > look.width {
				t.Errorf("%s, %d wide: the page is %d wide", path, look.width, wide)
			}
		}
	}
}

// TestNoPageIsWiderThanItsWindow: tables scroll in their boxes, with all that is in
// them, and names of any length break.
func TestNoPageIsWiderThanItsWindow(t *testing.T) {
	b, tab := startBench(t)
	farm(t, b)
	b.add(t, provisioning.Node{MAC: macOf(100), Farmer: 4294967295, RunMode: "dev", Name: strings.Repeat("long-", 39), Args: strings.Repeat("console=ttyS0 ", 30)})
	tab.cookie(b)
	for _, width := range []int64{320, 360, 660, 1280} {
		tab.look(width, "light")
		for _, path := range append([]string{"/", "/expert", "/images", "/admin/nodes/" + macOf(100).String()}, adminPages...) {
			tab.open(path)
			if wide := get(tab, chromedp.Evaluate[int64]("document.documentElement.scrollWidth")); wide > width {
				t.Errorf("%s, %d wide: the page is %d wide", path, width, wide)
			}
		}
		tab.open("/admin/nodes/import") // what is accepted is one long word
		tab.do(chromedp.SetValue("#list", "mac,colour"), chromedp.Click("button[value=import]"))
		tab.says("#list-error", "colour")
		if wide := get(tab, chromedp.Evaluate[int64]("document.documentElement.scrollWidth")); wide > width {
			t.Errorf("a refused import, %d wide: the page is %d wide", width, wide)
		}
	}
}

func violations(tab *browser, axe string) []violation {
	tab.t.Helper()
	// Disclosures are opened: what is in them is to be read too.
	const run = `(async () => {
		for (const d of document.querySelectorAll("details")) { d.removeAttribute("name"); d.open = true; }
		const r = await axe.run(document, {resultTypes: ["violations"], runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]});
		return JSON.stringify(r.violations);
	})()`
	get(tab, chromedp.Evaluate[any](axe+"; 1"))
	text := get(tab, chromedp.Evaluate[string](run, chromedp.EvalAwaitPromise))
	var found []violation
	if err := json.Unmarshal([]byte(text), &found); err != nil {
		tab.t.Fatal(err)
	}
	return found
}
