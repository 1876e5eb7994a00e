package api_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	apphttp "farmboot/http"
	"farmboot/http/authn"
	"farmboot/provisioning"
)

func TestCredentials(t *testing.T) {
	s := newSite(t)
	for h, status := range map[string]int{
		"Bearer " + s.tokens.admin:       200,
		"bearer  " + s.tokens.admin:      200,
		"Bearer " + s.tokens.admin[1:]:   401,
		"Bearer " + s.tokens.admin + "x": 401,
		"Bearer":                         401,
		"Bearer ":                        401,
		"Basic YTpi":                     401,
		s.tokens.admin:                   401,
		"":                               401,
	} {
		s.send(s.request("GET", "/api/v1/nodes", "", "", header("Authorization", h))).want(t, status)
	}
}

// TestTokens: a secret is shown once, and is worth nothing once it is revoked.
func TestTokens(t *testing.T) {
	s := newSite(t)
	type token struct {
		ID, Secret string
		Role       provisioning.Role
		Farmer     provisioning.FarmerID
		Created    string
		LastUsed   time.Time `json:"last_used"`
	}
	r := s.do("POST", "/api/v1/tokens", `{"role":"farmer","farmer":5}`).want(t, http.StatusCreated)
	made := decode[token](t, r)
	if made.Secret == "" || made.Role != "farmer" || made.Farmer != five || r.header.Get("Location") != "/api/v1/tokens/"+made.ID {
		t.Fatalf("%s, Location %s", r.body, r.header.Get("Location"))
	}
	s.send(s.request("GET", "/api/v1/nodes/"+node1, made.Secret, "")).want(t, http.StatusOK)
	used := false
	for _, listed := range decode[[]token](t, s.do("GET", "/api/v1/tokens", "").want(t, http.StatusOK)) {
		if listed.Secret != "" {
			t.Errorf("secret of %s is listed", listed.ID)
		}
		if listed.ID == made.ID && listed.Created != made.Created {
			t.Errorf("made %s, it is listed with %s", made.Created, listed.Created)
		}
		used = used || listed.ID == made.ID && !listed.LastUsed.IsZero()
	}
	if !used {
		t.Error("its last use is not listed")
	}
	s.do("DELETE", "/api/v1/tokens/"+made.ID, "").want(t, http.StatusNoContent)
	s.do("DELETE", "/api/v1/tokens/"+made.ID, "").want(t, http.StatusNotFound)
	s.send(s.request("GET", "/api/v1/nodes/"+node1, made.Secret, "")).want(t, http.StatusUnauthorized)
	for _, body := range []string{`{}`, `{"role":"king"}`, `{"role":"farmer"}`, `{"role":"admin","farmer":5}`} {
		s.do("POST", "/api/v1/tokens", body).want(t, http.StatusBadRequest)
	}
}

// TestCrossOrigin: a page of another site changes nothing, whatever cookies its
// visitor's browser sends along; it could not read an answer either.
func TestCrossOrigin(t *testing.T) {
	s := newSite(t)
	own := "http://" + s.request("GET", "/", "", "").URL.Host
	for _, test := range []struct {
		method, name, value string
		status              int
	}{
		{"PUT", "Sec-Fetch-Site", "cross-site", 403},
		{"PUT", "Sec-Fetch-Site", "same-site", 403},
		{"PUT", "Origin", "https://example.org", 403},
		{"PUT", "Origin", "null", 403},
		{"PUT", "Sec-Fetch-Site", "same-origin", 200},
		{"PUT", "Origin", own, 200},
		{"GET", "Sec-Fetch-Site", "cross-site", 200},
	} {
		body := ""
		if test.method == "PUT" {
			body = `{"name":"x"}`
		}
		r := s.do(test.method, "/api/v1/nodes/"+node1, body, header(test.name, test.value)).want(t, test.status)
		if r.header.Get("Access-Control-Allow-Origin") != "" {
			t.Error("another site may read the answer")
		}
	}
}

// TestTooManyTries: who sends many bad tokens has to wait; a good one is always
// good, for it may come from another program behind the same address.
func TestTooManyTries(t *testing.T) {
	s := newSite(t)
	now := clock()
	s.Throttle = authn.NewThrottle(func() time.Time { return now })
	try := func(peer, token string) int {
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/api/v1/nodes", nil)
		r.RemoteAddr = peer
		r.Header.Set("Authorization", "Bearer "+token)
		return s.plane(r).status
	}
	for range 100 {
		if got := try("[2001:db8::1]:1000", "x"); got != 401 {
			t.Fatalf("status %d for a bad token", got)
		}
	}
	for _, test := range []struct {
		peer, token string
		want        int
	}{
		{"[2001:db8::1]:1000", "x", 429},
		{"[2001:db8::2]:1000", "x", 429}, // the same network
		{"[2001:db8::1]:1000", s.tokens.admin, 200},
		{"[2001:db8:1::1]:1000", "x", 401},
		{"192.0.2.1:1000", "x", 401},
	} {
		if got := try(test.peer, test.token); got != test.want {
			t.Errorf("%s: status %d, want %d", test.peer, got, test.want)
		}
	}
	now = now.Add(time.Second)
	for _, want := range []int{401, 429} {
		if got := try("[2001:db8::1]:1000", "x"); got != want {
			t.Errorf("a second later: status %d, want %d", got, want)
		}
	}
	for range 200 { // without any token nobody is guessing
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/api/v1/nodes", nil)
		r.RemoteAddr = "192.0.2.1:1000"
		s.plane(r).want(t, http.StatusUnauthorized)
	}
	if got := try("192.0.2.1:1000", "x"); got != 401 {
		t.Errorf("status %d", got)
	}
}

// TestUnixSocket: who may open it is an admin, and the history says so.
func TestUnixSocket(t *testing.T) {
	s := newSite(t)
	local := *s.API
	local.Authenticate = authn.Local
	path := filepath.Join(t.TempDir(), "s")
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", path)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: apphttp.Plane(&local), ReadHeaderTimeout: waitLimit}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	defer func() {
		_ = server.Close()
		<-served
	}()
	client := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}}}
	defer client.CloseIdleConnections()
	r := s.request("PUT", "/api/v1/nodes/"+node1, "", `{"name":"x"}`)
	r.URL.Host = "farmboot"
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Errorf("status %d", res.StatusCode)
	}
	changes := decode[[]provisioning.Change](t, s.do("GET", "/api/v1/nodes/"+node1+"/history", "").want(t, http.StatusOK))
	if len(changes) != 2 || changes[0].From != "socket" || changes[0].Action != "node set" {
		t.Errorf("history %+v", changes)
	}
	everything := decode[[]provisioning.Change](t, s.do("GET", "/api/v1/history?limit=1", "").want(t, http.StatusOK))
	if len(everything) != 1 || everything[0].ID != changes[0].ID {
		t.Errorf("history of all %+v", everything)
	}
}

// TestFarmersKeepToTheirOwn tries what a farmer might do to get at others' nodes.
func TestFarmersKeepToTheirOwn(t *testing.T) {
	s := newSite(t)
	as := func(method, path, body string, status int) reply {
		t.Helper()
		return s.send(s.request(method, path, s.tokens.five, body)).want(t, status)
	}
	if got := macs(decode[[]provisioning.Node](t, as("GET", "/api/v1/nodes", "", 200))); len(got) != 1 || got[0] != node1 {
		t.Errorf("farmer five sees %v", got)
	}
	as("PUT", "/api/v1/nodes/"+node1, `{"farmer":6}`, 403) // give it away
	as("PUT", "/api/v1/nodes/"+node1, `{"farmer":0}`, 403) //
	as("PUT", "/api/v1/nodes/"+node2, `{"farmer":5}`, 403) // take another's
	as("PUT", "/api/v1/nodes/"+spare, `{"farmer":5}`, 403) // or nobody's
	if said := as("POST", "/api/v1/nodes", `{"mac":"`+node2+`"}`, 409).body; strings.Contains(string(said), "farmer") {
		t.Errorf("farmer five is told whose node another's is: %s", said)
	}
	as("POST", "/api/v1/nodes/"+wild+"/claim", "", 403) // without having seen it
	as("POST", "/api/v1/nodes/K7MC3Y/claim", "", 404)   // with a code that nobody has
	if said := as("POST", "/api/v1/nodes/nonsense/claim", "", 400).body; !strings.Contains(string(said), "no claim code and no MAC address") {
		t.Errorf("neither a claim code nor a MAC address: %s", said)
	}
	if said := as("POST", "/api/v1/nodes/52:54:00:00:08:1/claim", "", 400).body; !strings.Contains(string(said), "a digit is missing") {
		t.Errorf("a MAC address with a digit missing is refused with %s", said)
	}
	as("POST", "/api/v1/nodes/K7MC3X/claim", `{"farmer":6}`, 403)
	as("POST", "/api/v1/nodes/K7MC3X/claim", `{"name":"x","code":"K7MC3X"}`, 400)
	n := decode[provisioning.Node](t, as("POST", "/api/v1/nodes/k7m-c3x/claim", `{"runmode":"test"}`, 201))
	if n.MAC.String() != wild || n.Farmer != five || n.RunMode != "test" {
		t.Errorf("claimed %+v", n)
	}
	as("POST", "/api/v1/nodes/K7MC3X/claim", "", 409)
	if got := decode[[]provisioning.Farmer](t, as("GET", "/api/v1/farmers", "", 200)); len(got) != 1 || got[0].ID != five {
		t.Errorf("farmer five sees %v", got)
	}
	as("GET", "/api/v1/nodes?farmer=6", "", 403)
}

func TestDiscovered(t *testing.T) {
	s := newSite(t)
	seen := decode[[]provisioning.Discovered](t, s.do("GET", "/api/v1/discovered", "").want(t, http.StatusOK))
	if len(seen) != 1 || seen[0].MAC.String() != wild || seen[0].Code != "K7MC3X" || seen[0].Vendor != "QEMU" {
		t.Errorf("discovered %+v", seen)
	}
	n := decode[provisioning.Node](t, s.do("POST", "/api/v1/nodes/"+wild+"/claim", `{"farmer":9}`).want(t, http.StatusCreated))
	if n.Farmer != 9 || n.RunMode != "prod" {
		t.Errorf("claimed %+v", n)
	}
	if body := s.do("GET", "/api/v1/discovered", "").want(t, http.StatusOK).body; string(body) != "[]\n" {
		t.Errorf("discovered %s", body)
	}
	s.do("POST", "/api/v1/nodes/52:54:00:00:0b:ad/claim", "").want(t, http.StatusNotFound)
	for _, mac := range []string{wild, node1} { // the second was never seen
		if said := s.do("POST", "/api/v1/nodes/"+mac+"/claim", "").want(t, http.StatusConflict).body; !strings.Contains(string(said), "is registered already, to farmer ") {
			t.Errorf("a claim of %s, which is registered, is refused with %s", mac, said)
		}
	}
}

// TestUndone: the history says which change takes back which, and is taken back.
func TestUndone(t *testing.T) {
	s := newSite(t)
	s.do("PUT", "/api/v1/nodes/"+node1, `{"name":"undo me"}`).want(t, http.StatusOK)
	lines := func(path string, n int) []provisioning.Change {
		t.Helper()
		got := decode[[]provisioning.Change](t, s.do("GET", path+"?limit="+strconv.Itoa(n), "").want(t, http.StatusOK))
		if len(got) != n {
			t.Fatalf("%s: %d changes", path, len(got))
		}
		return got
	}
	undo := func(id int64) {
		t.Helper()
		s.do("POST", fmt.Sprintf("/api/v1/history/%d/undo", id), "").want(t, http.StatusOK)
	}
	first := lines("/api/v1/history", 1)[0].ID
	undo(first)
	for _, path := range []string{"/api/v1/history", "/api/v1/nodes/" + node1 + "/history"} {
		if got := lines(path, 2); got[0].Undoes != first || got[0].UndoneBy != 0 || got[1].Undoes != 0 || got[1].UndoneBy != got[0].ID {
			t.Errorf("%s: %+v", path, got)
		}
	}
	second := lines("/api/v1/history", 1)[0].ID
	undo(second) // the name is back
	if got := lines("/api/v1/history", 3); got[0].Undoes != second || got[1].UndoneBy != got[0].ID || got[2].UndoneBy != 0 {
		t.Errorf("what was taken back is, and what that took back is not any more: %+v", got)
	}
}

func TestFarmers(t *testing.T) {
	s := newSite(t)
	if f := decode[provisioning.Farmer](t, s.do("POST", "/api/v1/farmers", `{"id":9,"name":" Nine "}`).want(t, http.StatusCreated)); f.Name != "Nine" {
		t.Errorf("registered as %q", f.Name)
	}
	if f := decode[provisioning.Farmer](t, s.do("PUT", "/api/v1/farmers/9", `{"name":"  The ninth"}`).want(t, http.StatusOK)); f.Name != "The ninth" {
		t.Errorf("renamed to %q", f.Name)
	}
	s.do("POST", "/api/v1/farmers", `{"id":9,"name":"Nine"}`).want(t, http.StatusConflict)
	s.do("POST", "/api/v1/farmers", `{"id":0}`).want(t, http.StatusBadRequest)
	s.do("DELETE", "/api/v1/farmers/5", "").want(t, http.StatusConflict)
	s.do("DELETE", "/api/v1/farmers/x", "").want(t, http.StatusBadRequest)
	s.do("DELETE", "/api/v1/farmers/9", "").want(t, http.StatusNoContent)
	s.do("DELETE", "/api/v1/farmers/9", "").want(t, http.StatusNotFound)
	if got := decode[[]provisioning.Farmer](t, s.do("GET", "/api/v1/farmers", "").want(t, http.StatusOK)); len(got) != 3 {
		t.Errorf("farmers %v", got)
	}
}

func TestStatusAndCheck(t *testing.T) {
	s := newSite(t)
	type runMode struct {
		RunMode, Name string
		Kernel        bool
	}
	st := decode[struct {
		Version  string
		Role     provisioning.Role
		Farmer   provisioning.FarmerID
		RunModes []runMode
	}](t, s.send(s.request("GET", "/api/v1/status", s.tokens.five, "")).want(t, http.StatusOK))
	if st.Version != "test" || st.Role != "farmer" || st.Farmer != five || len(st.RunModes) != 4 || st.RunModes[0] != (runMode{"prod", "Production", true}) || st.RunModes[1].Kernel {
		t.Errorf("status %+v", st)
	}
	type report struct {
		Cmdline  string
		Findings []struct{ Severity, Message string }
	}
	fine := decode[report](t, s.do("GET", "/api/v1/check?runmode=prod&farmer=5&args=console%3DttyS0", "").want(t, http.StatusOK))
	if fine.Cmdline != "nomodeset version=v3 runmode=prod farmer_id=5 console=ttyS0" || len(fine.Findings) != 0 {
		t.Errorf("%+v", fine)
	}
	gone := decode[report](t, s.do("GET", "/api/v1/check?runmode=test", "").want(t, http.StatusOK))
	if len(gone.Findings) != 1 || gone.Findings[0].Severity != "warning" || !strings.Contains(gone.Findings[0].Message, "missing kernel net/test.efi") {
		t.Errorf("of a run mode without a kernel %+v", gone)
	}
	bad := decode[report](t, s.do("GET", "/api/v1/check?runmode=prod&args=farmer_id%3D6", "").want(t, http.StatusOK))
	if bad.Cmdline != "" || len(bad.Findings) != 1 || bad.Findings[0].Severity != "error" {
		t.Errorf("%+v", bad)
	}
}
