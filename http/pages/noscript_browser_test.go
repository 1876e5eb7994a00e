//go:build browser

package pages_test

import (
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// TestWithoutScripts does the same work with JavaScript off.
func TestWithoutScripts(t *testing.T) {
	b, tab := startBench(t)
	b.write(t, "net/prod.efi", "MZ prod")
	b.play(t, bootOf(macOf(1), b.now.Now(), 5)...)
	if _, err := chromedp.Call(tab.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}); err != nil {
		t.Fatal(err)
	}
	text := func(selector string) string { return get(tab, chromedp.TextContent(selector)) }
	tab.open("/")
	tab.do(chromedp.SendKeys("#farmer", "77"), chromedp.Click("input[value=iso]"), chromedp.Click("[data-submit]"))
	tab.says(".filename", "ipxe-prod-77.iso")
	tab.open("/admin/discovered")
	tab.do(chromedp.SendKeys("#token", b.token+kb.Enter))
	tab.says("h1", "Discovered")
	tab.click("td.end a")
	tab.do(chromedp.SendKeys("#farmer", "5"+kb.Enter))
	tab.says(".flash", "Claimed")
	tab.open("/admin")
	if s := text("#node-525400000001"); s == "" {
		t.Error("the board is empty")
	}
}
