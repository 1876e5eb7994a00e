//go:build browser

package pages_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	cdpbrowser "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/oauth2-proxy/mockoidc"

	"farmboot/ipxe/kernel/kerneltest"
	"farmboot/provisioning"
)

// startBench serves a bench, and opens a browser on it.
func startBench(t *testing.T) (*adminBench, *browser) {
	t.Helper()
	b := newAdminBench(t)
	srv := httptest.NewTLSServer(b.plane)
	t.Cleanup(srv.CloseClientConnections)
	return b, newBrowser(t, srv.URL, srv.URL)
}

// TestArgumentsAreCheckedWhileTyped: where a node is claimed, before the form is sent.
func TestArgumentsAreCheckedWhileTyped(t *testing.T) {
	b, tab := startBench(t)
	b.unknown(provisioning.Hold)
	b.play(t, bootOf(macOf(1), b.now.Now().Add(-time.Minute), 3)...)
	tab.cookie(b)
	tab.open("/admin/discovered")
	tab.wait("document.activeElement.id === 'machine'")
	tab.fill("#args", "zos-debug && reboot")
	tab.says("#args-error", "&&")
	tab.wait("document.querySelector('#args').getAttribute('aria-invalid') === 'true'")
	tab.fill("#args", "zos-debug")
	tab.wait("document.querySelector('#args-error').textContent === '' && !document.querySelector('#args').hasAttribute('aria-invalid')")
	tab.fill("#p-args", "runmode=test")
	tab.says("#p-args-error", "runmode=")
}

// TestSignInWithOpenID: to the browser the provider is another site, and where somebody
// wanted to go is remembered over it.
func TestSignInWithOpenID(t *testing.T) {
	b := newOpenIDBench(t)
	tab := newBrowser(t, b.url, strings.TrimSuffix(b.provider.Issuer(), mockoidc.IssuerBase))
	for _, user := range []mockoidc.MockUser{{Subject: "1", PreferredUsername: "eve"}, {Subject: "2", PreferredUsername: "ada", Groups: []string{"ops"}}} {
		b.provider.QueueUser(&user)
		tab.open("/admin/nodes?q=rack")
		tab.says(".narrow a.button", "Sign in with localhost:")
		tab.click(".narrow a.button")
		if len(user.Groups) == 0 {
			tab.says(".problem", "none of your groups may sign in here")
		}
	}
	tab.wait("location.pathname + location.search === '/admin/nodes?q=rack'")
	tab.says(".who", "ada (OpenID)")
}

// TestTimesAreLocal: in the browser's time zone, which is named, and in UTC besides; so are
// those that come later.
func TestTimesAreLocal(t *testing.T) {
	b, tab := startBench(t)
	tab.cookie(b)
	if _, err := chromedp.Call(tab.ctx, emulation.SetTimezoneOverride, emulation.SetTimezoneOverrideParams{TimezoneID: "Asia/Kolkata"}); err != nil {
		t.Fatal(err)
	}
	_, _, err := b.Registry.AddToken(t.Context(), root, provisioning.Token{Role: provisioning.RoleAdmin, Expires: time.Date(2031, 1, 2, 20, 0, 0, 0, time.UTC)})
	if err != nil {
		t.Fatal(err)
	}
	has := func(text, title string) {
		t.Helper()
		tab.wait("[...document.querySelectorAll('time')].some((t) => t.textContent.includes(" + quote(text) + ") && t.title === " + quote(title) + ")")
	}
	tab.open("/admin/tokens")
	has("2031-01-03 01:30:00 GMT+5:30", "2031-01-03 01:30:00 GMT+5:30 (2031-01-02 20:00:00 UTC)")
	made := b.now.Now().UTC().Add(5*time.Hour + 30*time.Minute).Format("2006-01-02 15:04:05")
	has(made, made+" GMT+5:30 ("+b.now.Now().UTC().Format("2006-01-02 15:04:05")+" UTC)")
	tab.open("/admin")
	tab.says("#live", "Live")
	b.play(t, bootOf(macOf(1), b.now.Now(), 1)...)
	local := b.now.Now().UTC().Add(5*time.Hour + 30*time.Minute).Format("2006-01-02 15:04:05")
	has("", local+" GMT+5:30 ("+b.now.Now().UTC().Format("2006-01-02 15:04:05")+" UTC)")
}

// TestReadersPages: the scripts of pages find no forms there, and fail at nothing.
func TestReadersPages(t *testing.T) {
	b, tab := startBench(t)
	b.add(t, provisioning.Node{MAC: macOf(1), RunMode: "prod"})
	b.play(t, bootOf(macOf(2), b.now.Now().Add(-time.Hour), 5)...)
	_, token, err := b.Registry.AddToken(t.Context(), root, provisioning.Token{Role: provisioning.RoleAdmin, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	b.cookie = b.signIn(t, token)
	tab.cookie(b)
	for _, path := range adminPages {
		tab.open(path)
		tab.says(".who", "only to look")
	}
	tab.open("/admin/discovered")
	tab.says("main", "1h ago")
}

// TestFarmersWay goes a farmer's whole way, from his first mistake to the image on
// his disk.
func TestFarmersWay(t *testing.T) {
	b, tab := startBench(t)
	b.write(t, "net/prod.efi", "MZ prod")
	dir := tab.downloads()
	tab.open("/")
	tab.fill("#farmer", "12x4")
	tab.says("#farmer-error", "digits only")
	tab.wait("document.querySelector('#farmer').getAttribute('aria-invalid') === 'true'")
	tab.fill("#farmer", "1234")
	tab.says(".filename", "ipxe-prod-1234.img")
	tab.wait("document.querySelector('#farmer-error').textContent === '' && !document.querySelector('#farmer').hasAttribute('aria-invalid')")
	tab.click("input[name=runmode][value=test]")
	tab.says("#product", "Run mode test has no kernel yet")
	tab.click("input[name=runmode][value=prod]")
	tab.click("input[name=format][value=iso]")
	tab.says(".filename", "ipxe-prod-1234.iso")
	tab.wait("location.search.includes('format=iso') && location.search.includes('farmer=1234')")
	sum := strings.TrimSpace(get(tab, chromedp.TextContent("#sum")))
	tab.click("#product .primary")
	file := filepath.Join(dir, "ipxe-prod-1234.iso")
	want := imageOf("/iso/prod/1234")
	eventually(t, "the download", func() bool {
		got, err := os.ReadFile(file)
		return err == nil && bytes.Equal(got, want)
	})
	if digest := sha256.Sum256(want); sum != hex.EncodeToString(digest[:]) {
		t.Errorf("shown digest %s is not that of the download", sum)
	}
	// The link is the whole state: it shows the same to somebody else.
	link := get(tab, chromedp.AttributeValue(".share a", "href"))
	tab.open(link.Value)
	tab.says(".filename", "ipxe-prod-1234.iso")
}

// downloads is the folder to which the browser downloads from now on.
func (b *browser) downloads() string {
	b.t.Helper()
	dir := b.t.TempDir()
	_, err := chromedp.CallBrowser(b.ctx, cdpbrowser.SetDownloadBehavior, cdpbrowser.SetDownloadBehaviorParams{
		Behavior: cdpbrowser.SetDownloadBehaviorBehaviorAllow, DownloadPath: dir,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return dir
}

// TestExpertIsCheckedLive types arguments, and reads what is said of them.
func TestExpertIsCheckedLive(t *testing.T) {
	b, tab := startBench(t)
	b.write(t, "net/prod.efi", "MZ prod")
	tab.open("/expert")
	tab.fill("#args", "zos-debgu")
	tab.says(".findings", `did you mean "zos-debug"`)
	tab.fill("#args", `a="b`)
	tab.says("#args-error", "unbalanced quotes")
	tab.fill("#args", "console=ttyS0")
	tab.says("#how", "runmode=prod console=ttyS0")
	tab.wait("document.activeElement.id === 'args'") // nothing took the focus away
}

// TestAdminsWay signs in by hand and does an admin's work.
func TestAdminsWay(t *testing.T) {
	b, tab := startBench(t)
	b.play(t, bootOf(macOf(1), b.now.Now(), 5)...)
	tab.open("/admin/nodes")
	tab.wait("location.pathname === '/admin/signin'")
	tab.fill("#token", "farmboot_no_token")
	tab.do(chromedp.SendKeys("#token", kb.Enter))
	tab.says("#token-error", "not a valid token")
	tab.fill("#token", b.token)
	tab.do(chromedp.SendKeys("#token", kb.Enter))
	tab.wait("location.pathname === '/admin/nodes'")

	// Claim what was discovered.
	tab.open("/admin")
	tab.click(".row-act a")
	tab.wait("document.querySelector('#machine')?.value === '52:54:00:00:00:01'")
	tab.fill("#farmer", "5x")
	tab.do(chromedp.Submit("#machine"))
	tab.says("#farmer-error", "digits only")
	tab.fill("#farmer", "5")
	tab.fill("#name", "first")
	tab.do(chromedp.Submit("#machine"))
	tab.says(".flash", "Claimed")
	n, err := b.Registry.Node(t.Context(), root, macOf(1))
	if err != nil || n.Farmer != 5 || n.Name != "first" {
		t.Errorf("claimed %+v, %v", n, err)
	}

	// Paste a list, then change all of it.
	tab.open("/admin/nodes/import")
	tab.do(chromedp.SetValue("#list", "52:54:00:00:00:02 nonsense"), chromedp.Click("button[value=import]"))
	tab.says("main", "1 refused")
	tab.do(chromedp.SetValue("#list", "52:54:00:00:00:02\n5254.0000.0003"), chromedp.Click("button[value=import]"))
	tab.says(".flash", "Imported")
	tab.click("[data-select-all] input")
	tab.says("[data-selected]", "3")
	tab.do(chromedp.SetValue("#p-runmode", "test"), chromedp.SendKeys("#p-args", "zos-debug"), chromedp.Click("button[value=change]"))
	tab.says(".flash", "all selected")
	nodes, err := b.Registry.Nodes(t.Context(), root, provisioning.NodeQuery{RunMode: "test"})
	if err != nil || len(nodes) != 3 || nodes[0].Args != "zos-debug" || nodes[0].Farmer != 5 {
		t.Errorf("changed %+v, %v", nodes, err)
	}

	// Upload a kernel, wrong and right.
	wrong, right := filepath.Join(t.TempDir(), "zos.html"), filepath.Join(t.TempDir(), "zos.efi")
	kernel := kerneltest.EFI(strings.Repeat("kernel ", 300_000))
	for file, content := range map[string]string{wrong: "<!doctype html>", right: kernel} {
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tab.open("/admin/kernels")
	tab.do(chromedp.SetUploadFiles("#file", []string{wrong}), chromedp.Click("[data-upload] button"))
	tab.says("#file-error", "not a kernel")
	tab.wait("document.activeElement.id === 'file'")
	tab.do(chromedp.SetUploadFiles("#file", []string{right}), chromedp.SetValue("#upload-mode", "test"), chromedp.Click("[data-upload] button"))
	tab.says(".flash", "Kernel stored")
	if sum, err := b.Pages.Kernels.SHA256("net/test.efi"); err != nil || sum != hexSum(kernel) {
		t.Errorf("uploaded %s, %v", sum, err)
	}

	// Make a token for a farmer, and see it once.
	tab.open("/admin/tokens")
	tab.fill("#farmer", "5")
	tab.do(chromedp.Submit("#farmer"))
	tab.says(".secret", "farmboot_")

	tab.click(".who button")
	tab.wait("location.pathname === '/admin/signin'")
	tab.open("/admin/nodes")
	tab.wait("location.pathname === '/admin/signin'")
}

func hexSum(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// TestBoardIsLive watches the board while nodes boot.
func TestBoardIsLive(t *testing.T) {
	b, tab := startBench(t)
	b.add(t, provisioning.Node{MAC: macOf(1), Name: "rack-1", RunMode: "prod"})
	tab.cookie(b)
	tab.open("/admin")
	tab.says("#node-525400000001", "No boot seen")
	tab.says("#live", "Live")
	now := b.now.Now()
	for i, stage := range []string{"1 of 5", "2 of 5", "2 of 5", "3 of 5", "3 of 5", "3 of 5", "4 of 5", "all five"} {
		boot := bootOf(macOf(1), now, 8)
		b.now.advance(time.Second)
		b.recorder.Record(boot[i])
		tab.wait("document.querySelector('#node-525400000001 .bars').getAttribute('aria-label').includes('" + stage + "')")
	}
	tab.says("#node-525400000001", "61.3 MB, 26.7 MB/s")
	// A stranger appears by himself, with a button.
	b.recorder.Record(bootOf(macOf(2), b.now.Now(), 1)[0])
	tab.says("#node-525400000002", "not registered")
	tab.says("#node-525400000002 .row-act", "Claim")
	tab.says(".group.booting b", "1")
	tab.says(".group.started b", "1")
}

// TestBoardShowsWhatBoots has a node of a long board begin to boot: its row comes to
// the top, unless somebody is at work in it, and leaves a filter that it does not
// pass any more.
func TestBoardShowsWhatBoots(t *testing.T) {
	b, tab := startBench(t)
	for i := range 72 {
		b.add(t, provisioning.Node{MAC: macOf(i), RunMode: "prod", Name: fmt.Sprintf("rack-%02d", i)})
		b.play(t, bootOf(macOf(i), b.now.Now().Add(-time.Hour-time.Duration(i)*time.Minute), 8)...)
	}
	stalled := bootOf(macOf(65), b.now.Now().Add(-30*time.Hour), 5)
	b.play(t, stalled...)
	tab.cookie(b)
	tab.open("/admin")
	tab.says("#live", "Live")
	begin := func(n int) { b.recorder.Record(bootOf(macOf(n), b.now.Now(), 1)[0]) }
	first := func(n int) string {
		return fmt.Sprintf("document.querySelector('#board > li').id === 'node-%s' && document.querySelectorAll('#board > li').length === 72", strings.ReplaceAll(macOf(n).String(), ":", ""))
	}
	begin(60)
	tab.wait(first(60))
	begin(61)
	tab.wait(first(61))

	row := "#node-" + strings.ReplaceAll(macOf(62).String(), ":", "")
	get(tab, chromedp.Evaluate[any]("document.querySelector('"+row+" a').focus()"))
	begin(62)
	tab.wait("document.querySelector('" + row + "').dataset.group === 'booting'")
	tab.wait(first(61))
	tab.wait("document.querySelector('" + row + "').contains(document.activeElement)")
	get(tab, chromedp.Evaluate[any]("document.activeElement.blur()"))
	b.now.advance(time.Second)
	b.recorder.Record(bootOf(macOf(62), b.now.Now(), 2)[1])
	tab.wait(first(62))

	tab.open("/admin?state=booting")
	tab.wait("document.querySelectorAll('#board > li').length === 3")
	tab.says("#live", "Live")
	for _, e := range bootOf(macOf(60), b.now.Now(), 8)[2:] {
		b.recorder.Record(e)
	}
	tab.wait("document.querySelectorAll('#board > li').length === 2")
}

// TestNodePageIsLive watches one node boot, with an earlier boot of it opened.
func TestNodePageIsLive(t *testing.T) {
	b, tab := startBench(t)
	b.add(t, provisioning.Node{MAC: macOf(1), Name: "rack-1", RunMode: "prod"})
	b.play(t, bootOf(macOf(1), b.now.Now().Add(-48*time.Hour), 8)...)
	b.play(t, bootOf(macOf(1), b.now.Now().Add(-24*time.Hour), 8)...)
	tab.cookie(b)
	tab.open("/admin/nodes/" + macOf(1).String())
	tab.says("#board .verdict", "kernel went out whole")
	tab.click("#board details summary")
	tab.fill("#name", "half-typed")
	b.recorder.Record(bootOf(macOf(1), b.now.Now(), 1)[0])
	tab.says("#board .verdict", "On its way")
	tab.wait("document.querySelectorAll('#board details').length === 2 && document.querySelectorAll('#board details[open]').length === 1 && document.querySelectorAll('#board details')[1].open")
	tab.wait("document.querySelector('#name').value === 'half-typed' && document.activeElement.id === 'name'")
}

// onScreen is true of an element that is in the window, whole.
const onScreen = `((e) => { const r = e.getBoundingClientRect(); return r.height > 0 && r.top >= 0 && r.bottom <= innerHeight; })`

// TestMistakesAreOnTheScreen: after a form was refused, what is wrong with it is where
// the page opens, and where the keyboard is.
func TestMistakesAreOnTheScreen(t *testing.T) {
	b, tab := startBench(t)
	for i := range 120 {
		b.add(t, provisioning.Node{MAC: macOf(i), RunMode: "prod", Name: fmt.Sprintf("rack-%02d", i)})
	}
	tab.cookie(b)
	for _, width := range []int64{1280, 390} {
		tab.look(width, "light")
		tab.open("/admin/nodes")
		tab.click("button[value=change]")
		tab.says(".problem", "no node is selected")
		tab.wait(onScreen + "(document.querySelector('.problem')) && document.activeElement.className === 'problem'")
		tab.do(chromedp.SendKeys("#p-args", `"`))
		tab.says("#p-args-error", "unbalanced quotes") // while it is typed; it moves the button
		tab.do(chromedp.Click("button[value=change]"))
		tab.says("#p-args-error", "unbalanced quotes")
		tab.wait(onScreen + "(document.activeElement) && document.activeElement.id === 'p-args'")
		tab.open("/admin/discovered")
		tab.click("main form button")
		tab.wait(onScreen + "(document.activeElement) && document.activeElement.id === 'machine'")
	}
}

// TestDownloadIsAtHandOnAPhone: the button is on the screen while the form is being
// filled in, and gives the same as the display.
func TestDownloadIsAtHandOnAPhone(t *testing.T) {
	b, tab := startBench(t)
	b.write(t, "net/prod.efi", "MZ prod")
	tab.look(390, "light")
	for _, path := range []string{"/", "/expert"} {
		tab.open(path)
		tab.wait(onScreen + "(document.querySelector('#take a'))")
		tab.fill("#farmer", "1234")
		tab.wait("document.querySelector('#take a').download === 'ipxe-prod-1234.img' && document.querySelector('#take a').href === document.querySelector('#product .primary').href")
		tab.fill("#farmer", "x")
		tab.wait("!document.querySelector('#take a')")
	}
	tab.look(1280, "light")
	tab.open("/")
	tab.wait("getComputedStyle(document.querySelector('#take')).display === 'none' && " + onScreen + "(document.querySelector('#product .primary'))")
}

// TestBoardOfManyNodes lets fifty nodes boot at once.
func TestBoardOfManyNodes(t *testing.T) {
	b, tab := startBench(t)
	tab.cookie(b)
	tab.open("/admin")
	tab.says("#live", "Live")
	const nodes = 50
	for i := range 8 {
		for n := range nodes {
			b.recorder.Record(bootOf(macOf(n), b.now.Now(), 8)[i])
		}
		b.now.advance(time.Second)
	}
	tab.wait("document.querySelectorAll('#board > .started').length === 50")
	tab.says(".group.started b", "50")
}

// TestKeyboard goes through the first page by keys only.
func TestKeyboard(t *testing.T) {
	b, tab := startBench(t)
	b.write(t, "net/prod.efi", "MZ prod")
	tab.open("/")
	tab.do(chromedp.KeyEvent(kb.Tab))
	tab.wait("document.activeElement.classList.contains('skip')")
	tab.do(chromedp.KeyEvent(kb.Enter), chromedp.KeyEvent(kb.Tab))
	tab.wait("document.activeElement.id === 'farmer'")
	tab.do(chromedp.KeyEvent("77"), chromedp.KeyEvent(kb.Tab))
	tab.wait("document.activeElement.name === 'runmode'")
	tab.do(chromedp.KeyEvent(kb.Tab), chromedp.KeyEvent(kb.ArrowDown))
	tab.says(".filename", "uefiusb-prod-77.img")
	tab.do(chromedp.KeyEvent(kb.Tab))
	tab.wait("document.activeElement.classList.contains('primary')")
}
