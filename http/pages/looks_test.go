package pages_test

import (
	"fmt"
	"html"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"farmboot/ipxe"
	"farmboot/ipxe/kernel"
	"farmboot/ipxe/upstream"
	"farmboot/provisioning"
	"farmboot/provisioning/registry"
)

var focused = regexp.MustCompile(`<[a-z]+ [^>]*autofocus[^>]*>`)

// checkFocus checks that a page opens at what is wrong: its field, or else the
// message about the form as a whole.
func checkFocus(t *testing.T, page, field string) {
	t.Helper()
	at := focused.FindAllString(page, -1)
	if len(at) != 1 || field != "" && !strings.Contains(at[0], ` id="`+field+`"`) ||
		field == "" && !strings.Contains(at[0], `tabindex="-1"`) && !strings.Contains(at[0], "aria-invalid") {
		t.Errorf("the page opens at %q, want %q", at, field)
	}
}

// text is a page without its tags, for what is said across them.
func text(page string) string {
	return strings.Join(strings.Fields(html.UnescapeString(regexp.MustCompile(`<[^>]*>`).ReplaceAllString(page, " "))), " ")
}

// inOrder checks that a page says these things one after the other.
func inOrder(t *testing.T, page string, parts ...string) {
	t.Helper()
	rest := page
	for _, p := range parts {
		_, after, found := strings.Cut(rest, p)
		if !found {
			t.Fatalf("no %q, or not after what comes before it, in %s", p, page)
		}
		rest = after
	}
}

func TestFirstSteps(t *testing.T) {
	b := newAdminBench(t)
	b.unknown(provisioning.Hold) // or machines that are not registered boot prod
	tokens, err := b.Registry.Tokens(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	for _, tok := range tokens {
		if err := b.Registry.RemoveToken(t.Context(), root, tok.ID); err != nil {
			t.Fatal(err)
		}
	}
	_, code, _ := strings.Cut(b.links.New(), "code=")
	r, _ := b.post(t, nil, "/admin/signin", url.Values{"code": {code}})
	linked := r.Cookies()[0]
	steps := func(want ...string) {
		t.Helper()
		_, page := b.lookAs(t, linked, "/admin")
		for _, link := range []string{`href="/admin/kernels">Store a kernel`, `href="/admin/tokens">Make a token`} {
			if strings.Contains(page, link) != strings.Contains(strings.Join(want, " "), link) {
				t.Errorf("with %q to be done, the board says: %s", want, text(page))
			}
		}
	}
	steps(`href="/admin/kernels">Store a kernel`, `href="/admin/tokens">Make a token`)
	_, page := b.lookAs(t, linked, "/admin/kernels")
	inOrder(t, page, "Upload the first kernel", `value="prod" selected`, "What the run modes boot", " disabled>", " disabled>Set")

	b.write(t, "zos.efi", "MZ")
	_, page = b.lookAs(t, linked, "/admin/kernels")
	inOrder(t, page, "What the run modes boot", "Upload a kernel")
	if strings.Contains(page, " disabled") {
		t.Error("with a kernel there is something to set")
	}
	steps(`href="/admin/kernels">Store a kernel`, `href="/admin/tokens">Make a token`)
	if err := b.Pages.Kernels.Point("dev", "zos.efi", false); err != nil {
		t.Fatal(err)
	}
	steps(`href="/admin/tokens">Make a token`)
	const admin, farmer = `value="admin" checked`, `value="farmer" checked`
	if _, page = b.lookAs(t, linked, "/admin/tokens"); !strings.Contains(page, admin) {
		t.Errorf("the first token is for: %s", page)
	}
	if _, _, err := b.Registry.AddToken(t.Context(), root, provisioning.Token{Role: provisioning.RoleAdmin}); err != nil {
		t.Fatal(err)
	}
	steps()
	if _, page = b.lookAs(t, linked, "/admin/tokens"); !strings.Contains(page, farmer) {
		t.Errorf("another token is for: %s", page)
	}
}

// TestNoSuchPage: in a browser a wrong address is a page too, which leads on; so is that
// of a form, and what is sent to where nothing is to be sent.
func TestNoSuchPage(t *testing.T) {
	b := newAdminBench(t)
	const board, start = `<a href="/admin">To the board`, `<a href="/">To the start page`
	for _, tt := range []struct {
		method, target string
		status         int
		allow, leads   string
	}{
		{"GET", "/admin/nothing", 404, "", board},
		{"HEAD", "/admin/nothing", 404, "", ""},
		{"POST", "/admin/nothing", 404, "", board},
		{"PUT", "/admin/nodes/52:54:00:00:00:01/nothing", 404, "", board},
		{"DELETE", "/admin/board", 404, "", board},
		{"GET", "/admin/farmers/5/remove", 405, "POST", board},
		{"HEAD", "/admin/kernels/point", 405, "POST", ""},
		{"GET", "/admin/nodes/52:54:00:00:00:01/once", 405, "POST", board},
		{"POST", "/admin/history", 405, "GET, HEAD", board},
		{"DELETE", "/admin/nodes/52:54:00:00:00:01", 405, "GET, HEAD, POST", board},
		{"PUT", "/admin", 405, "GET, HEAD", board},
		{"GET", "/admin/nodes/xx", 400, "", board},
		{"GET", "/static/none", 404, "", start},
	} {
		req := httptest.NewRequest(tt.method, "https://appliance.example"+tt.target, nil)
		req.AddCookie(b.cookie)
		r, page := do(t, b.plane, req)
		if r.StatusCode != tt.status || r.Header.Get("Allow") != tt.allow || !strings.Contains(page, tt.leads) {
			t.Errorf("%s %s: %d, Allow %q, %s", tt.method, tt.target, r.StatusCode, r.Header.Get("Allow"), text(page))
		}
	}
}

// TestWhatWasTickedStays: a change that was refused is still one of all nodes.
func TestWhatWasTickedStays(t *testing.T) {
	b := newAdminBench(t)
	b.add(t, provisioning.Node{MAC: macOf(1), RunMode: "prod"})
	b.add(t, provisioning.Node{MAC: macOf(2), RunMode: "prod"})
	const all = `name="all" value="1" checked`
	if _, page := b.send(t, "/admin/nodes/selected", url.Values{"action": {"change"}, "all": {"1"}, "args": {`"`}}); !strings.Contains(page, all) {
		t.Errorf("not ticked any more: %s", page)
	}
	if _, page := b.look(t, "/admin/nodes"); strings.Contains(page, all) {
		t.Error("ticked from the start")
	}
}

// TestBoardTellsOfMissingKernels: before a node boots in vain, and who is concerned.
func TestBoardTellsOfMissingKernels(t *testing.T) {
	b := newAdminBench(t)
	b.unknown(provisioning.Hold)
	for _, name := range []string{"v1.efi", "v2.efi"} {
		b.write(t, name, "MZ")
	}
	for mode, name := range map[provisioning.RunMode]string{"prod": "v1.efi", "qa": "v1.efi", "test": "v2.efi"} {
		if err := b.Pages.Kernels.Point(mode, name, false); err != nil {
			t.Fatal(err)
		}
	}
	for i, n := range []provisioning.Node{
		{RunMode: "prod", Farmer: 5},
		{RunMode: "prod"},
		{RunMode: "prod", Exit: true},
		{RunMode: "prod", Kernel: "v2.efi"},
		{RunMode: "test", Kernel: "v1.efi", Farmer: 6},
		{RunMode: "test", Kernel: "v1.efi", Exit: true},
		{RunMode: "dev"},
	} {
		n.MAC = macOf(i)
		b.add(t, n)
	}
	board := func(c *http.Cookie) string {
		_, page := b.lookAs(t, c, "/admin")
		return text(page)
	}
	const dev = "Development (dev) has no kernel yet: 1 node has nothing to start."
	if said := board(b.cookie); !strings.Contains(said, dev) || strings.Contains(said, "v1.efi") || strings.Contains(said, "first step") {
		t.Errorf("with all files there: %s", said)
	}

	if err := os.Remove(filepath.Join(b.dir, "v1.efi")); err != nil {
		t.Fatal(err)
	}
	const lack = "Its kernel v1.efi is not here"
	said := board(b.cookie)
	for _, s := range []string{
		"Production (prod) boots v1.efi, which is gone: 2 nodes have nothing to start.",
		"Quality assurance (qa) boots v1.efi, which is gone: a node of it would have nothing to start.", dev,
		"Store a kernel, or have a run mode boot one",
	} {
		if !strings.Contains(said, s) {
			t.Errorf("the board does not say %q: %s", s, said)
		}
	}
	if n := strings.Count(said, lack); n != 1 {
		t.Errorf("%d nodes lack their own kernel: %s", n, said)
	}
	row := func() string {
		_, page := b.look(t, "/admin/board/rows?mac="+macOf(4).String())
		return text(page)
	}
	inOrder(t, row(), macOf(4).String(), lack)
	for _, once := range []string{"v2.efi", provisioning.OnceExit} { // it boots, once
		if _, err := b.Registry.SetNode(t.Context(), root, macOf(4), provisioning.NodePatch{Once: &once}); err != nil {
			t.Fatal(err)
		}
		if said := row(); strings.Contains(said, "refused") {
			t.Errorf("with %s for once: %s", once, said)
		}
	}
	if _, err := b.Registry.SetNode(t.Context(), root, macOf(4), provisioning.NodePatch{Once: new("")}); err != nil {
		t.Fatal(err)
	}
	b.unknown(provisioning.Boot)
	if said := board(b.cookie); !strings.Contains(said, "2 nodes and machines that are not registered have nothing to start") {
		t.Errorf("machines that are not registered boot prod: %s", said)
	}

	for farmer, want := range map[provisioning.FarmerID]string{5: "which is gone: 1 node has nothing to start. An admin", 6: lack} {
		_, token, err := b.Registry.AddToken(t.Context(), root, provisioning.Token{Role: provisioning.RoleFarmer, Farmer: farmer})
		if err != nil {
			t.Fatal(err)
		}
		said := board(b.signIn(t, token))
		if !strings.Contains(said, want) || strings.Contains(said, "qa") || strings.Contains(said, "Store a kernel") {
			t.Errorf("farmer %d is told: %s", farmer, said)
		}
	}

	// A lone kernel that is gone is no first step.
	if err := os.Remove(filepath.Join(b.dir, "v2.efi")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(b.dir, "net", "qa.efi")); err != nil {
		t.Fatal(err)
	}
	if said := board(b.cookie); !strings.Contains(said, "(test) boots v2.efi, which is gone") || strings.Contains(said, "first step") {
		t.Errorf("with every kernel gone: %s", said)
	}
	b.write(t, "v3.efi", "MZ")
	if _, err := b.Registry.SetNode(t.Context(), root, macOf(0), provisioning.NodePatch{Once: new("v3.efi")}); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(b.dir, "v3.efi")); err != nil {
		t.Fatal(err)
	}
	if said := board(b.cookie); !strings.Contains(said, "Its kernel v3.efi is not here: its next boot would be refused") {
		t.Errorf("with a kernel for once that is gone: %s", said)
	}
	b.write(t, "v2.efi", "<!doctype html>\n")
	if said := board(b.cookie); !strings.Contains(said, "(test) has no kernel that boots: net/test.efi is a web page: a node of it would") {
		t.Errorf("with a web page for a kernel: %s", said)
	}
}

// TestBoardWaitsForNoUpstream: it comes while upstream is silent, and misses no kernel that
// upstream may have. What upstream says in the end is on it the next time.
func TestBoardWaitsForNoUpstream(t *testing.T) {
	b := newAdminBench(t)
	b.unknown(provisioning.Hold)
	asked, speak, gaveUp := make(chan string, 100), make(chan struct{}), make(chan string, 100)
	silent := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Path
		select {
		case <-speak:
			http.NotFound(w, r)
		case <-r.Context().Done(): // who asked waits no longer
			gaveUp <- r.URL.Path
		}
	}))
	t.Cleanup(silent.Close)
	up, err := upstream.New(upstream.Options{
		Base: silent.URL, Modes: slices.Collect(maps.Keys(modes)), Client: upstream.NewClient(upstream.DefaultLimits),
		Store: b.Pages.Kernels, Editor: b.KernelEditor, Log: slog.New(slog.DiscardHandler), Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(up.Close)
	for _, name := range []string{"v1.efi", "v2.efi"} {
		b.write(t, name, "MZ")
	}
	b.add(t, provisioning.Node{MAC: macOf(1), RunMode: "prod", Kernel: "v1.efi"})
	b.add(t, provisioning.Node{MAC: macOf(2), RunMode: "prod", Kernel: "v2.efi"})
	b.add(t, provisioning.Node{MAC: macOf(3), RunMode: "prod"})
	for _, name := range []string{"v1.efi", "v2.efi"} {
		if err := os.Remove(filepath.Join(b.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	b.Pages.Kernels.SetUpstream(up)

	said := func(target string) string {
		t.Helper()
		r, page := b.look(t, target)
		if r.StatusCode != 200 {
			t.Fatalf("%s: %d %s", target, r.StatusCode, text(page))
		}
		return text(page)
	}
	rows := fmt.Sprintf("/admin/board/rows?mac=%s&mac=%s", macOf(1), macOf(2))
	for _, target := range []string{"/admin", rows} {
		if page := said(target); strings.Contains(page, "first step") || strings.Contains(page, "nothing to start") || strings.Contains(page, "is not here") || strings.Contains(page, "cannot be booted") {
			t.Errorf("%s, before upstream has said anything: %s", target, page)
		}
	}
	select {
	case path := <-gaveUp:
		t.Errorf("the board waited until upstream had been silent of %s for too long", path)
	default:
	}
	want := map[string]bool{"/kernel/v1.efi": true, "/kernel/v2.efi": true}
	for m := range modes {
		want["/kernel/"+kernel.DefaultOf(m)] = true
	}
	for len(want) > 0 { // each of them at the same time
		select {
		case path := <-asked:
			delete(want, path)
		case <-time.After(waitLimit):
			t.Fatalf("upstream is not asked for %v", want)
		}
	}
	close(speak)
	for target, says := range map[string]string{"/admin": "first step", rows: "Its kernel v2.efi is not here"} {
		eventually(t, says, func() bool { return strings.Contains(said(target), says) })
	}
}

// TestReaderOfAnEmptyAppliance: an admin who may only look learns that no node can boot.
func TestReaderOfAnEmptyAppliance(t *testing.T) {
	b := newAdminBench(t)
	b.unknown(provisioning.Hold)
	_, token, err := b.Registry.AddToken(t.Context(), root, provisioning.Token{Role: provisioning.RoleAdmin, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	reader := b.signIn(t, token)
	const says = "No run mode has a kernel to boot: until an admin of this appliance gives it one, nodes have nothing to start."
	if _, page := b.lookAs(t, reader, "/admin"); !strings.Contains(text(page), says) || strings.Contains(page, `href="/admin/kernels">Store`) || strings.Contains(page, "first step") {
		t.Errorf("a reader is told: %s", text(page))
	}
	if _, page := b.look(t, "/admin"); strings.Contains(text(page), says) || !strings.Contains(text(page), "first step") {
		t.Errorf("whoever may store one is told: %s", text(page))
	}
	b.write(t, "net/prod.efi", "MZ")
	if _, page := b.lookAs(t, reader, "/admin"); strings.Contains(text(page), says) {
		t.Errorf("with a kernel a reader is told: %s", text(page))
	}
}

// TestKernelOnTheBoard has kernels come whole, in parts and after broken tries.
func TestKernelOnTheBoard(t *testing.T) {
	b := newAdminBench(t)
	const size = 14_100_000
	for i, tt := range []struct {
		name   string
		pieces []int64
		says   string
	}{
		{"whole", []int64{size}, "Started, kernel 14.1 MB"},
		{"a second try", []int64{3_200_000, size}, "Started, kernel 14.1 MB"},
		{"in parts", []int64{4_000_000, 10_000_000, 100_000}, "Started, kernel 14.1 MB"},
		{"in parts, after a try", []int64{3_000_000, 10_000_000, 4_100_000}, "Started, kernel 14.1 MB"},
		{"whole, and a piece again", []int64{size, 1_000_000}, "Started, kernel 14.1 MB"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			mac := macOf(i)
			boot := bootOf(mac, b.now.Now().Add(-time.Minute), 7)
			for _, n := range tt.pieces {
				last := boot[len(boot)-1]
				boot = append(boot, provisioning.Event{MAC: mac, At: last.At.Add(time.Second), Stage: provisioning.StageKernel, Detail: "net/prod.efi", Bytes: n, Size: size, Duration: time.Second})
			}
			b.play(t, boot...)
			if _, page := b.look(t, "/admin/board/rows?mac="+mac.String()); !strings.Contains(text(page), tt.says) {
				t.Errorf("the row says %s", text(page))
			}
		})
	}
}

// TestRefusedNodes: the board and the node's page say what to check, and lead an
// admin to where he can mend it.
func TestRefusedNodes(t *testing.T) {
	b := newAdminBench(t)
	b.add(t, provisioning.Node{MAC: macOf(1), Name: "no kernel here", Farmer: 5, RunMode: "dev"})
	b.now.advance(2 * time.Minute) // a farmer sees what happens while it is his
	boot := bootOf(macOf(1), b.now.Now().Add(-time.Minute), 7)
	boot[6].Stage, boot[6].Detail, boot[6].File = provisioning.StageRefused, "", ""
	boot[6].Cause = provisioning.Cause{ID: provisioning.CauseKernelMissing, Kernel: "net/dev.efi", RunMode: "dev"}
	b.play(t, boot...)
	pi := provisioning.MAC{0xb8, 0x27, 0xeb, 0x11, 0x22, 0x33}
	b.play(t, provisioning.Event{MAC: pi, At: b.now.Now(), Stage: provisioning.StageRefused, Cause: provisioning.Cause{ID: provisioning.CauseRaspberryPi}})
	sentOn := bootOf(macOf(2), b.now.Now().Add(-time.Minute), 7)
	sentOn[6].Stage, sentOn[6].Cause.ID = provisioning.StageExit, provisioning.CauseExit
	b.play(t, sentOn...)

	const mend = `href="/admin/kernels">Store a kernel, or have a run mode boot one`
	_, row := b.look(t, "/admin/board/rows?mac="+macOf(1).String())
	inOrder(t, row, "run mode dev has no kernel yet", "<summary>Check", mend, "the kernel of its run mode")
	_, token, err := b.Registry.AddToken(t.Context(), root, provisioning.Token{Role: provisioning.RoleFarmer, Farmer: 5})
	if err != nil {
		t.Fatal(err)
	}
	if _, row := b.lookAs(t, b.signIn(t, token), "/admin/board/rows?mac="+macOf(1).String()); !strings.Contains(row, "<summary>Check") || strings.Contains(row, mend) {
		t.Errorf("a farmer is led to %s", row)
	}
	_, page := b.look(t, "/admin/nodes/"+macOf(1).String())
	inOrder(t, text(page), "It would be refused now: missing kernel net/dev.efi: run mode dev has no kernel yet. Store a kernel, or have a run mode boot one Boots")
	inOrder(t, page, "It would be refused now", mend, `id="timeline">Boots`, "Check", `class="timeline"`, `id="settings">Settings`, `id="gets">`)
	if strings.Contains(text(page), "runmode prod") || focused.MatchString(page) {
		t.Errorf("the page says runmode, or opens at its form: %s", text(page))
	}

	_, row = b.look(t, "/admin/board/rows?mac="+pi.String())
	if strings.Contains(row, "Claim") || !strings.Contains(row, "SD card") {
		t.Errorf("a Raspberry Pi on the board: %s", text(row))
	}
	b.play(t, provisioning.Event{MAC: macOf(3), At: b.now.Now(), Stage: provisioning.StageRefused, Cause: provisioning.Cause{ID: provisioning.CauseIgnored}})
	if _, row := b.look(t, "/admin/board/rows?mac="+macOf(3).String()); !strings.Contains(row, `data-group="quiet"`) || !strings.Contains(row, "register it to boot it") {
		t.Errorf("ignored: %s", text(row))
	}
	_, row = b.look(t, "/admin/board/rows?mac="+macOf(2).String())
	if !strings.Contains(row, `data-group="quiet"`) || !strings.Contains(row, "sent on to its next boot device") {
		t.Errorf("sent on: %s", text(row))
	}
}

// TestMachinesThatCannotBoot are not there to be claimed.
func TestMachinesThatCannotBoot(t *testing.T) {
	b := newAdminBench(t)
	pi := provisioning.MAC{0xb8, 0x27, 0xeb, 0x11, 0x22, 0x33}
	b.play(t, provisioning.Event{MAC: pi, At: b.now.Now(), Stage: provisioning.StageRefused, Cause: provisioning.Cause{ID: provisioning.CauseRaspberryPi}})
	b.play(t, bootOf(macOf(1), b.now.Now(), 3)...)
	_, page := b.look(t, "/admin/discovered")
	if n := strings.Count(page, "?claim="); n != 1 || !strings.Contains(page, "a Raspberry Pi claims to be") || !strings.Contains(page, "Cannot boot") {
		t.Errorf("%d to be claimed: %s", n, text(page))
	}
	b.unknown(provisioning.Hold)
	if _, page := b.look(t, "/admin/discovered"); strings.Count(page, "/qr.png") != 1 {
		t.Errorf("what cannot boot shows a code, too: %s", text(page))
	}
}

// TestBoardTellsOfUnknownRunModes: nodes of a run mode that was taken out of the configuration are
// told of, to whom they concern, and can be listed.
func TestBoardTellsOfUnknownRunModes(t *testing.T) {
	b := newAdminBench(t)
	b.add(t, provisioning.Node{MAC: macOf(1), RunMode: "dev", Farmer: 5})
	b.add(t, provisioning.Node{MAC: macOf(2), RunMode: "dev", Farmer: 6})
	b.add(t, provisioning.Node{MAC: macOf(4), RunMode: "qa", Farmer: 6, Exit: true})
	if _, page := b.look(t, "/admin"); strings.Contains(page, "unknown run mode") {
		t.Errorf("with all run modes: %s", text(page))
	}
	without := maps.Clone(modes)
	delete(without, "dev")
	delete(without, "qa")
	b.Admin.Site = func(local netip.Addr) ipxe.Site {
		s := site(local)
		s.RunModes = without
		return s
	}
	b.Registry.SetRules(registry.Rules{RunModes: without, CheckNode: b.Admin.Site(netip.Addr{}).CheckNode})
	_, page := b.look(t, "/admin")
	if said := text(page); !strings.Contains(said, "dev is not in the configuration: the 2 nodes of it cannot boot.") || !strings.Contains(page, `href="/admin/nodes?runmode=dev"`) || strings.Contains(said, "qa is not in the configuration") {
		t.Errorf("the board: %s", said)
	}
	if _, page := b.look(t, "/admin/nodes?runmode=qa"); !strings.Contains(page, macOf(4).String()) || !strings.Contains(page, `<option value="qa" selected>qa (not in the configuration)`) {
		t.Errorf("the list of those that boot from their disk: %s", page)
	}
	if _, page := b.look(t, "/admin/nodes?runmode=dev"); !strings.Contains(page, macOf(2).String()) || !strings.Contains(page, `<option value="dev" selected>dev (not in the configuration)`) {
		t.Errorf("the list: %s", page)
	}
	at := "/admin/nodes/" + macOf(2).String()
	if _, page := b.look(t, at); !strings.Contains(page, `<option value="dev" selected>dev (not in the configuration)`) {
		t.Errorf("the page of a node: %s", page)
	}
	named := url.Values{"runmode": {"dev"}, "runmode-before": {"dev"}, "farmer": {"6"}, "name": {"rack 1"}}
	if r, page := b.send(t, at, named); r.StatusCode != 303 {
		t.Errorf("a name for it: %d %s", r.StatusCode, text(page))
	}
	if n, err := b.Registry.Node(t.Context(), root, macOf(2)); err != nil || n.Name != "rack 1" || n.RunMode != "dev" {
		t.Errorf("it is %+v, %v", n, err)
	}
	if _, err := b.Registry.SetNode(t.Context(), root, macOf(2), provisioning.NodePatch{Args: new("version=v2")}); err == nil || !strings.Contains(err.Error(), `a second "version="`) {
		t.Errorf("arguments that are refused, for it: %v", err)
	}
	b.add(t, provisioning.Node{MAC: macOf(3), RunMode: "prod"})
	if r, page := b.send(t, "/admin/nodes/"+macOf(3).String(), named); r.StatusCode != 400 || !strings.Contains(page, "unknown run mode") {
		t.Errorf("a node of another run mode is given it: %d", r.StatusCode)
	}
	_, token, err := b.Registry.AddToken(t.Context(), root, provisioning.Token{Role: provisioning.RoleFarmer, Farmer: 5})
	if err != nil {
		t.Fatal(err)
	}
	farmer := b.signIn(t, token)
	if _, page := b.lookAs(t, farmer, "/admin"); !strings.Contains(text(page), "dev is not in the configuration: the node of it cannot boot.") {
		t.Errorf("a farmer's board: %s", text(page))
	}
	if _, page := b.lookAs(t, farmer, "/admin/nodes"); !strings.Contains(page, `<option value="dev">`) || strings.Contains(page, `<option value="qa">`) {
		t.Errorf("a farmer's list: %s", page)
	}
}

func TestRunModesWithoutKernelAreMarked(t *testing.T) {
	b := newAdminBench(t)
	b.write(t, "net/prod.efi", "MZ")
	b.add(t, provisioning.Node{MAC: macOf(1), RunMode: "prod"})
	for _, target := range []string{"/admin/discovered", "/admin/nodes", "/admin/nodes/import", "/admin/nodes/" + macOf(1).String()} {
		_, page := b.look(t, target)
		if !strings.Contains(page, ">Development (dev) has no kernel yet<") || strings.Contains(page, "(prod) has no kernel yet") {
			t.Errorf("%s: %s", target, text(page))
		}
	}
}

// TestFarmerHasNoCodeToType: where machines show no code there is nothing to type.
func TestFarmerHasNoCodeToType(t *testing.T) {
	b := newAdminBench(t)
	_, token, err := b.Registry.AddToken(t.Context(), root, provisioning.Token{Role: provisioning.RoleFarmer, Farmer: 5})
	if err != nil {
		t.Fatal(err)
	}
	his := b.signIn(t, token)
	for policy, form := range map[provisioning.Policy]bool{provisioning.Hold: true, provisioning.Boot: false, provisioning.Exit: false} {
		b.unknown(policy)
		if _, page := b.lookAs(t, his, "/admin/discovered"); strings.Contains(page, `id="machine"`) != form {
			t.Errorf("unknown = %q: %s", policy, text(page))
		}
	}
	b.unknown(provisioning.Hold)
	if _, page := b.post(t, his, "/admin/discovered", url.Values{"machine": {"x"}}); !strings.Contains(page, "type the six characters") || strings.Contains(page, "MAC address") {
		t.Errorf("he is told of what he cannot do: %s", text(page))
	}
}

func TestKernelsInUseComeFirst(t *testing.T) {
	b := newAdminBench(t)
	for i, name := range []string{"old.efi", "used.efi", "new.efi"} {
		b.write(t, name, "MZ"+strings.Repeat(" ", 14_100_000))
		day := time.Date(2026, 11, 1+i, 0, 0, 0, 0, time.UTC)
		if err := os.Chtimes(filepath.Join(b.dir, name), day, day); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.Pages.Kernels.Point("prod", "used.efi", false); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{"/images", "/admin/kernels"} {
		_, page := b.look(t, target)
		inOrder(t, page, `href="/kernel/used.efi"`, "14.1 MB", "14,100,002 bytes", `href="/kernel/new.efi"`, `href="/kernel/old.efi"`)
	}
}

// TestHistoryFolds: an import is one line, with all of it inside.
func TestHistoryFolds(t *testing.T) {
	b := newAdminBench(t)
	b.now.advance(time.Minute)
	var list strings.Builder
	for i := range 250 {
		fmt.Fprintf(&list, "%s,7,test,rack-%d\n", macOf(i), i)
	}
	if r, page := b.importFile(t, "mac,farmer,runmode,name\n"+list.String()); r.StatusCode != 303 {
		t.Fatalf("import: %d %s", r.StatusCode, page)
	}
	b.now.advance(time.Minute)
	for i := range 3 {
		name := fmt.Sprintf("renamed-%d", i)
		if _, err := b.Registry.SetNode(t.Context(), root, macOf(i), provisioning.NodePatch{Name: &name}); err != nil {
			t.Fatal(err)
		}
	}
	_, page := b.look(t, "/admin/history")
	said := text(page)
	for _, s := range []string{"250 nodes added farmer 7 run mode test", "and 50 more", "52:54:00:00:00:f9 name rack-249", "node set 52:54:00:00:00:00 name rack-0 renamed-0"} {
		if !strings.Contains(said, s) {
			t.Errorf("the history does not say %q: %s", s, said)
		}
	}
	if n := strings.Count(page, "<tr>"); n > 10 {
		t.Errorf("%d lines", n)
	}
}

// TestOnlyAdminsFormsAreRead: who may not do a thing is told so, whatever the
// form says, and nothing of it is read.
func TestOnlyAdminsFormsAreRead(t *testing.T) {
	b := newAdminBench(t)
	_, token, err := b.Registry.AddToken(t.Context(), root, provisioning.Token{Role: provisioning.RoleFarmer, Farmer: 5})
	if err != nil {
		t.Fatal(err)
	}
	his := b.signIn(t, token)
	for _, target := range []string{
		"/admin/farmers", "/admin/farmers/5/remove", "/admin/kernels", "/admin/kernels/point", "/admin/kernels/rollback",
		"/admin/kernels/promote", "/admin/kernels/remove", "/admin/tokens", "/admin/tokens/x/remove", "/admin/history/1/undo",
	} {
		sent := strings.NewReader("%zz=" + strings.Repeat("x", 4096)) // no form
		req := httptest.NewRequest("POST", "https://appliance.example"+target, sent)
		req.AddCookie(his)
		r, page := do(t, b.plane, req, "Content-Type", "application/x-www-form-urlencoded")
		if r.StatusCode != http.StatusForbidden || !strings.Contains(page, "this page is for admins") {
			t.Errorf("%s: %d %s", target, r.StatusCode, text(page))
		}
		if n := sent.Len(); n != 4100 {
			t.Errorf("%s: of the form %d bytes are read", target, 4100-n)
		}
	}
}

// TestReadersAreShownNoForms: whoever may change nothing fills in nothing that is refused
// when it is sent.
func TestReadersAreShownNoForms(t *testing.T) {
	b := newAdminBench(t)
	b.unknown(provisioning.Hold)
	b.write(t, "zos.efi", "MZ")
	b.add(t, provisioning.Node{MAC: macOf(1), RunMode: "dev", Farmer: 5, Name: "rack"})
	b.play(t, bootOf(macOf(2), b.now.Now(), 3)...)
	change := regexp.MustCompile(`<button class="button (?:primary|danger|small)|data-select|type="checkbox" name="mac"|\?claim=|>Register|>Set<|href="/admin/nodes/import"|Store a kernel`)
	_, token, err := b.Registry.AddToken(t.Context(), root, provisioning.Token{Role: provisioning.RoleAdmin, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	reader := b.signIn(t, token)
	for _, target := range adminPages {
		r, page := b.lookAs(t, reader, target)
		if found := change.FindString(page); r.StatusCode != 200 || found != "" || !strings.Contains(page, ", only to look</span>") {
			t.Errorf("%s: %d, %q in %s", target, r.StatusCode, found, text(page))
		}
		if _, page := b.look(t, target); strings.Contains(page, "only to look</span>") {
			t.Errorf("%s: an admin may only look", target)
		}
	}
	_, page := b.lookAs(t, reader, "/admin/nodes/"+macOf(1).String())
	inOrder(t, page, `<fieldset class="stack" disabled>`, `value="rack"`, "</fieldset>")
}
