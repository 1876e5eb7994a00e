package pages_test

import (
	"bytes"
	"fmt"
	"html"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	apphttp "farmboot/http"
	"farmboot/http/pages"
	"farmboot/ipxe/kernel/kerneltest"
	"farmboot/provisioning"
)

// adminPages are those that somebody who is signed in may look at.
var adminPages = []string{
	"/admin", "/admin?state=attention&q=rack", "/admin/discovered", "/admin/nodes", "/admin/nodes?q=52:54&runmode=prod",
	"/admin/nodes/import", "/admin/nodes/52:54:00:00:00:01", "/admin/nodes/52-54-00-00-00-99",
	"/admin/farmers", "/admin/kernels", "/admin/tokens", "/admin/history",
}

// adminsOnly are those that a farmer may not.
var adminsOnly = []string{"/admin/farmers", "/admin/kernels", "/admin/tokens", "/admin/history"}

func TestAdminPages(t *testing.T) {
	b := newAdminBench(t)
	b.write(t, "net/prod.efi", "MZ")
	b.add(t, provisioning.Node{MAC: macOf(1), Name: "rack-1", Farmer: 5, RunMode: "prod"})
	b.play(t, bootOf(macOf(1), b.now.Now().Add(-time.Minute), 8)...)
	for _, target := range adminPages {
		r, page := b.look(t, target)
		if r.StatusCode != 200 {
			t.Errorf("%s: status %d: %s", target, r.StatusCode, page)
		}
		checkPage(t, r.Header.Get("Content-Security-Policy"), page)
		if r, _ := b.lookAs(t, nil, target); r.StatusCode != 303 || !strings.HasPrefix(r.Header.Get("Location"), "/admin/signin?to=") {
			t.Errorf("%s without signing in: %d to %q", target, r.StatusCode, r.Header.Get("Location"))
		}
	}
}

// TestIgnoredNodesAreQuiet: nothing is to be done about what is not registered where
// such machines are to get no answer.
func TestIgnoredNodesAreQuiet(t *testing.T) {
	b := newAdminBench(t)
	at := b.now.Now().Add(-time.Minute)
	for i, stage := range []provisioning.Stage{provisioning.StageDiscover, provisioning.StageRefused, provisioning.StageDiscover} {
		e := provisioning.Event{MAC: macOf(1), At: at.Add(time.Duration(i) * time.Second), Stage: stage}
		if stage == provisioning.StageRefused {
			e.Cause.ID = provisioning.CauseIgnored
		}
		b.play(t, e)
	}
	for group, want := range map[string]bool{"attention": false, "quiet": true} {
		if _, page := b.look(t, "/admin?state="+group); strings.Contains(page, macOf(1).String()) != want {
			t.Errorf("%s shows it: %v, want %v", group, !want, want)
		}
	}
	if _, page := b.look(t, "/admin/nodes/"+macOf(1).String()); !strings.Contains(page, "register it to boot it") {
		t.Error("its page does not tell what to do")
	}
}

func TestFarmerSeesHisOwnOnly(t *testing.T) {
	b := newAdminBench(t)
	b.add(t, provisioning.Node{MAC: macOf(1), Name: "his", Farmer: 5, RunMode: "prod"})
	b.add(t, provisioning.Node{MAC: macOf(2), Name: "another", Farmer: 6, RunMode: "prod"})
	b.play(t, bootOf(macOf(1), b.now.Now(), 3)...)
	b.play(t, bootOf(macOf(2), b.now.Now(), 3)...)
	b.play(t, bootOf(macOf(3), b.now.Now(), 3)...)
	_, token, err := b.Registry.AddToken(t.Context(), root, provisioning.Token{Role: provisioning.RoleFarmer, Farmer: 5})
	if err != nil {
		t.Fatal(err)
	}
	his := b.signIn(t, token)
	for _, target := range []string{"/admin", "/admin/nodes", "/admin/nodes.csv", "/admin/board/rows?mac=" + macOf(1).String() + "&mac=" + macOf(2).String()} {
		r, page := b.lookAs(t, his, target)
		if r.StatusCode != 200 || !strings.Contains(page, macOf(1).String()) || strings.Contains(page, macOf(2).String()) || strings.Contains(page, macOf(3).String()) {
			t.Errorf("%s: %d %s", target, r.StatusCode, page)
		}
	}
	for _, target := range append([]string{"/admin/nodes/" + macOf(2).String()}, adminsOnly...) {
		if r, page := b.lookAs(t, his, target); r.StatusCode != 403 {
			t.Errorf("%s: %d %s", target, r.StatusCode, page)
		}
	}
	for target, v := range map[string]url.Values{
		"/admin/nodes/" + macOf(2).String() + "/remove": nil,
		"/admin/nodes/selected":                         {"mac": {macOf(2).String()}, "runmode": {"test"}},
		"/admin/farmers":                                {"id": {"9"}},
		"/admin/farmers/5/name":                         {"name": {"x"}},
		"/admin/tokens":                                 {"role": {"admin"}},
		"/admin/kernels/point":                          {"runmode": {"prod"}, "kernel": {"zos.efi"}},
		"/admin/kernels/remove":                         {"kernel": {"zos.efi"}},
		"/admin/kernels":                                nil,
		"/admin/discovered":                             {"machine": {macOf(3).String()}, "runmode": {"prod"}},
	} {
		if r, page := b.post(t, his, target, v); r.StatusCode != 403 && r.StatusCode != 400 {
			t.Errorf("%s: %d %s", target, r.StatusCode, page)
		}
	}
	nodes, err := b.Registry.Nodes(t.Context(), root, provisioning.NodeQuery{})
	if err != nil || len(nodes) != 2 || nodes[1].RunMode != "prod" {
		t.Errorf("he changed %+v, %v", nodes, err)
	}
}

// TestFarmerSeesSinceItIsHis: what a node did, was and how it stood as another's is on
// none of his pages. An admin sees all of it.
func TestFarmerSeesSinceItIsHis(t *testing.T) {
	b := newAdminBench(t)
	const secret = "secret=of-farmer-6"
	b.add(t, provisioning.Node{MAC: macOf(1), Farmer: 6, RunMode: "prod", Args: secret})
	b.add(t, provisioning.Node{MAC: macOf(2), Farmer: 6, RunMode: "prod", Args: secret})
	boot := func(mac provisioning.MAC, detail string, events int) {
		t.Helper()
		list := bootOf(mac, b.now.Now(), events)
		for i := range list {
			list[i].Detail += " " + detail
		}
		b.play(t, list...)
		b.now.advance(time.Hour)
	}
	boot(macOf(1), secret, 8)
	boot(macOf(2), secret, 4) // and no further
	if err := b.Registry.RemoveNode(t.Context(), root, macOf(1)); err != nil {
		t.Fatal(err)
	}
	b.add(t, provisioning.Node{MAC: macOf(1), Farmer: 5, RunMode: "prod"})
	his, none := provisioning.FarmerID(5), ""
	if _, err := b.Registry.SetNode(t.Context(), root, macOf(2), provisioning.NodePatch{Farmer: &his, Args: &none}); err != nil {
		t.Fatal(err)
	}
	_, token, err := b.Registry.AddToken(t.Context(), root, provisioning.Token{Role: provisioning.RoleFarmer, Farmer: 5})
	if err != nil {
		t.Fatal(err)
	}
	farmer := b.signIn(t, token)
	rows := "/admin/board/rows?mac=" + macOf(1).String() + "&mac=" + macOf(2).String()
	targets := []string{"/admin", rows, "/admin/nodes/" + macOf(1).String(), "/admin/nodes/" + macOf(2).String()}
	look := func(who string, c *http.Cookie, secrets bool, board string) {
		t.Helper()
		for _, target := range targets {
			_, page := b.lookAs(t, c, target)
			if told := strings.Contains(html.UnescapeString(page), secret); told != (secrets && strings.Contains(target, "/nodes/")) {
				t.Errorf("%s sees on %s: %s", who, target, page)
			}
		}
		_, page := b.lookAs(t, c, rows)
		var numbers []string
		for _, m := range counts.FindAllStringSubmatch(page, -1) {
			numbers = append(numbers, m[1])
		}
		if got := strings.Join(numbers, " "); got != board {
			t.Errorf("%s counts all, booting, need a look, started, quiet: %s, want %s", who, got, board)
		}
	}
	look("the farmer", farmer, false, "2 0 0 0 2")
	look("an admin", b.cookie, true, "2 0 1 1 0")
	boot(macOf(2), "of his", 8)
	look("the farmer", farmer, false, "2 0 0 1 1")
	if _, page := b.lookAs(t, farmer, targets[3]); !strings.Contains(page, "of his") {
		t.Errorf("the farmer does not see what his node did: %s", page)
	}
	// A boot on the way of which he gets the node, when half its kernel has gone out.
	b.add(t, provisioning.Node{MAC: macOf(3), Farmer: 6, RunMode: "prod"})
	rows += "&mac=" + macOf(3).String()
	targets = []string{rows}
	half := bootOf(macOf(3), b.now.Now(), 8)
	half[7].Bytes /= 2
	b.play(t, half...)
	b.now.advance(15 * time.Second)
	if _, err := b.Registry.SetNode(t.Context(), root, macOf(3), provisioning.NodePatch{Farmer: &his}); err != nil {
		t.Fatal(err)
	}
	half[7].At = b.now.Now()
	b.play(t, half[7])
	look("an admin", b.cookie, true, "3 0 0 3 0")
	look("the farmer", farmer, false, "3 1 0 1 1")
	if _, page := b.lookAs(t, farmer, rows); !strings.Contains(page, "30.6 MB of 61.3 MB") {
		t.Errorf("the farmer is told of more than half a kernel: %s", page)
	}
}

var (
	rowMAC = regexp.MustCompile(`(?:data-mac|name="mac" value)="([0-9a-f:]+)"`)
	counts = regexp.MustCompile(`<b class="num">([0-9]+)</b>`)
	shown  = regexp.MustCompile(`<span class="num">([0-9]+ to [0-9]+ of [0-9]+)</span>`)
)

// TestLongLists looks at pages of a farm of which 30 nodes booted, the last ones
// first, one of them stalled, two more are not registered, and the rest did nothing.
func TestLongLists(t *testing.T) {
	b := newAdminBench(t)
	const nodes = 450
	for i := range nodes {
		b.add(t, provisioning.Node{MAC: macOf(i), Name: fmt.Sprintf("rack-%d", i), Farmer: provisioning.FarmerID(6 + i%3), RunMode: "prod"})
	}
	b.now.advance(100 * time.Hour)
	b.cookie = b.signIn(t, b.token)
	now := b.now.Now()
	for i := range 32 { // 3, 13, 23, …, 293, then two that are not registered
		mac, events := macOf(i*10+3), 8
		if i == 5 {
			events = 4 // and nothing since
		}
		if i >= 30 {
			mac = macOf(1000 + i)
		}
		b.play(t, bootOf(mac, now.Add(time.Duration(i-100)*time.Hour), events)...)
	}
	_, token, err := b.Registry.AddToken(t.Context(), root, provisioning.Token{Role: provisioning.RoleFarmer, Farmer: 6})
	if err != nil {
		t.Fatal(err)
	}
	his := b.signIn(t, token) // of the nodes 0, 3, 6, …; of those that booted, 3, 33, 63, …
	booted := func(keep func(i int) bool) (list []int) {
		for i := 31; i >= 0; i-- {
			if n := i*10 + 3; i >= 30 && keep(1000+i) {
				list = append(list, 1000+i)
			} else if i < 30 && keep(n) {
				list = append(list, n)
			}
		}
		return list
	}
	quiet := func(keep func(i int) bool) (list []int) {
		for i := range nodes {
			if (i%10 != 3 || i > 300) && keep(i) {
				list = append(list, i)
			}
		}
		return list
	}
	any := func(int) bool { return true }
	farmers := func(i int) bool { return i < 1000 && i%3 == 0 }
	all, hisAll := append(booted(any), quiet(any)...), append(booted(farmers), quiet(farmers)...)
	list := func(from, to int) (list []int) {
		for i := from; i < to; i++ {
			list = append(list, i)
		}
		return list
	}
	both := func(keep func(i int) bool) []int { return append(booted(keep), quiet(keep)...) }
	for _, test := range []struct {
		as     *http.Cookie
		target string
		counts string // all, booting, need a look, started, quiet
		pager  string
		want   []int
	}{
		{b.cookie, "/admin", "452 0 1 31 420", "1 to 200 of 452", all[:200]},
		{b.cookie, "/admin?page=2", "452 0 1 31 420", "201 to 400 of 452", all[200:400]},
		{b.cookie, "/admin?page=3", "452 0 1 31 420", "401 to 452 of 452", all[400:]},
		{b.cookie, "/admin?page=9", "452 0 1 31 420", "401 to 452 of 452", all[400:]},
		{b.cookie, "/admin?state=attention", "452 0 1 31 420", "", []int{53}},
		{b.cookie, "/admin?state=quiet&page=3", "452 0 1 31 420", "401 to 420 of 420", quiet(any)[400:]},
		{b.cookie, "/admin?q=RACK-2", "452 0 1 31 420", "", both(func(i int) bool { return i < 1000 && strings.HasPrefix(strconv.Itoa(i), "2") })},
		{b.cookie, "/admin?q=00:03:", "452 0 1 31 420", "", []int{}},
		{b.cookie, "/admin?q=:00:04:", "452 0 1 31 420", "", []int{1031, 1030}},
		{b.cookie, "/admin?q=00:01:0", "452 0 1 31 420", "", both(func(i int) bool { return i/16 == 16 })},
		{b.cookie, "/admin?q=8&state=started", "452 0 1 31 420", "", booted(func(i int) bool {
			return i < 1000 && i != 53 && (i%3 == 2 || strings.Contains(strconv.Itoa(i), "8") || strings.Contains(macOf(i).String(), "8"))
		})},
		{b.cookie, "/admin/board/rows?mac=" + macOf(1).String() + "&mac=" + macOf(3).String() + "&mac=" + macOf(1031).String(), "452 0 1 31 420", "", []int{1031, 3, 1}},
		{b.cookie, "/admin/board/rows?state=started&mac=" + macOf(1).String() + "&mac=" + macOf(53).String() + "&mac=x", "452 0 1 31 420", "", []int{}},
		{his, "/admin", "150 0 0 10 140", "", hisAll},
		{his, "/admin?q=rack-44", "150 0 0 10 140", "", []int{441, 444, 447}},
		{his, "/admin?q=:00:04:", "150 0 0 10 140", "", []int{}},
		{his, "/admin/board/rows?mac=" + macOf(1).String() + "&mac=" + macOf(3).String() + "&mac=" + macOf(1031).String(), "150 0 0 10 140", "", []int{3}},
		{b.cookie, "/admin/nodes", "", "1 to 200 of 450", list(0, 200)},
		{b.cookie, "/admin/nodes?page=3", "", "401 to 450 of 450", list(400, 450)},
		{b.cookie, "/admin/nodes?q=52:54:00:00:01&page=1", "", "", list(256, 450)},
		{b.cookie, "/admin/nodes?q=rack-44", "", "", append([]int{44}, list(440, 450)...)},
		{b.cookie, "/admin/nodes?q=rack-1&farmer=9", "", "", []int{}},
		{his, "/admin/nodes?q=rack-44", "", "", []int{441, 444, 447}},
	} {
		_, page := b.lookAs(t, test.as, test.target)
		macs := []string{}
		for _, m := range rowMAC.FindAllStringSubmatch(page, -1) {
			macs = append(macs, m[1])
		}
		want := []string{}
		for _, n := range test.want {
			want = append(want, macOf(n).String())
		}
		if diff := cmp.Diff(want, macs); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.target, diff)
		}
		var numbers []string
		for _, m := range counts.FindAllStringSubmatch(page, -1) {
			numbers = append(numbers, m[1])
		}
		if got := strings.Join(numbers, " "); got != test.counts {
			t.Errorf("%s counts %q, want %q", test.target, got, test.counts)
		}
		pager := ""
		if m := shown.FindStringSubmatch(page); m != nil {
			pager = m[1]
		}
		if pager != test.pager {
			t.Errorf("%s shows %q, want %q", test.target, pager, test.pager)
		}
	}
	if _, page := b.look(t, "/admin/farmers"); strings.Count(page, ">150</a>") != 3 {
		t.Errorf("farmers: %s", page)
	}
}

func TestHostileNames(t *testing.T) {
	b := newAdminBench(t)
	const hostile = `"><script>alert(1)</script><img src=x onerror=alert(1)>`
	b.add(t, provisioning.Node{MAC: macOf(1), Name: hostile, Farmer: 5, RunMode: "prod", Args: `a="<script>alert(2)</script>"`})
	if _, _, err := b.Registry.AddFarmer(t.Context(), root, provisioning.Farmer{ID: 5, Name: hostile}); err != nil {
		t.Fatal(err)
	}
	boot := bootOf(macOf(1), b.now.Now(), 8)
	for i := range boot {
		boot[i].Detail = hostile
		boot[i].Machine = provisioning.Machine{Arch: hostile, Firmware: hostile, UUID: hostile}
	}
	b.play(t, boot...)
	boot = bootOf(macOf(2), b.now.Now(), 1)
	boot[0].Machine, boot[0].Detail = provisioning.Machine{Arch: hostile, Firmware: hostile, UUID: hostile}, hostile
	b.play(t, boot...)
	for _, target := range append(adminPages, "/admin/board/rows?mac="+macOf(1).String(), "/admin/nodes?q="+url.QueryEscape(hostile), "/admin?q="+url.QueryEscape(hostile)) {
		if _, page := b.look(t, target); strings.Contains(page, "<script>alert") || strings.Contains(page, "<img src=x") {
			t.Errorf("%s is not escaped", target)
		}
	}
}

// TestWrongInput fills in every form wrongly: the page comes again, says what is
// wrong beside the field, and has what was typed.
func TestWrongInput(t *testing.T) {
	b := newAdminBench(t)
	b.write(t, "zos.efi", "MZ")
	b.add(t, provisioning.Node{MAC: macOf(1), Farmer: 5, RunMode: "prod"})
	mac := macOf(1).String()
	for _, tt := range []struct {
		name, target string
		values       url.Values
		field        string // "": the form as a whole
		says         string
	}{
		{"no MAC", "/admin/nodes", url.Values{"mac": {""}, "runmode": {"prod"}}, "mac", "bad MAC address"},
		{"bad MAC", "/admin/nodes", url.Values{"mac": {"52:54:zz"}, "runmode": {"prod"}}, "mac", "bad MAC address"},
		{"known MAC", "/admin/nodes", url.Values{"mac": {mac}, "runmode": {"prod"}}, "mac", "registered already"},
		{"bad farmer", "/admin/nodes", url.Values{"mac": {"525400000002"}, "farmer": {"4294967296"}}, "farmer", "from 1 to 4294967295"},
		{"bad run mode", "/admin/nodes", url.Values{"mac": {"525400000002"}, "runmode": {"moon"}}, "runmode", "unknown run mode"},
		{"bad args", "/admin/nodes", url.Values{"mac": {"525400000002"}, "args": {`a="`}}, "args", "unbalanced quotes"},
		{"bad kernel", "/admin/nodes", url.Values{"mac": {"525400000002"}, "kernel": {"../x"}}, "kernel", "choose one from the list"},
		{"long name", "/admin/nodes", url.Values{"mac": {"525400000002"}, "name": {strings.Repeat("n", 300)}}, "", "bad name"},
		{"node: bad args", "/admin/nodes/" + mac, url.Values{"args": {"runmode=test"}, "runmode": {"prod"}}, "args", "a second"},
		{"node: bad farmer", "/admin/nodes/" + mac, url.Values{"farmer": {"x"}, "runmode": {"prod"}}, "farmer", "from 1 to 4294967295"},
		{"node: long args", "/admin/nodes/" + mac, url.Values{"args": {strings.Repeat("a", 2000)}, "runmode": {"prod"}}, "", "at most 1900"},
		{"selected: none", "/admin/nodes/selected", url.Values{"runmode": {"test"}}, "", "no node is selected"},
		{"selected: nothing", "/admin/nodes/selected", url.Values{"mac": {mac}}, "", "nothing to change"},
		{"selected: bad farmer", "/admin/nodes/selected", url.Values{"mac": {mac}, "farmer": {"-1"}}, "p-farmer", "from 1 to 4294967295"},
		{"selected: bad args", "/admin/nodes/selected", url.Values{"mac": {mac}, "args": {"${x}"}}, "p-args", "expanded by iPXE"},
		{"selected: bad kernel", "/admin/nodes/selected", url.Values{"mac": {mac}, "kernel": {"none.efi"}}, "", "missing kernel"},
		{"selected: remove one that is gone", "/admin/nodes/selected", url.Values{"mac": {mac, "52:54:00:00:00:09"}, "action": {"remove"}}, "", "nothing was removed"},
		{"selected: remove none", "/admin/nodes/selected", url.Values{"action": {"remove"}}, "", "no node is selected"},
		{"import: nothing", "/admin/nodes/import", url.Values{"list": {" "}}, "list", "paste a list"},
		{"import: bad column", "/admin/nodes/import", url.Values{"list": {"mac,colour\n"}}, "list", "unknown column"},
		{"import: semicolons", "/admin/nodes/import", url.Values{"list": {"\ufeff\"MAC\";\"name\"\r\n52:54:00:00:00:09;one\r\n"}}, "list", "column"},
		{"import: bad line", "/admin/nodes/import", url.Values{"list": {"525400000007\nnonsense"}, "action": {"import"}}, "", "1 refused"},
		{"import: known", "/admin/nodes/import", url.Values{"list": {mac}, "action": {"import"}}, "", "registered already"},
		{"claim: nothing", "/admin/discovered", url.Values{"runmode": {"prod"}}, "machine", "six characters"},
		{"claim: bad code", "/admin/discovered", url.Values{"machine": {"00"}, "runmode": {"prod"}}, "machine", `"00" is in no claim code`},
		{"claim: bad MAC", "/admin/discovered", url.Values{"machine": {"52:54:00:00:08:1"}, "runmode": {"prod"}}, "machine", "a digit is missing"},
		{"claim: unknown code", "/admin/discovered", url.Values{"machine": {"K7X-9AC"}, "runmode": {"prod"}}, "machine", ""},
		{"claim: unseen MAC", "/admin/discovered", url.Values{"machine": {"525400000055"}, "runmode": {"prod"}}, "machine", ""},
		{"farmer: none", "/admin/farmers", url.Values{}, "id", "from 1 to 4294967295"},
		{"farmer: zero", "/admin/farmers", url.Values{"id": {"0"}}, "id", "from 1 to 4294967295"},
		{"farmer: long name", "/admin/farmers", url.Values{"id": {"8"}, "name": {strings.Repeat("n", 300)}}, "name", "bad name"},
		{"farmer: long other name", "/admin/farmers/5/name", url.Values{"name": {strings.Repeat("n", 300)}}, "name-5", "bad name"},
		{"farmer: name of none", "/admin/farmers/6/name", url.Values{"name": {"x"}}, "", "no farmer 6"},
		{"farmer: with nodes", "/admin/farmers/5/remove", nil, "", "still has nodes"},
		{"kernel: point at nothing", "/admin/kernels/point", url.Values{"runmode": {"prod"}, "kernel": {""}}, "", "bad kernel name"},
		{"kernel: point nowhere", "/admin/kernels/point", url.Values{"runmode": {"../x"}, "kernel": {"zos.efi"}}, "", "unknown run mode"},
		{"kernel: remove nothing", "/admin/kernels/remove", url.Values{"kernel": {"none.efi"}}, "", "there is no kernel"},
		{"kernel: no upload", "/admin/kernels", url.Values{}, "file", "not an upload"},
		{"token: no role", "/admin/tokens", url.Values{"role": {"king"}}, "", "choose one from the list"},
		{"token: no farmer", "/admin/tokens", url.Values{"role": {"farmer"}}, "farmer", "needs the farmer"},
		{"token: bad farmer", "/admin/tokens", url.Values{"role": {"farmer"}, "farmer": {"1e3"}}, "farmer", "from 1 to 4294967295"},
		{"token: admin's farmer", "/admin/tokens", url.Values{"role": {"admin"}, "farmer": {"5"}}, "farmer", "not one farmer's"},
		{"token: unknown", "/admin/tokens/NONE/remove", nil, "", ""},
		{"sign in: nothing", "/admin/signin", url.Values{"token": {""}}, "token", "paste your token"},
		{"sign in: nonsense", "/admin/signin", url.Values{"token": {"farmboot_x_y"}}, "token", "not a valid token"},
		{"sign in: bad link", "/admin/signin", url.Values{"code": {"XYZ"}}, "token", "a token exists: sign in with it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, page := b.send(t, tt.target, tt.values)
			if r.StatusCode < 400 || r.StatusCode >= 500 {
				t.Fatalf("status %d to %q", r.StatusCode, r.Header.Get("Location"))
			}
			checkPage(t, r.Header.Get("Content-Security-Policy"), page)
			said := html.UnescapeString(page)
			if !strings.Contains(said, tt.says) {
				t.Errorf("it does not say %q: %s", tt.says, page)
			}
			checkFocus(t, page, tt.field)
			if tt.field != "" {
				_, after, found := strings.Cut(page, `id="`+tt.field+`-error"`)
				line, _, _ := strings.Cut(after, "</p>")
				if text := html.UnescapeString(line); !found || !strings.Contains(text, tt.says) || strings.HasSuffix(text, ">") {
					t.Errorf("beside %s stands %q", tt.field, text)
				}
			}
			for field, v := range tt.values {
				if s := v[0]; s != "" && field != "token" && field != "code" && field != "action" && field != "role" && len(s) < 30 && tt.field == field && field != "runmode" && field != "kernel" && !strings.Contains(said, s) {
					t.Errorf("what was typed into %s is gone", field)
				}
			}
		})
	}
	typed := strings.Repeat("n", 300)
	if _, page := b.send(t, "/admin/farmers/5/name", url.Values{"name": {typed}}); strings.Count(page, `value="`+typed+`"`) != 1 {
		t.Errorf("the name that was refused is not in the form: %s", page)
	}
	nodes, err := b.Registry.Nodes(t.Context(), root, provisioning.NodeQuery{})
	if err != nil || len(nodes) != 1 || nodes[0].RunMode != "prod" || nodes[0].Farmer != 5 || nodes[0].Args != "" {
		t.Errorf("nodes %+v, %v", nodes, err)
	}
}

func TestNodesByForms(t *testing.T) {
	b := newAdminBench(t)
	b.write(t, "zos.efi", "MZ")
	follow := func(r *http.Response, page, says string) {
		t.Helper()
		to := r.Header.Get("Location")
		if r.StatusCode != 303 {
			t.Fatalf("status %d: %s", r.StatusCode, page)
		}
		if _, page := b.look(t, to); !strings.Contains(page, says) {
			t.Fatalf("%s does not say %q: %s", to, says, page)
		}
	}
	all := func() []provisioning.Node {
		t.Helper()
		nodes, err := b.Registry.Nodes(t.Context(), root, provisioning.NodeQuery{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range nodes {
			nodes[i].Created, nodes[i].Updated, nodes[i].Owned = time.Time{}, time.Time{}, time.Time{}
		}
		return nodes
	}
	r, page := b.send(t, "/admin/nodes", url.Values{"mac": {"5254.0000.0001"}, "farmer": {"5"}, "runmode": {"test"}, "kernel": {"zos.efi"}, "args": {"console=ttyS0"}, "name": {"one"}})
	follow(r, page, "Node registered")
	r, page = b.send(t, "/admin/farmers", url.Values{"id": {"5"}, "name": {" Five "}})
	follow(r, page, "The farmer was registered already, without a name, and has one now.")
	r, page = b.send(t, "/admin/nodes/import", url.Values{"list": {"52:54:00:00:00:02, 525400000003\n52-54-00-00-00-04"}, "farmer": {"6"}, "action": {"import"}})
	follow(r, page, "Imported")
	r, page = b.send(t, "/admin/nodes/selected", url.Values{"mac": {"52:54:00:00:00:02", "52:54:00:00:00:03"}, "runmode": {"dev"}, "args": {"zos-debug"}, "nbp": {"snponly"}, "action": {"change"}})
	follow(r, page, "all selected")
	r, page = b.send(t, "/admin/nodes/selected?farmer=6", url.Values{"all": {"1"}, "args-none": {"1"}, "kernel": {"zos.efi"}, "action": {"change"}})
	follow(r, page, "all selected")
	r, page = b.send(t, "/admin/nodes/selected", url.Values{"mac": {"52:54:00:00:00:01"}, "farmer": {"0"}, "kernel": {"-"}, "action": {"change"}})
	follow(r, page, "all selected")
	r, page = b.send(t, "/admin/nodes/52:54:00:00:00:04", url.Values{"farmer": {"7"}, "runmode": {"qa"}, "name": {"four"}, "nbp": {"snponly"}})
	follow(r, page, "Saved")
	r, page = b.send(t, "/admin/nodes/52:54:00:00:00:03/remove", nil)
	follow(r, page, "Node removed")
	want := []provisioning.Node{
		{MAC: macOf(1), RunMode: "test", Args: "console=ttyS0", Name: "one"},
		{MAC: macOf(2), Farmer: 6, RunMode: "dev", Kernel: "zos.efi", NBP: "snponly"},
		{MAC: macOf(4), Farmer: 7, RunMode: "qa", Name: "four", NBP: "snponly"},
	}
	if diff := cmp.Diff(want, all()); diff != "" {
		t.Errorf("nodes (-want +got):\n%s", diff)
	}
	_, csv := b.look(t, "/admin/nodes.csv?runmode=dev")
	if csv != "mac,farmer,runmode,args,kernel,name,nbp\n52:54:00:00:00:02,6,dev,,zos.efi,,snponly\n" {
		t.Errorf("csv %q", csv)
	}
	// What goes out comes in again, changed.
	_, csv = b.look(t, "/admin/nodes.csv")
	r, page = b.importFile(t, strings.ReplaceAll(csv, "four", "renamed"))
	follow(r, page, "Imported")
	if got := all()[2].Name; got != "renamed" {
		t.Errorf("name %q", got)
	}
	_, page = b.send(t, "/admin/nodes/import", url.Values{"list": {"525400000099"}, "action": {"check"}})
	if !strings.Contains(page, "Would be: 1 added, 0 updated") || len(all()) != 3 {
		t.Errorf("a check only: %s", page)
	}
	// What is probably a mistake is told, by a check and by the import itself.
	for _, action := range []string{"check", "import"} {
		r, page = b.send(t, "/admin/nodes/import", url.Values{"list": {"mac,args\n525400000099,zos-debg\n"}, "action": {action}})
		if r.StatusCode != http.StatusOK || !strings.Contains(page, "did you mean &#34;zos-debug&#34;?") || (len(all()) == 4) != (action == "import") {
			t.Errorf("%s with a warning: %d %s", action, r.StatusCode, page)
		}
	}
	r, page = b.send(t, "/admin/nodes/selected", url.Values{"all": {"1"}, "action": {"remove"}})
	follow(r, page, "are removed")
	if n := all(); len(n) != 0 {
		t.Errorf("left %v", n)
	}
	if _, page := b.look(t, "/admin/history"); !strings.Contains(page, "node set") || !strings.Contains(page, "run mode <del>") {
		t.Errorf("history: %s", page)
	}
}

// importFile sends a file to the import form.
func (b *adminBench) importFile(t testing.TB, text string) (*http.Response, string) {
	t.Helper()
	return b.upload(t, "/admin/nodes/import", "nodes.csv", text, "update", "1", "action", "import")
}

// upload sends a form with a file behind its fields.
func (b *adminBench) upload(t testing.TB, target, name, content string, fields ...string) (*http.Response, string) {
	t.Helper()
	req := b.uploadRequest(target, name, content, fields...)
	return do(t, b.plane, req, "Content-Type", req.Header.Get("Content-Type"))
}

func (b *adminBench) uploadRequest(target, name, content string, fields ...string) *http.Request {
	var body bytes.Buffer
	m := multipart.NewWriter(&body)
	for i := 0; i < len(fields); i += 2 {
		_ = m.WriteField(fields[i], fields[i+1])
	}
	part, _ := m.CreateFormFile("file", name)
	_, _ = part.Write([]byte(content))
	_ = m.Close()
	req := httptest.NewRequest("POST", "https://appliance.example"+target, &body)
	req.AddCookie(b.cookie)
	req.Header.Set("Content-Type", m.FormDataContentType())
	return req
}

// deadlines is an answer on a connection that knows read deadlines.
type deadlines struct {
	*httptest.ResponseRecorder
	set int // how many times one was set
}

// SetReadDeadline is what http.ResponseController looks for.
func (p *deadlines) SetReadDeadline(time.Time) error {
	p.set++
	return nil
}

// TestUploadsMayTakeLong: as long as something comes, there is time for more.
func TestUploadsMayTakeLong(t *testing.T) {
	b := newAdminBench(t)
	for target, content := range map[string]string{
		"/admin/kernels":      kerneltest.EFI(strings.Repeat("x", 1<<20)),
		"/admin/nodes/import": "mac\n" + strings.Repeat("525400000001\n", 1<<16),
	} {
		w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
		b.plane.ServeHTTP(w, b.uploadRequest(target, "zos-long.efi", content))
		if w.set < 10 {
			t.Errorf("%s: the deadline was set %d times", target, w.set)
		}
	}
}

func TestKernelForms(t *testing.T) {
	b := newAdminBench(t)
	for _, tt := range []struct {
		name, file, content string
		fields              []string
		status              int
		says                string
	}{
		{"as it is called", "zos.efi", kerneltest.EFI("one"), nil, 303, ""},
		{"named, and booted", "x", kerneltest.EFI("two"), []string{"name", "zos2.efi", "runmode", "prod"}, 303, ""},
		{"no kernel", "zos.html", "<!doctype html>", nil, 400, "not a kernel"},
		{"bad name", "zos.efi", kerneltest.EFI(""), []string{"name", "../zos"}, 400, "bad kernel name"},
		{"bad run mode", "zos3.efi", kerneltest.EFI(""), []string{"runmode", "moon"}, 400, "unknown run mode"},
		{"no file", "", "", nil, 400, "choose a file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, page := b.upload(t, "/admin/kernels", tt.file, tt.content, tt.fields...)
			if r.StatusCode != tt.status || !strings.Contains(html.UnescapeString(page), tt.says) {
				t.Errorf("status %d: %s", r.StatusCode, page)
			}
		})
	}
	if r, page := b.send(t, "/admin/kernels/point", url.Values{"runmode": {"test"}, "kernel": {"zos.efi"}}); r.StatusCode != 303 {
		t.Errorf("point: %d %s", r.StatusCode, page)
	}
	if r, page := b.send(t, "/admin/kernels/remove", url.Values{"kernel": {"zos.efi"}}); r.StatusCode != 409 || !strings.Contains(page, "in use") {
		t.Errorf("remove what is in use: %d %s", r.StatusCode, page)
	}
	if r, page := b.send(t, "/admin/kernels/point", url.Values{"runmode": {"test"}, "kernel": {"zos2.efi"}}); r.StatusCode != 303 {
		t.Errorf("point: %d %s", r.StatusCode, page)
	}
	if _, page := b.look(t, "/admin/kernels"); !strings.Contains(page, "Back to zos.efi") {
		t.Errorf("no way back: %s", page)
	}
	if r, page := b.send(t, "/admin/kernels/rollback", url.Values{"runmode": {"test"}}); r.StatusCode != 303 {
		t.Errorf("rollback: %d %s", r.StatusCode, page)
	}
	if got := b.Pages.Kernels.FileOf("net/test.efi"); got != "zos.efi" {
		t.Errorf("after a rollback test boots %s", got)
	}
	if r, page := b.send(t, "/admin/kernels/point", url.Values{"runmode": {"test"}, "kernel": {"zos2.efi"}}); r.StatusCode != 303 {
		t.Errorf("point: %d %s", r.StatusCode, page)
	}
	if _, err := b.Admin.Rollout.Start(t.Context(), root, "test", "zos.efi", "52:54:00:00:00:01"); err != nil {
		t.Fatal(err)
	}
	if r, page := b.send(t, "/admin/kernels/remove", url.Values{"kernel": {"zos.efi"}}); r.StatusCode != 409 || !strings.Contains(page, "run mode test tries it on some nodes") {
		t.Errorf("remove what is tried: %d %s", r.StatusCode, page)
	}
	if _, err := b.Admin.Rollout.TakeBack(t.Context(), root, "test"); err != nil {
		t.Fatal(err)
	}
	if r, page := b.send(t, "/admin/kernels/remove", url.Values{"kernel": {"zos.efi"}}); r.StatusCode != 303 {
		t.Errorf("remove: %d %s", r.StatusCode, page)
	}
	list, err := b.Pages.Kernels.List()
	if err != nil || len(list) != 1 || list[0].Name != "zos2.efi" || len(list[0].RunModes) != 2 {
		t.Errorf("left %+v, %v", list, err)
	}
}

func TestClaimByForm(t *testing.T) {
	b := newAdminBench(t)
	b.play(t, bootOf(macOf(1), b.now.Now(), 3)...)
	b.play(t, bootOf(macOf(2), b.now.Now(), 3)...)
	found, err := b.Registry.Discovered(t.Context(), root, 0)
	if err != nil || len(found) != 2 {
		t.Fatalf("discovered %v, %v", found, err)
	}
	if _, page := b.look(t, "/admin/discovered"); strings.Contains(page, found[0].Code) || !strings.Contains(page, "Acme &amp; Sons") {
		t.Errorf("unknown = \"boot\" shows no code on a screen, but the page has: %s", page)
	}
	b.unknown(provisioning.Hold)
	if _, page := b.look(t, "/admin/discovered"); !strings.Contains(page, found[0].Code) {
		t.Errorf("unknown = \"hold\": %s", page)
	}
	_, token, err := b.Registry.AddToken(t.Context(), root, provisioning.Token{Role: provisioning.RoleFarmer, Farmer: 5})
	if err != nil {
		t.Fatal(err)
	}
	r, page := b.post(t, b.signIn(t, token), "/admin/discovered", url.Values{"machine": {strings.ToLower(found[0].Code)}, "runmode": {"prod"}, "name": {"mine"}})
	if r.StatusCode != 303 {
		t.Fatalf("by code: %d %s", r.StatusCode, page)
	}
	if r, page := b.send(t, "/admin/discovered", url.Values{"machine": {found[1].MAC.String()}, "farmer": {"6"}, "runmode": {"test"}}); r.StatusCode != 303 {
		t.Fatalf("by MAC address: %d %s", r.StatusCode, page)
	}
	n, err := b.Registry.Node(t.Context(), root, found[0].MAC)
	if err != nil || n.Farmer != 5 || n.Name != "mine" {
		t.Errorf("claimed %+v, %v", n, err)
	}
}

func TestTokenIsShownOnce(t *testing.T) {
	b := newAdminBench(t)
	r, page := b.send(t, "/admin/tokens", url.Values{"role": {"farmer"}, "farmer": {"5"}})
	_, rest, _ := strings.Cut(page, "farmboot_")
	secret, _, _ := strings.Cut("farmboot_"+rest, "<")
	if r.StatusCode != 200 || r.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("%d %v", r.StatusCode, r.Header)
	}
	if by, err := b.Registry.Authenticate(t.Context(), secret, "test"); err != nil || by.Farmer != 5 {
		t.Errorf("secret %q: %+v, %v", secret, by, err)
	}
	if _, page := b.look(t, "/admin/tokens"); strings.Contains(page, secret) {
		t.Error("the secret is shown again")
	}
}

func TestSessions(t *testing.T) {
	b := newAdminBench(t)
	in := func(c *http.Cookie) bool { r, _ := b.lookAs(t, c, "/admin"); return r.StatusCode == 200 }
	t.Run("cookie", func(t *testing.T) {
		c := b.signIn(t, b.token)
		if !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Domain != "" || strings.Contains(c.Value, b.token) {
			t.Errorf("cookie %+v", c)
		}
	})
	t.Run("sign out", func(t *testing.T) {
		c := b.signIn(t, b.token)
		if r, _ := b.post(t, c, "/admin/signout", nil); r.StatusCode != 303 || in(c) {
			t.Errorf("status %d, still in: %t", r.StatusCode, in(c))
		}
	})
	t.Run("way back", func(t *testing.T) {
		for _, to := range []string{"/admin", "/admin?state=quiet", "/admin/nodes?q=x%20/../y", "/admin/nodes/52:54:00:00:00:01"} {
			if got := b.wayBack(t, to); got != to {
				t.Errorf("from %q to %q", to, got)
			}
		}
		for _, to := range []string{
			"", "/", "/other", "/administration", "admin", "/admin/signin", "/admin/signin?to=/admin", "/admin/x/../signin", "/admin/signin/",
			"https://evil.example", "https://evil.example/admin", "//evil.example", "//evil.example/admin", "///evil.example/admin", "javascript:alert(1)", "/admin/..", "/admin/../other",
			`/admin/../\evil.example`, `/admin\..\..\evil.example`, `/\evil.example/admin`, `\\evil.example`, "/admin/..//evil.example", "/admin/%2e%2e//evil.example",
			"/admin/..%2f%5cevil.example", "/admin/%2e%2e/%5cevil.example", "/admin/\t../\t/evil.example", "/\t/evil.example", "/admin/%09", "/admin/%0d%0aLocation:%20x", "/admin\r\nx: y", "/admin/%zz",
		} {
			if got := b.wayBack(t, to); got != "/admin" {
				t.Errorf("from %q to %q", to, got)
			}
		}
	})
}

// wayBack is where somebody is led who signs in to see to.
func (b *adminBench) wayBack(t *testing.T, to string) string {
	t.Helper()
	r, _ := b.post(t, nil, "/admin/signin", url.Values{"token": {b.token}, "to": {to}})
	return r.Header.Get("Location")
}

func TestSignInLink(t *testing.T) {
	b := newAdminBench(t)
	tokens, err := b.Registry.Tokens(t.Context(), root)
	if err != nil || len(tokens) != 1 {
		t.Fatalf("tokens %v, %v", tokens, err)
	}
	if err := b.Registry.RemoveToken(t.Context(), root, tokens[0].ID); err != nil {
		t.Fatal(err)
	}
	use := func(link string) (*http.Response, string) {
		_, code, _ := strings.Cut(link, "code=")
		return b.post(t, nil, "/admin/signin", url.Values{"code": {code}})
	}
	link := b.links.New()
	if r, page := b.lookAs(t, nil, link); r.StatusCode != 200 || !strings.Contains(page, "Sign in as admin") {
		t.Fatalf("%d %s", r.StatusCode, page)
	}
	r, _ := use(link)
	if r.StatusCode != 303 || len(r.Cookies()) != 1 {
		t.Fatalf("first use: %d", r.StatusCode)
	}
	if r, _ := b.lookAs(t, r.Cookies()[0], "/admin/tokens"); r.StatusCode != 200 {
		t.Errorf("tokens: %d", r.StatusCode)
	}
	if r, page := use(link); r.StatusCode != 401 || len(r.Cookies()) != 0 || !strings.Contains(page, "has been used") {
		t.Errorf("second use: %d", r.StatusCode)
	}
	late := b.links.New()
	b.now.advance(25 * time.Hour)
	if r, page := use(late); r.StatusCode != 401 || !strings.Contains(page, "is older than a day") {
		t.Errorf("a day later: %d %s", r.StatusCode, page)
	}
	links := []string{}
	for range 30 {
		links = append(links, b.links.New())
	}
	r, _ = use(links[29])
	if r.StatusCode != 303 {
		t.Fatalf("the newest of many: %d", r.StatusCode)
	}
	open := b.links.New()
	if r, page := b.post(t, r.Cookies()[0], "/admin/tokens", url.Values{"role": {"admin"}}); r.StatusCode != 200 || !strings.Contains(page, "farmboot_") {
		t.Fatalf("make a token: %d %s", r.StatusCode, page)
	}
	for _, link := range []string{open, links[29], "/admin/signin?code=of-an-earlier-start"} {
		if r, page := b.lookAs(t, nil, link); r.StatusCode != 401 || strings.Contains(page, "Sign in as admin") || !strings.Contains(page, "a token exists: sign in with it") {
			t.Errorf("page of %s once there is a token: %d %s", link, r.StatusCode, page)
		}
		r, page := use(link)
		if r.StatusCode != 401 || len(r.Cookies()) != 0 || !strings.Contains(page, "a token exists: sign in with it") {
			t.Errorf("%s once there is a token: %d %s", link, r.StatusCode, page)
		}
	}
}

func TestCrossOriginWritesAreRefused(t *testing.T) {
	b := newAdminBench(t)
	for _, header := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}} {
		for _, target := range []string{"/admin/signin", "/admin/signout", "/admin/nodes", "/admin/tokens", "/admin/kernels"} {
			req := httptest.NewRequest("POST", "https://appliance.example"+target, strings.NewReader("mac=525400000001&role=admin"))
			req.AddCookie(b.cookie)
			r, page := do(t, b.plane, req, append(header, "Content-Type", "application/x-www-form-urlencoded")...)
			if r.StatusCode != 403 {
				t.Errorf("%s with %v: %d %s", target, header, r.StatusCode, page)
			}
		}
	}
}

// TestSignInIsGuarded: whoever tries many tokens, or codes of links, has to wait.
func TestSignInIsGuarded(t *testing.T) {
	b := newAdminBench(t)
	for range 50 {
		b.post(t, nil, "/admin/signin", url.Values{"token": {"farmboot_x_y"}})
		b.post(t, nil, "/admin/signin", url.Values{"code": {"x"}})
	}
	for _, v := range []url.Values{{"token": {"farmboot_x_y"}}, {"code": {"x"}}} {
		r, page := b.post(t, nil, "/admin/signin", v)
		if r.StatusCode != 429 || !strings.Contains(page, "too many bad credentials") || len(r.Cookies()) != 0 {
			t.Errorf("%v: %d %s", v, r.StatusCode, page)
		}
	}
	b.signIn(t, b.token)
}

// TestSignInIsShort: who is not signed in yet has no more read than a token takes.
func TestSignInIsShort(t *testing.T) {
	b := newAdminBench(t)
	for length, want := range map[int]int{60 << 10: 401, 70 << 10: 413, 8 << 20: 413} {
		if r, page := b.post(t, nil, "/admin/signin", url.Values{"token": {strings.Repeat("x", length)}}); r.StatusCode != want {
			t.Errorf("%d bytes: %d %s", length, r.StatusCode, page)
		}
	}
}

// TestWhatNeedsALookIsFirst: before nodes that did something since, but not for ever.
func TestWhatNeedsALookIsFirst(t *testing.T) {
	b := newAdminBench(t)
	now := b.now.Now()
	b.play(t, bootOf(macOf(1), now.Add(-48*time.Hour), 4)...) // and nothing since
	b.play(t, bootOf(macOf(2), now.Add(-2*time.Hour), 4)...)  // the same
	b.play(t, bootOf(macOf(3), now.Add(-time.Hour), 8)...)
	_, page := b.look(t, "/admin")
	var order []string
	for _, m := range rowMAC.FindAllStringSubmatch(page, -1) {
		order = append(order, m[1])
	}
	if want := []string{macOf(2).String(), macOf(3).String(), macOf(1).String()}; !slices.Equal(order, want) {
		t.Errorf("order %v, want %v", order, want)
	}
}

// TestDayOfAnAdmin: many claims at once, a change taken back, a boot for once, a token to
// look only, all by the pages' forms.
func TestDayOfAnAdmin(t *testing.T) {
	b := newAdminBench(t)
	b.unknown(provisioning.Hold)
	b.write(t, "net/prod.efi", "MZ")
	b.write(t, "zos.efi", "MZ")
	for i := 1; i <= 3; i++ {
		b.play(t, bootOf(macOf(i), b.now.Now().Add(-time.Minute), 3)...)
	}
	seen, err := b.Registry.Seen(t.Context(), root, macOf(1))
	if err != nil {
		t.Fatal(err)
	}
	r, page := b.look(t, "/admin/discovered?claim="+seen.Code)
	if r.StatusCode != 200 || !strings.Contains(page, `value="`+seen.Code+`"`) || !strings.Contains(page, "/admin/discovered/"+seen.Code+"/qr.png") {
		t.Errorf("the link of a claim code: %d %s", r.StatusCode, page)
	}
	for _, code := range []string{seen.Code, seen.Code + "/"} {
		if r, _ := b.lookAs(t, nil, "/"+code); r.StatusCode != 303 || r.Header.Get("Location") != "/admin/discovered?claim="+seen.Code {
			t.Errorf("the short address %s: %d to %s", code, r.StatusCode, r.Header.Get("Location"))
		}
	}
	for _, none := range []string{"/BBBBBB", "/k7mc3x", "/AAAAAAA"} {
		if r, _ := b.lookAs(t, nil, none); r.StatusCode != 404 {
			t.Errorf("%s: %d", none, r.StatusCode)
		}
	}
	if r, image := b.look(t, "/admin/discovered/"+seen.Code+"/qr.png"); r.StatusCode != 200 || !strings.HasPrefix(image, "\x89PNG") {
		t.Errorf("QR code: %d, %d bytes", r.StatusCode, len(image))
	}
	if r, _ := b.look(t, "/admin/discovered/nonsense/qr.png"); r.StatusCode != 400 {
		t.Errorf("QR code of nonsense: %d", r.StatusCode)
	}

	// Two of three, and none if one of them is not there.
	two := url.Values{"mac": {macOf(1).String(), macOf(2).String()}, "farmer": {"7"}}
	if r, page := b.send(t, "/admin/discovered/selected", url.Values{"farmer": {"7"}}); r.StatusCode != 400 || !strings.Contains(page, "no machine is selected") {
		t.Errorf("none ticked: %d", r.StatusCode)
	}
	if r, _ := b.send(t, "/admin/discovered/selected", url.Values{"mac": {macOf(1).String(), macOf(9).String()}}); r.StatusCode != 404 {
		t.Errorf("one that was never seen: %d", r.StatusCode)
	}
	if r, page := b.send(t, "/admin/discovered/selected", two); r.StatusCode != 303 {
		t.Fatalf("claim two: %d %s", r.StatusCode, page)
	}
	nodes, err := b.Registry.Nodes(t.Context(), root, provisioning.NodeQuery{Farmer: 7})
	if err != nil || len(nodes) != 2 {
		t.Fatalf("claimed %v, %v", nodes, err)
	}
	changes, err := b.Registry.History(t.Context(), root, provisioning.ChangeQuery{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	undo := fmt.Sprintf("/admin/history/%d/undo", changes[0].ID)
	if _, page := b.look(t, "/admin/history"); !strings.Contains(page, undo) {
		t.Error("the history offers no way to take it back")
	}
	if r, _ := b.send(t, undo, nil); r.StatusCode != 303 {
		t.Errorf("take back: %d", r.StatusCode)
	}
	if _, page := b.look(t, "/admin/history"); strings.Contains(page, undo) || strings.Count(page, ">taken back<") != 1 {
		t.Errorf("the history does not mark what was taken back, or offers that again: %s", page)
	}
	if n, err := b.Registry.CountNodes(t.Context(), root, provisioning.NodeQuery{}); n != 0 || err != nil {
		t.Errorf("%d nodes are left, %v", n, err)
	}
	if r, page := b.send(t, undo, nil); r.StatusCode != 409 || !strings.Contains(page, "nothing was taken back") {
		t.Errorf("take back again: %d", r.StatusCode)
	}

	// A farmer stays, so nothing is offered.
	if _, _, err := b.Registry.AddFarmer(t.Context(), root, provisioning.Farmer{ID: 8}); err != nil {
		t.Fatal(err)
	}
	changes, err = b.Registry.History(t.Context(), root, provisioning.ChangeQuery{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	undo = fmt.Sprintf("/admin/history/%d/undo", changes[0].ID)
	if _, page := b.look(t, "/admin/history"); strings.Contains(page, undo) {
		t.Error("the history offers to take back a farmer")
	}
	if r, page := b.send(t, undo, nil); r.StatusCode != 400 || !strings.Contains(page, "only changes of nodes") {
		t.Errorf("take back a farmer: %d", r.StatusCode)
	}

	// Another boot for once, and its disk for good.
	b.add(t, provisioning.Node{MAC: macOf(1), RunMode: "prod"})
	at := "/admin/nodes/" + macOf(1).String()
	if r, _ := b.send(t, at+"/once", url.Values{"once": {"zos.efi"}}); r.StatusCode != 303 {
		t.Errorf("once: %d", r.StatusCode)
	}
	if _, page := b.look(t, at); !strings.Contains(page, "This once") || !strings.Contains(page, "/kernel/zos.efi") {
		t.Error("its page does not tell of the other boot")
	}
	if r, _ := b.send(t, at+"/once", url.Values{"once": {"gone.efi"}}); r.StatusCode != 400 {
		t.Errorf("once, a kernel that is not there: %d", r.StatusCode)
	}
	b.send(t, at+"/once", url.Values{"once": {""}})
	if r, _ := b.send(t, at, url.Values{"runmode": {"prod"}, "exit": {"1"}}); r.StatusCode != 303 {
		t.Errorf("its disk: %d", r.StatusCode)
	}
	if _, page := b.look(t, at); !strings.Contains(page, "It is sent on to its next boot device.") {
		t.Error("its page does not tell that it boots from its disk")
	}

	// Waking it, and all that the list shows; none if one of them is not there.
	b.add(t, provisioning.Node{MAC: macOf(2), RunMode: "prod"})
	if r, _ := b.send(t, at+"/wake", nil); r.StatusCode != 303 || !slices.Equal(b.woken, []provisioning.MAC{macOf(1)}) {
		t.Errorf("wake: %d, %v", r.StatusCode, b.woken)
	}
	b.woken = nil
	if r, _ := b.send(t, "/admin/nodes/selected", url.Values{"action": {"wake"}, "all": {"1"}}); r.StatusCode != 303 || len(b.woken) != 2 {
		t.Errorf("wake all: %d, %v", r.StatusCode, b.woken)
	}
	b.woken = nil
	if r, page := b.send(t, "/admin/nodes/selected", url.Values{"action": {"wake"}, "mac": {macOf(1).String(), macOf(9).String()}}); r.StatusCode != 400 || !strings.Contains(page, "none was woken") {
		t.Errorf("wake one that is not there: %d", r.StatusCode)
	}
	if r, page := b.send(t, "/admin/nodes/selected", url.Values{"action": {"wake"}}); r.StatusCode != 400 || !strings.Contains(page, "no node is selected") {
		t.Errorf("wake none: %d", r.StatusCode)
	}
	if r, _ := b.send(t, "/admin/nodes/"+macOf(9).String()+"/wake", nil); r.StatusCode != 404 {
		t.Errorf("wake one that is not registered: %d", r.StatusCode)
	}
	b.cannotWake = provisioning.Errorf(provisioning.Unavailable, "there is no interface lan0")
	if r, page := b.send(t, at+"/wake", nil); r.StatusCode != 503 || !strings.Contains(page, "there is no interface lan0") || len(b.woken) != 1 {
		t.Errorf("cannot wake: %d", r.StatusCode)
	}

	// A token that looks only: its session changes nothing.
	r, page = b.send(t, "/admin/tokens", url.Values{"role": {"admin"}, "name": {"screen"}, "expires": {"7"}, "read-only": {"1"}})
	secret := regexp.MustCompile(`farmboot_[A-Z2-7]+_[-_A-Za-z0-9]+`).FindString(page)
	if r.StatusCode != 200 || secret == "" || !strings.Contains(page, "only to look") {
		t.Fatalf("token: %d %s", r.StatusCode, page)
	}
	screen := b.signIn(t, secret)
	if r, _ := b.lookAs(t, screen, at); r.StatusCode != 200 {
		t.Errorf("it does not see: %d", r.StatusCode)
	}
	if r, page := b.post(t, screen, at, url.Values{"runmode": {"test"}}); r.StatusCode != 403 || !strings.Contains(page, "read-only") {
		t.Errorf("it changes a node: %d", r.StatusCode)
	}
	b.now.advance(8 * 24 * time.Hour)
	if r, _ := b.lookAs(t, screen, at); r.StatusCode != 303 {
		t.Errorf("it sees after its end: %d", r.StatusCode)
	}
}

func TestAdminLink(t *testing.T) {
	b := newBench(t)
	link := pages.AdminLink{Answer: b.Pages.Answer, AdminURL: func(netip.Addr) string { return "https://192.0.2.1" }}
	if _, page := do(t, apphttp.Plane(link, &b.Pages), httptest.NewRequest("GET", "/admin/discovered?claim=k7m3px", nil)); !strings.Contains(page, `href="https://192.0.2.1/admin/discovered?claim=K7M3PX"`) {
		t.Errorf("the link on a node's screen: %s", page)
	}
	for _, target := range []string{"/admin", "/admin/", "/admin/nodes/52:54:00:00:00:01", "/admin/signin?code=X"} {
		r, page := do(t, apphttp.Plane(link, &b.Pages), httptest.NewRequest("GET", "http://evil.example"+target, nil))
		if r.StatusCode != 200 || !strings.Contains(page, `href="https://192.0.2.1/admin"`) {
			t.Errorf("%s: %d %s", target, r.StatusCode, page)
		}
		checkPage(t, r.Header.Get("Content-Security-Policy"), strings.ReplaceAll(page, `href="https://192.0.2.1/admin"`, ""))
	}
}

// enrolment is which nodes are to be made to trust our key.
type enrolment map[provisioning.MAC]bool

func (e enrolment) Enrolling(m provisioning.MAC) bool { return e[m] }
func (e enrolment) Enrol(m provisioning.MAC) error    { e[m] = true; return nil }
func (e enrolment) Enrolled(m provisioning.MAC)       { delete(e, m) }

// enrolments are an enrolment that ends with the registration of a node.
type enrolments struct{ enrolment }

func (e enrolments) Enrolled(m provisioning.MAC) error { delete(e.enrolment, m); return nil }

// TestUndoOfLinesThatAreFolded: changes that were not made together are shown as one line when one
// follows the other soon, and are taken back one by one.
func TestUndoOfLinesThatAreFolded(t *testing.T) {
	b := newAdminBench(t)
	const many = 4
	for i := range many {
		b.add(t, provisioning.Node{MAC: macOf(i + 1), RunMode: "prod"})
	}
	changes, err := b.Registry.History(t.Context(), root, provisioning.ChangeQuery{Limit: many})
	if err != nil || len(changes) != many {
		t.Fatalf("%d changes, %v", len(changes), err)
	}
	undo := func(c provisioning.Change) string { return fmt.Sprintf("/admin/history/%d/undo", c.ID) }
	_, page := b.look(t, "/admin/history")
	if !strings.Contains(page, "4 nodes added") || strings.Contains(page, "all of it") {
		t.Errorf("the history: %s", page)
	}
	for i := range changes {
		for j, c := range changes {
			if offered := strings.Contains(page, undo(c)); offered != (j >= i) {
				t.Errorf("with %d taken back, that of %s is offered to be: %t", i, c.Subject, offered)
			}
		}
		if r, page := b.send(t, undo(changes[i]), nil); r.StatusCode != 303 {
			t.Fatalf("take back: %d %s", r.StatusCode, page)
		}
		_, page = b.look(t, "/admin/history")
	}
}

// TestUndoNamesNodes: whose enrolment ended with a registration that is taken back, or was.
func TestUndoNamesNodes(t *testing.T) {
	b := newAdminBench(t)
	const many = 21
	var all []provisioning.MAC
	for i := range many {
		all = append(all, macOf(i+1))
		b.add(t, provisioning.Node{MAC: all[i], RunMode: "prod"})
	}
	e := enrolment{}
	b.Registry.EndEnrolments(enrolments{e})
	said := regexp.MustCompile(`<p class="flash" role="status">([^<]*)</p>`)
	undo := func(want string) {
		t.Helper()
		changes, err := b.Registry.History(t.Context(), root, provisioning.ChangeQuery{Limit: 1})
		if err != nil {
			t.Fatal(err)
		}
		r, page := b.send(t, fmt.Sprintf("/admin/history/%d/undo", changes[0].ID), nil)
		if r.StatusCode != 303 {
			t.Fatalf("undo: %d %s", r.StatusCode, page)
		}
		_, page = b.look(t, r.Header.Get("Location"))
		if got := said.FindStringSubmatch(page); got == nil || got[1] != want {
			t.Errorf("it says %q, want %q", got, want)
		}
	}
	const ended = "Taken back. Not to be enrolled for Secure Boot any more, for that ended with their registration: "
	e[all[0]], e[all[1]] = true, true
	if err := b.Registry.RemoveNodes(t.Context(), root, all); err != nil {
		t.Fatal(err)
	}
	undo(ended + all[0].String() + ", " + all[1].String() + ".") // the removal
	undo("Taken back.")                                          // that again
	undo("Taken back.")                                          // and the nodes are back
	var names []string
	for _, mac := range all {
		e[mac] = true
		names = append(names, mac.String())
	}
	undo(ended + strings.Join(names[:many-1], ", ") + " and others (see below).")
	if _, page := b.look(t, "/admin/history?done=undone&node=x&farmer=x"); !strings.Contains(page, ">Taken back.<") {
		t.Errorf("a query of nobody's: %s", text(page))
	}
	// A next boot that was chosen since, and a farmer whom nobody registered but a node.
	once := provisioning.OnceExit
	n, err := b.Registry.AddNode(t.Context(), root, provisioning.Node{MAC: macOf(30), RunMode: "prod", Farmer: 77})
	if err != nil {
		t.Fatal(err)
	}
	added, err := b.Registry.History(t.Context(), root, provisioning.ChangeQuery{Subject: n.MAC.String()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Registry.SetNode(t.Context(), root, n.MAC, provisioning.NodePatch{Once: &once}); err != nil {
		t.Fatal(err)
	}
	r, _ := b.send(t, fmt.Sprintf("/admin/history/%d/undo", added[0].ID), nil)
	_, page := b.look(t, r.Header.Get("Location"))
	if got := said.FindStringSubmatch(page); got == nil || got[1] != "Taken back. Their one-time next boot was dropped with their registration: "+n.MAC.String()+". Farmers who stay registered, without a node: 77." {
		t.Errorf("it says %q", got)
	}
}

// TestEnrolButton has a node enrolled for Secure Boot, and takes that back.
func TestEnrolButton(t *testing.T) {
	b := newAdminBench(t)
	b.add(t, provisioning.Node{MAC: macOf(1), RunMode: "prod"})
	at := "/admin/nodes/" + macOf(1).String()
	if _, page := b.look(t, at); strings.Contains(page, at+"/enrol") {
		t.Error("there is a button, though Secure Boot is off")
	}
	if r, page := b.send(t, at+"/enrol", url.Values{"enrol": {"1"}}); r.StatusCode != 409 || !strings.Contains(page, "Secure Boot is off here") {
		t.Errorf("with Secure Boot off: %d", r.StatusCode)
	}
	e := enrolment{}
	b.Enrolment = e
	if _, page := b.look(t, at); !strings.Contains(page, "Enrol at its next boot from us") {
		t.Error("there is no button")
	}
	if r, _ := b.send(t, at+"/enrol", url.Values{"enrol": {"1"}}); r.StatusCode != 303 || !e[macOf(1)] {
		t.Errorf("enrol: %d, %v", r.StatusCode, e)
	}
	if _, page := b.look(t, at); !strings.Contains(page, "Let it boot as usual") || strings.Contains(page, "Enrol at its next boot from us") {
		t.Error("its page does not tell that it is to be enrolled")
	}
	if r, _ := b.send(t, at+"/enrol", url.Values{"enrol": {""}}); r.StatusCode != 303 || e[macOf(1)] {
		t.Errorf("cancel: %d, %v", r.StatusCode, e)
	}
	if r, _ := b.send(t, "/admin/nodes/"+macOf(2).String()+"/enrol", url.Values{"enrol": {"1"}}); r.StatusCode != 404 || e[macOf(2)] {
		t.Errorf("a node that is not registered: %d", r.StatusCode)
	}
	if _, page := b.look(t, "/admin/history"); !strings.Contains(page, "enrol") {
		t.Error("the history does not tell of it")
	}
}
