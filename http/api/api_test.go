package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	apphttp "farmboot/http"
	"farmboot/http/answer"
	"farmboot/http/api"
	"farmboot/http/authn"
	"farmboot/ipxe"
	"farmboot/ipxe/kernel"
	"farmboot/ipxe/kernel/kerneltest"
	"farmboot/ipxe/rollout"
	"farmboot/provisioning"
	"farmboot/provisioning/recorder"
	"farmboot/provisioning/registry"
	"farmboot/provisioning/sqlite"
)

// waitLimit is how long a test waits for what happens at once.
const waitLimit = 30 * time.Second

var runModes = provisioning.RunModes{"prod": "Production", "test": "Testing", "dev": "Development", "qa": "QA"}

// Who is who in the tests: farmer five has node1, farmer six node2, and spare is
// nobody's.
const (
	five  provisioning.FarmerID = 5
	six   provisioning.FarmerID = 6
	node1                       = "52:54:00:00:00:01"
	node2                       = "52:54:00:00:00:02"
	spare                       = "52:54:00:00:00:03"
	wild                        = "52:54:00:00:00:99" // seen, not registered
)

// site is an appliance's API, served on a real socket.
type site struct {
	*api.API
	t        testing.TB
	handler  http.Handler
	url      string
	folder   string // of the kernels
	store    *sqlite.Store
	recorder *recorder.Recorder
	tokens   tokens
	stop     chan struct{} // close it to stop the daemon
}

// tokens are the secrets of the three.
type tokens struct{ admin, five, six string }

var root = provisioning.Actor{Name: "root", Role: provisioning.RoleAdmin, From: "cli"}

// clock is the time on the wall, as stores keep it.
func clock() time.Time { return time.Now().UTC().Truncate(time.Millisecond) }

// seed makes a database that tests start from, and the tokens in it.
func seed(t testing.TB) (file string, tok tokens) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "seed.db")
	store, err := sqlite.Open(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	registry := registry.New(store, rules(kernel.Open(t.TempDir(), t.TempDir())), clock)
	ctx := t.Context()
	for _, n := range []provisioning.Node{{MAC: mac(t, node1), Farmer: five}, {MAC: mac(t, node2), Farmer: six}, {MAC: mac(t, spare)}} {
		if _, err := registry.AddNode(ctx, root, n); err != nil {
			t.Fatal(err)
		}
	}
	for _, token := range []struct {
		to     *string
		role   provisioning.Role
		farmer provisioning.FarmerID
	}{{&tok.admin, provisioning.RoleAdmin, 0}, {&tok.five, provisioning.RoleFarmer, five}, {&tok.six, provisioning.RoleFarmer, six}} {
		if _, *token.to, err = registry.AddToken(ctx, root, provisioning.Token{Role: token.role, Farmer: token.farmer}); err != nil {
			t.Fatal(err)
		}
	}
	_, _, added := registry.AddFarmer(ctx, root, provisioning.Farmer{ID: 7, Name: "no nodes"})
	if err := errors.Join(added, see(ctx, store, mac(t, wild)), store.Close()); err != nil {
		t.Fatal(err)
	}
	return file, tok
}

// TestInventory lists nodes with their machines, whole and by the page.
func TestInventory(t *testing.T) {
	s := newSite(t)
	err := s.store.Update(t.Context(), func(tx provisioning.Tx) error {
		return tx.PutSeen(t.Context(), provisioning.Discovered{MAC: mac(t, node1), Machine: provisioning.Machine{Arch: "UEFI x64"}, FirstSeen: clock(), LastSeen: clock(), Boots: 1, Code: "AAAAAA"})
	})
	if err != nil {
		t.Fatal(err)
	}
	for path, machines := range map[string]int{
		"/api/v1/nodes?machine": 1, "/api/v1/nodes?machine=1&limit=2": 1, "/api/v1/nodes?machine=true&farmer=77": 0, "/api/v1/nodes?machine=0": 0, "/api/v1/nodes": 0,
	} {
		r := s.do("GET", path, "").want(t, http.StatusOK)
		found := 0
		for _, n := range decode[[]provisioning.MachineNode](t, r) {
			if n.Machine == nil {
				continue
			}
			if found++; n.MAC.String() != node1 || n.Machine.Arch != "UEFI x64" || n.Machine.Boots != 1 {
				t.Errorf("%s: %+v", path, n)
			}
		}
		if found != machines {
			t.Errorf("%s: %d machines, want %d:\n%s", path, found, machines, r.body)
		}
	}
	s.do("GET", "/api/v1/nodes?machine=perhaps", "").want(t, http.StatusBadRequest)
}

// see makes store know m as a machine that netbooted, with the claim code K7MC3X.
func see(ctx context.Context, store provisioning.Store, m provisioning.MAC) error {
	return store.Update(ctx, func(tx provisioning.Tx) error {
		return tx.PutSeen(ctx, provisioning.Discovered{
			MAC: m, Machine: provisioning.Machine{Arch: "UEFI x64", Firmware: "PXEClient"},
			FirstSeen: clock(), LastSeen: clock(), Boots: 1, Code: "K7MC3X",
		})
	})
}

func rules(kernels *kernel.Store) registry.Rules {
	return registry.Rules{
		Vendor:   func(provisioning.MAC) string { return "QEMU" },
		RunModes: runModes, RunMode: "prod",
		CheckNode:    composer().CheckNode,
		Warnings:     func(n provisioning.Node) []string { return composer().Warnings(ipxe.NodeTarget(n)) },
		KernelExists: func(name string) error { _, err := kernels.Stat(name); return err },
	}
}

// healthy is an appliance with one socket and one problem.
func healthy() api.Health {
	return api.Health{
		Listeners: []api.Listener{{Service: "tftp", Address: "udp 192.0.2.1:69", Interface: "eth0"}},
		Problems:  []api.Problem{{What: "network", Why: "there is no eth1", StopsBoots: true}},
		Config:    api.Config{File: "/etc/farmboot/appliance.toml", Digest: "d1", Reread: api.Reread{NeedsRestart: []string{"http.port"}, RereadDigest: "d2"}},
	}
}

func composer() ipxe.Composer {
	return ipxe.Composer{KernelArgs: "nomodeset version=v3", RunModes: runModes}
}

// newSite serves the API on what seed made.
func newSite(t testing.TB) *site {
	t.Helper()
	file, tok := seed(t)
	return serve(t, file, tok)
}

// serve serves the API on a copy of that database.
func serve(t testing.TB, file string, tok tokens) *site {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	db := filepath.Join(dir, "provisioning.db")
	if err := os.WriteFile(db, data, 0o600); err != nil {
		t.Fatal(err)
	}
	store, err := sqlite.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	metrics, log := prometheus.NewRegistry(), slog.New(slog.DiscardHandler)
	s := &site{t: t, folder: filepath.Join(dir, "kernel"), store: store, tokens: tok, stop: make(chan struct{})}
	s.recorder = recorder.New(store, recorder.Retention{}, log, metrics, clock)
	kernels := kernel.Open(s.folder, filepath.Join(s.folder, "net"))
	for _, name := range []string{"old.efi", "used.efi", "free.efi"} {
		if err := kernels.Put(name, strings.NewReader(kernelText(name)), kernel.Want{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := kernels.Point("prod", "used.efi", false); err != nil {
		t.Fatal(err)
	}
	registry := registry.New(store, rules(kernels), clock)
	editor := kernel.NewEditor(kernels, registry)
	s.API = &api.API{
		Answer: answer.NewAdapter(log, clock, metrics), Registry: registry, Subscribe: s.recorder.Subscribe,
		Kernels: kernels, KernelEditor: editor, Rollout: rollout.New(store, kernels, editor, clock), Composer: composer, Health: healthy, Authenticate: authn.Bearer(registry), Throttle: authn.NewThrottle(clock),
		Version: "test", Now: clock, Log: log, Enrolment: &enrolment{},
	}
	recording, stopRecording := context.WithCancel(t.Context())
	recorded := make(chan error, 1)
	go func() { recorded <- s.recorder.Run(recording) }()
	s.handler = stoppable(apphttp.Plane(s.API), s.stop)
	server := httptest.NewServer(s.handler)
	s.url = server.URL
	t.Cleanup(func() {
		select {
		case <-s.stop:
		default:
			close(s.stop)
		}
		server.Close()
		stopRecording()
		if err := errors.Join(<-recorded, store.Close()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// kernelText is a file that passes for a kernel.
func kernelText(what string) string { return kerneltest.EFI(what) }

func mac(t testing.TB, s string) provisioning.MAC {
	t.Helper()
	m, err := provisioning.ParseMAC(s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// request makes a request with a token; options change it.
func (s *site) request(method, path, token, body string, options ...func(*http.Request)) *http.Request {
	s.t.Helper()
	var from io.Reader
	if body != "" {
		from = strings.NewReader(body)
	}
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, from)
	if err != nil {
		s.t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, change := range options {
		change(r)
	}
	return r
}

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

// reply is an answer, read whole.
type reply struct {
	status int
	header http.Header
	body   []byte
}

func (s *site) send(r *http.Request) reply {
	s.t.Helper()
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	answer := reply{res.StatusCode, res.Header, body}
	conform(s.t, r, answer)
	if answer.status < 300 {
		conformRequest(s.t, r)
	}
	return answer
}

// do sends a request as an admin.
func (s *site) do(method, path, body string, options ...func(*http.Request)) reply {
	s.t.Helper()
	return s.send(s.request(method, path, s.tokens.admin, body, options...))
}

// want fails the test if the status is another.
func (r reply) want(t testing.TB, status int) reply {
	t.Helper()
	if r.status != status {
		t.Errorf("status %d, want %d: %s", r.status, status, r.body)
	}
	return r
}

// decode reads the JSON of an answer.
func decode[T any](t testing.TB, r reply) (v T) {
	t.Helper()
	if err := json.NewDecoder(bytes.NewReader(r.body)).Decode(&v); err != nil {
		t.Fatalf("answer %s: %v", r.body, err)
	}
	return v
}

// problem reads the code and message of a refusal.
func (r reply) problem(t testing.TB) answer.Problem {
	t.Helper()
	return decode[struct{ Error answer.Problem }](t, r).Error
}

func TestNodes(t *testing.T) {
	s := newSite(t)
	r := s.do("POST", "/api/v1/nodes", `{"mac":"5254.0000.00B1","farmer":1234,"runmode":"test","args":"console=ttyS0","name":"Rack 1"}`).want(t, http.StatusCreated)
	const stored = `{"mac":"52:54:00:00:00:b1","farmer":1234,"runmode":"test","args":"console=ttyS0","kernel":"","name":"Rack 1"}` + "\n"
	if string(r.body) != stored || r.header.Get("Location") != "/api/v1/nodes/52:54:00:00:00:b1" {
		t.Errorf("answer %s, Location %q", r.body, r.header.Get("Location"))
	}
	s.do("POST", "/api/v1/nodes", `{"mac":"52:54:00:00:00:b1"}`).want(t, http.StatusConflict)
	if r := s.do("GET", "/api/v1/nodes/52-54-00-00-00-B1", "").want(t, http.StatusOK); string(r.body) != stored {
		t.Errorf("answer %s", r.body)
	}
	n := decode[provisioning.Node](t, s.do("PUT", "/api/v1/nodes/5254000000b1", `{"runmode":"dev","args":""}`).want(t, http.StatusOK))
	if want := (provisioning.Node{MAC: mac(t, "5254000000b1"), Farmer: 1234, RunMode: "dev", Name: "Rack 1"}); n != want {
		t.Errorf("node %+v, want %+v", n, want)
	}
	s.do("PUT", "/api/v1/nodes/"+node1, `{"mac":"52:54:00:00:00:b1"}`).want(t, http.StatusBadRequest)
	s.do("PUT", "/api/v1/nodes/52:54:00:00:0b:ad", `{"name":"x"}`).want(t, http.StatusNotFound)
	s.do("DELETE", "/api/v1/nodes/5254000000b1", "").want(t, http.StatusNoContent)
	s.do("DELETE", "/api/v1/nodes/5254000000b1", "").want(t, http.StatusNotFound)
	s.do("GET", "/api/v1/nodes/5254000000b1", "").want(t, http.StatusNotFound)

	for path, want := range map[string][]string{
		"/api/v1/nodes":                         {node1, node2, spare},
		"/api/v1/nodes/":                        {node1, node2, spare},
		"/api/v1/nodes?farmer=5":                {node1},
		"/api/v1/nodes?farmer=77":               {},
		"/api/v1/nodes?runmode=dev":             {},
		"/api/v1/nodes?mac=52:54:00:00:00:02":   {node2},
		"/api/v1/nodes?text=nothing":            {},
		"/api/v1/nodes?after=52:54:00:00:00:02": {spare},
	} {
		r := s.do("GET", path, "").want(t, http.StatusOK)
		if got := macs(decode[[]provisioning.Node](t, r)); fmt.Sprint(got) != fmt.Sprint(want) || !bytes.HasPrefix(r.body, []byte("[")) {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
}

func macs(nodes []provisioning.Node) []string {
	list := []string{}
	for _, n := range nodes {
		list = append(list, n.MAC.String())
	}
	return list
}

// TestLongLists reads a list whole, and page by page.
func TestLongLists(t *testing.T) {
	s := newSite(t)
	var csv strings.Builder
	csv.WriteString("mac\n")
	const many = 2500
	for i := range many {
		fmt.Fprintf(&csv, "5254aa%06x\n", i)
	}
	s.do("POST", "/api/v1/nodes/import", csv.String(), header("Content-Type", "text/csv; charset=utf-8")).want(t, http.StatusOK)
	all := macs(decode[[]provisioning.Node](t, s.do("GET", "/api/v1/nodes?mac=52:54:aa", "").want(t, http.StatusOK)))
	if len(all) != many {
		t.Errorf("%d nodes, want %d", len(all), many)
	}
	var paged []string
	for next := "/api/v1/nodes?mac=5254aa&limit=999"; next != ""; {
		r := s.do("GET", next, "").want(t, http.StatusOK)
		paged = append(paged, macs(decode[[]provisioning.Node](t, r))...)
		next, _, _ = strings.Cut(strings.TrimPrefix(r.header.Get("Link"), "<"), ">")
		if after := r.header.Get("X-Next-After"); next != "" && after != paged[len(paged)-1] {
			t.Fatalf("X-Next-After %q, last is %s", after, paged[len(paged)-1])
		}
	}
	if fmt.Sprint(paged) != fmt.Sprint(all) {
		t.Errorf("paged: %d nodes", len(paged))
	}
}

// TestManyAtOnce: clients who write, list and follow at once do not get into each
// other's way.
func TestManyAtOnce(t *testing.T) {
	s := newSite(t)
	follower := s.follow(t, "/api/v1/events/stream", s.tokens.admin)
	var clients sync.WaitGroup
	for client := range 6 {
		clients.Go(func() {
			for i := range 10 {
				path := fmt.Sprintf("/api/v1/nodes/52:54:cc:00:%02x:%02x", client, i)
				node := fmt.Sprintf(`{"mac":"5254cc00%02x%02x","farmer":%d}`, client, i, 1+i%3)
				s.do("POST", "/api/v1/nodes", node).want(t, http.StatusCreated)
				s.do("GET", "/api/v1/nodes?mac=5254cc", "").want(t, http.StatusOK)
				s.do("PUT", path, `{"name":"x"}`).want(t, http.StatusOK)
				s.do("PUT", "/api/v1/kernels/old.efi", kernelText(path), binary).want(t, http.StatusOK)
				s.do("PUT", "/api/v1/kernels/net/qa", `{"kernel":"old.efi"}`).want(t, http.StatusOK)
				s.do("DELETE", path, "").want(t, http.StatusNoContent)
			}
			s.happen(node1, fmt.Sprint(client))
		})
	}
	clients.Wait()
	follower.details(6)
	if got := decode[[]provisioning.Node](t, s.do("GET", "/api/v1/nodes?mac=5254cc", "")); len(got) != 0 {
		t.Errorf("%d nodes are left", len(got))
	}
}

// stoppable serves h as a daemon does that stops when stop is closed.
func stoppable(h http.Handler, stop <-chan struct{}) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.ServeHTTP(w, r.WithContext(answer.WithStop(r.Context(), stop)))
	})
}
