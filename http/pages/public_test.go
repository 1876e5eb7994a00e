package pages_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"html"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"farmboot/ipxe/catalog"
	"farmboot/ipxe/kernel/kerneltest"
)

// TestSymptomAddress: the short address on a node's screen leads to its symptom.
func TestSymptomAddress(t *testing.T) {
	b := newBench(t)
	for _, symptom := range []string{"kernel-missing", "probing-edd"} {
		if r, _ := b.get(t, "/help/"+symptom); r.StatusCode != 302 || r.Header.Get("Location") != "/help/symptoms#"+symptom {
			t.Errorf("%s: status %d, Location %q", symptom, r.StatusCode, r.Header.Get("Location"))
		}
	}
}

func TestPublicPages(t *testing.T) {
	b := newBench(t)
	b.write(t, "net/prod.efi", "MZ prod kernel")
	b.write(t, "zos.efi", "MZ zos kernel")
	for _, tt := range []struct {
		target string
		status int
		says   []string // in the page, entities undone
	}{
		{"/", 200, []string{"ipxe-prod.img", `href="/usb/prod"`, "400 kB", "recommended", "no kernel yet"}},
		{"/generate/", 200, []string{"ipxe-prod.img"}},
		{"/?farmer=1234&runmode=prod&format=iso", 200, []string{"ipxe-prod-1234.iso", `href="/iso/prod/1234"`, "virtual media", `href="/?farmer=1234&format=iso&runmode=prod"`, "farmer_id=1234"}},
		{"/?farmer=%201234%20", 200, []string{"ipxe-prod-1234.img"}},
		{"/?runmode=test&format=krn", 200, []string{"Run mode test has no kernel yet", "What is missing"}},
		{"/?format=krn", 200, []string{"ipxe-prod.lkrn", "linux16"}},
		{"/?format=snponly", 200, []string{"ipxe-snp-prod.efi", "BOOTX64.EFI", "chain http://192.0.2.1/snponly/prod"}},
		{"/?farmer=0", 400, []string{"from 1 to 4294967295", `value="0"`}},
		{"/?farmer=4294967296", 400, []string{"from 1 to 4294967295"}},
		{"/?farmer=12x", 400, []string{"from 1 to 4294967295"}},
		{"/?farmer=+5", 200, []string{"ipxe-prod-5.img"}},
		{"/?runmode=nope", 400, []string{`unknown run mode "nope"`}},
		{"/?format=floppy", 400, []string{"choose one from the list"}},
		{"/expert", 200, []string{"nomodeset version=v3 panic=7200 runmode=prod", "the generation of Zero-OS", "http://192.0.2.1/usb/prod", "#!ipxe"}},
		{"/expert?args=console%3DttyS0%20a%2Fb&farmer=7&kernel=zos.efi", 200, []string{"farmer_id=7 console=ttyS0 a/b", "/usb/prod/7/console=ttyS0%20a%2Fb/zos.efi"}},
		{"/expert?args=zos-debgu", 200, []string{`did you mean "zos-debug"`, "Careful:"}},
		{"/expert?args=runmode%3Dtest", 400, []string{"a second"}},
		{"/expert?args=%22", 400, []string{"unbalanced quotes"}},
		{"/expert?kernel=..%2F..%2Fetc", 400, []string{"choose one from the list"}},
		{"/expert?arch=arm64", 200, []string{"This cannot be made", "no usb image for arm64"}},
		{"/expert?arch=arm64&format=uefi", 200, []string{"You get"}},
		{"/expert?scheme=gopher", 400, []string{"choose one from the list"}},
		{"/images", 200, []string{"zos.efi", "net/prod.efi", "No run mode boots it", "14 bytes", "Testing (test)", "farmboot kernel use test zos.efi"}},
		{"/help", 200, []string{"Install", "What a node shows", `href="/help/network"`}},
		{"/help/symptoms", 200, []string{`id="kernel-missing"`, "PXE-E53", `href="/help/kernels"`}},
		{"/help/nothing", 404, []string{`the manual has nothing about "nothing"`}},
		{"/static/none", 404, []string{"no such static file"}},
	} {
		t.Run(tt.target, func(t *testing.T) {
			r, page := b.get(t, tt.target)
			if r.StatusCode != tt.status {
				t.Errorf("status %d, want %d", r.StatusCode, tt.status)
			}
			for _, s := range tt.says {
				if !strings.Contains(html.UnescapeString(page), s) {
					t.Errorf("the page does not say %q", s)
				}
			}
			checkPage(t, r.Header.Get("Content-Security-Policy"), page)
		})
	}
}

// TestPageForStrangers: who comes from outside the networks of the appliance is told that
// nodes there may not reach it, as long as no other address of it is configured.
func TestPageForStrangers(t *testing.T) {
	b := newBench(t)
	b.write(t, "net/prod.efi", "MZ prod kernel")
	const note = "It starts only nodes that reach this appliance at http://192.0.2.1, an address of its own network"
	says := func(target string) bool {
		_, page := b.get(t, target)
		return strings.Contains(regexp.MustCompile(`</?code>`).ReplaceAllString(page, ""), note)
	}
	for _, strange := range []bool{true, false} {
		var asked netip.Addr
		b.Strange = func(peer netip.Addr) bool { asked = peer; return strange }
		for _, target := range []string{"/?farmer=1234", "/expert"} {
			if says(target) != strange || !asked.IsValid() {
				t.Errorf("%s: a stranger is %v: %v, from %s", target, strange, says(target), asked)
			}
		}
	}
}

var (
	inline  = regexp.MustCompile(`(?i)<script(?:[^>]*)>[^<]|<style|\sstyle=|\son[a-z]+=|javascript:`)
	outside = regexp.MustCompile(`(?i)(?:src|href|action)="(?:https?:)?//[^"]*"`)
)

// checkPage checks what holds for every page.
func checkPage(t *testing.T, csp, page string) {
	t.Helper()
	if !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
		t.Errorf("Content-Security-Policy %q", csp)
	}
	for _, bad := range []*regexp.Regexp{inline, outside} {
		if s := bad.FindString(page); s != "" {
			t.Errorf("the page has %q", s)
		}
	}
	if strings.Contains(page, "evil.example") {
		t.Error("the Host header is in the page")
	}
	for _, s := range []string{`<html lang="en">`, `<main id="main"`, `<title>`, `class="skip"`} {
		if strings.Count(page, s) != 1 {
			t.Errorf("%d times %s", strings.Count(page, s), s)
		}
	}
}

func TestWhatIsShownIsWhatIsServed(t *testing.T) {
	b := newBench(t)
	b.write(t, "net/prod.efi", "MZ")
	for _, kind := range []string{"usb", "iso", "uefimg", "uefi", "krn", "snponly"} {
		_, page := b.get(t, "/?farmer=9&format="+kind)
		link := regexp.MustCompile(`<a class="button primary wide" href="([^"]+)"`).FindStringSubmatch(page)
		if link == nil {
			t.Fatal("no download")
		}
		_, image := b.get(t, link[1])
		sum := sha256.Sum256([]byte(image))
		if !strings.Contains(page, hex.EncodeToString(sum[:])) {
			t.Errorf("%s: the page does not have the digest of what it links to", kind)
		}
	}
}

func TestHostileQuery(t *testing.T) {
	b := newBench(t)
	b.write(t, "net/prod.efi", "MZ")
	const hostile = `"><script>alert(1)</script>`
	for _, field := range []string{"farmer", "runmode", "format", "args", "kernel", "arch", "scheme"} {
		for _, path := range []string{"/", "/expert"} {
			_, page := b.get(t, path+"?"+field+"="+strings.NewReplacer(`"`, "%22", "<", "%3C", ">", "%3E").Replace(hostile))
			if strings.Contains(page, "<script>") {
				t.Errorf("%s with a hostile %s is not escaped", path, field)
			}
		}
	}
}

func TestNoKernels(t *testing.T) {
	r, page := newBench(t).get(t, "/images")
	if r.StatusCode != 200 || !strings.Contains(page, "No kernel yet") || !strings.Contains(page, "farmboot kernel use prod zos.efi") {
		t.Errorf("status %d: %s", r.StatusCode, page)
	}
}

// TestGoneKernel: pages say which file is gone that a run mode boots.
func TestGoneKernel(t *testing.T) {
	b := newAdminBench(t)
	b.write(t, "net/prod.efi", "MZ")
	b.write(t, "qa.efi", "MZ")
	folder := b.Kernels.Folder()
	if err := os.Symlink("../v1.efi", filepath.Join(folder, "net", "qa.efi")); err != nil {
		t.Fatal(err)
	}
	const gone = "boots v1.efi, which is gone"
	for path, want := range map[string]string{
		"/":              "<em> " + gone + "</em>",
		"/?runmode=qa":   "Run mode qa " + gone + ": a node",
		"/expert":        " (qa) " + gone + "</option>",
		"/images":        " (qa) " + gone + ".",
		"/admin/kernels": ">Quality assurance " + gone + ".</p>",
		"/admin/nodes":   " (qa) " + gone + "</option>",
	} {
		if _, page := b.look(t, path); !strings.Contains(page, want) {
			t.Errorf("%s does not say %q: %s", path, want, text(page))
		}
	}
	if err := os.Remove(filepath.Join(folder, "net", "prod.efi")); err != nil {
		t.Fatal(err)
	}
	if _, page := b.look(t, "/images"); !strings.Contains(page, gone) {
		t.Errorf("/images, where no run mode has a kernel: %s", text(page))
	}
}

// TestNoFileThatBoots: pages say what is in the place of a run mode's kernel and is none.
func TestNoFileThatBoots(t *testing.T) {
	b := newAdminBench(t)
	b.write(t, "net/prod.efi", "MZ")
	b.write(t, "net/qa.efi", "")
	b.write(t, "net/test.efi", "<!doctype html>\n")
	b.write(t, "net/dev.efi/a", "is in a folder")
	b.write(t, "blank.efi", "")
	b.write(t, "odd.efi", "#!ipxe\n")
	const empty, web = "has no kernel that boots: net/qa.efi is empty", "has no kernel that boots: net/test.efi is a web page"
	for path, wants := range map[string][]string{
		"/":              {"<em> " + empty + "</em>", "<em> " + web + "</em>"},
		"/images":        {" (qa) " + empty, " (test) " + web},
		"/admin/kernels": {">A file of its own, net/qa.efi</option>", ">No kernel</option>", "Nodes cannot boot it: not a kernel: blank.efi is empty; ", "Quality assurance " + empty + ".", web + ".", "boots net/prod.efi, which is neither an EFI application nor a bzImage: "},
	} {
		for _, want := range wants {
			if _, page := b.look(t, path); !strings.Contains(page, want) {
				t.Errorf("%s does not say %q: %s", path, want, text(page))
			}
		}
	}
	if _, page := b.look(t, "/admin/kernels"); strings.Contains(page, "not a kernel: odd.efi") {
		t.Errorf("nodes may know the format of odd.efi: %s", text(page))
	}
	if r, page := b.send(t, "/admin/kernels/remove", url.Values{"kernel": {"blank.efi"}}); r.StatusCode != http.StatusSeeOther {
		t.Errorf("an empty kernel cannot be removed: %d %s", r.StatusCode, text(page))
	}
}

// TestImagesOfferWhatIsThere: a run mode without a kernel can boot one that is stored.
func TestImagesOfferWhatIsThere(t *testing.T) {
	b := newBench(t)
	for name, want := range map[string]string{
		"page.efi": "farmboot kernel add zos.efi &amp;&amp; farmboot kernel use prod zos.efi",
		"v2.efi":   "farmboot kernel use prod v2.efi",
	} {
		content := "<!doctype html>\n"
		if name == "v2.efi" {
			content = kerneltest.EFI("v2")
		}
		if err := os.RemoveAll(b.dir); err != nil {
			t.Fatal(err)
		}
		b.write(t, name, content)
		if _, page := b.get(t, "/images"); !strings.Contains(page, ">"+want+"<") {
			t.Errorf("with %s there is no %q: %s", name, want, text(page))
		}
	}
}

func TestFaultIsNotShown(t *testing.T) {
	b := newBench(t)
	b.write(t, "net/prod.efi", "MZ")
	b.Describe = func(catalog.Order) (catalog.Download, error) { return catalog.Download{}, errors.New("secret path") }
	r, page := b.get(t, "/")
	if r.StatusCode != 500 || strings.Contains(page, "secret") || !strings.Contains(page, "internal error") {
		t.Errorf("status %d: %s", r.StatusCode, page)
	}
}

func TestStaticFiles(t *testing.T) {
	b := newBench(t)
	_, page := b.get(t, "/")
	links := regexp.MustCompile(`(?:src|href)="(/static/[^"]+)"`).FindAllStringSubmatch(page, -1)
	if len(links) < 5 {
		t.Fatalf("links %v", links)
	}
	types := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
	for _, l := range links {
		r, _ := b.get(t, l[1])
		etag := r.Header.Get("Etag")
		if r.StatusCode != 200 || etag == "" || !strings.Contains(r.Header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s: %d %v", l[1], r.StatusCode, r.Header)
		}
		if got, want := r.Header.Get("Content-Type"), types[path.Ext(l[1])]; got != want {
			t.Errorf("%s has content type %q, want %q", l[1], got, want)
		}
		again, body := b.get(t, l[1], "If-None-Match", etag)
		if again.StatusCode != 304 || body != "" {
			t.Errorf("%s with its ETag: %d", l[1], again.StatusCode)
		}
	}
	r, _ := b.get(t, "/static/farmboot.css")
	if r.StatusCode != 200 || r.Header.Get("Cache-Control") != "no-cache" {
		t.Errorf("plain name: %d %v", r.StatusCode, r.Header)
	}
}

// TestSecureBootKeys: who downloads a stick that carries the signed chain is told which keys
// to press at the machine; nobody else is.
func TestSecureBootKeys(t *testing.T) {
	b := newBench(t)
	b.write(t, "net/prod.efi", "MZ prod kernel")
	for _, on := range []bool{false, true} {
		b.SecureBoot = on
		_, page := b.get(t, "/")
		if may := strings.Contains(page, "can be edited"); may == on || strings.Contains(page, "leave its files as they are") != on {
			t.Errorf("Secure Boot %v: the stick's script can be edited: %v", on, may)
		}
		for format, stick := range map[string]bool{"usb": true, "iso": true, "uefi": false} {
			_, page := b.get(t, "/?runmode=prod&format="+format)
			if got := strings.Contains(page, "Enroll key from disk"); got != (on && stick) {
				t.Errorf("%s, Secure Boot %v: the keys are shown: %v", format, on, got)
			}
			if drawn := strings.Count(page, `class="screen" role="img" aria-label="`); drawn != map[bool]int{true: 8}[on && stick] {
				t.Errorf("%s, Secure Boot %v: %d of MokManager's screens are drawn", format, on, drawn)
			}
		}
	}
}
