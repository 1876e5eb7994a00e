//go:build browser

package pages_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// browser is a tab of Debian's Chromium that looks at one appliance.
type browser struct {
	t   testing.TB
	ctx context.Context
	url string // of the appliance
	too string // the same by another address, if it has one

	mu     sync.Mutex
	astray []string // requests that left the appliance
	faults []string // what the console said
}

// newBrowser opens a tab. At the end of the test no request may have left the
// appliance, and no script may have failed.
func newBrowser(t testing.TB, url, too string) *browser {
	t.Helper()
	opts := append(
		chromedp.DefaultExecAllocatorOptions[:],
		chromedp.NoSandbox, chromedp.DisableGPU, chromedp.IgnoreCertErrors, chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1280, 800),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
	)
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), opts...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	b := &browser{t: t, ctx: ctx, url: url, too: too}
	if err := chromedp.Listen(ctx, b.heard); err != nil {
		t.Fatalf("start Chromium (apt-get install chromium): %v", err)
	}
	if _, err := chromedp.Call(ctx, network.Enable, network.EnableParams{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if len(b.astray) > 0 || len(b.faults) > 0 {
			t.Errorf("requests that left the appliance: %q; faults: %q", b.astray, b.faults)
		}
	})
	return b
}

// heard notes what must not be.
func (b *browser) heard(ev any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch ev := ev.(type) {
	case *network.EventRequestWillBeSent:
		ours := slices.ContainsFunc([]string{b.url + "/", b.too + "/", "data:", "blob:"}, func(p string) bool { return strings.HasPrefix(ev.Request.URL, p) })
		if !ours {
			b.astray = append(b.astray, ev.Request.URL)
		}
	case *runtime.EventExceptionThrown:
		b.faults = append(b.faults, ev.ExceptionDetails.Text)
	}
}

// do runs steps that return nothing.
func (b *browser) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, waitLimit)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatal(err)
	}
}

// get runs a step that returns something.
func get[T any](b *browser, step chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, waitLimit)
	defer cancel()
	v, err := chromedp.Run(ctx, step)
	if err != nil {
		b.t.Fatal(err)
	}
	return v
}

// look makes the window that wide, light or dark.
func (b *browser) look(width int64, scheme string) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(width, 844-width/10, func(p *emulation.SetDeviceMetricsOverrideParams, _ *emulation.SetTouchEmulationEnabledParams) {
		p.Mobile = width < 500
	}))
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}},
	})
	if err != nil {
		b.t.Fatal(err)
	}
}

// open goes to a page of the appliance.
func (b *browser) open(path string) {
	b.t.Helper()
	b.do(chromedp.Navigate(b.url+path), chromedp.WaitReady("main"))
}

// fill puts text into a field in place of what is there, as keys.
func (b *browser) fill(selector, text string) {
	b.t.Helper()
	b.do(chromedp.WaitVisible(selector))
	get(b, chromedp.Evaluate[any]("document.querySelector("+quote(selector)+").select()"))
	b.do(chromedp.KeyEvent(text))
}

func (b *browser) click(selector string) {
	b.t.Helper()
	b.do(chromedp.Click(selector))
}

// wait waits until an expression is true, across navigations.
func (b *browser) wait(expression string) {
	b.t.Helper()
	done := false
	defer func() {
		if !done {
			state, err := chromedp.Run(b.ctx, chromedp.Evaluate[string](whereIs))
			b.t.Logf("the page: %s %v", state, err)
		}
	}()
	eventually(b.t, expression, func() bool {
		ok, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool]("!!("+expression+")"))
		return err == nil && ok
	})
	done = true
}

// whereIs says what a page shows, for a test that waited in vain.
const whereIs = `((e) => JSON.stringify({
	url: location.href, window: [innerWidth, innerHeight], scrolled: [scrollX, scrollY],
	active: e.outerHTML.slice(0, 200), at: e.getBoundingClientRect(), said: [...document.querySelectorAll(".problem, .error")].map((p) => p.textContent).filter(Boolean),
}))(document.activeElement)`

// says waits until an element has a text in it.
func (b *browser) says(selector, text string) {
	b.t.Helper()
	b.wait("document.querySelector(" + quote(selector) + ")?.textContent.includes(" + quote(text) + ")")
}

func quote(s string) string { return "`" + strings.ReplaceAll(s, "`", "\\`") + "`" }

// cookie signs the browser in.
func (b *browser) cookie(bench *adminBench) {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, network.SetCookie, network.SetCookieParams{
		Name: bench.cookie.Name, Value: bench.cookie.Value, URL: b.url, Path: "/", Secure: new(true),
	})
	if err != nil {
		b.t.Fatal(err)
	}
}
