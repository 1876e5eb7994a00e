package registry_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"farmboot/provisioning"
	"farmboot/provisioning/boots"
	"farmboot/provisioning/registry"
	"farmboot/provisioning/sqlite"
	"farmboot/provisioning/storetest"
	"farmboot/provisioning/story"
)

var (
	admin  = provisioning.Actor{Name: "root", Role: provisioning.RoleAdmin, From: "cli"}
	five   = provisioning.Actor{Name: "token FIVE", Role: provisioning.RoleFarmer, Farmer: 5, From: "10.0.0.5"}
	six    = provisioning.Actor{Name: "token SIX", Role: provisioning.RoleFarmer, Farmer: 6, From: "10.0.0.6"}
	nobody = provisioning.Actor{Name: "nobody"}
)

var rules = registry.Rules{
	RunModes: provisioning.RunModes{"prod": "", "test": ""},
	RunMode:  "prod",
	CheckNode: func(n provisioning.Node) error {
		if strings.Contains(n.Args, "bad") {
			return provisioning.Errorf(provisioning.Invalid, "bad arguments")
		}
		return nil
	},
	KernelExists: func(name string) error {
		if name != "k.efi" {
			return provisioning.Errorf(provisioning.NotFound, "no kernel %s", name)
		}
		return nil
	},
}

// clock is a time that tests turn.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func newRegistry(t *testing.T) (*registry.Registry, *sqlite.Store, *clock) {
	t.Helper()
	s, c := storetest.SQLite(t), &clock{storetest.Noon}
	return registry.New(s, rules, c.now), s, c
}

func wantCode(t *testing.T, what string, err error, want provisioning.Code) {
	t.Helper()
	if got := provisioning.ErrorCode(err); got != want {
		t.Errorf("%s: error code %q, want %q: %v", what, got, want, err)
	}
}

// give makes a node of that farmer.
func give(t *testing.T, r *registry.Registry, n int, f provisioning.FarmerID) {
	t.Helper()
	if _, err := r.AddNode(t.Context(), admin, provisioning.Node{MAC: storetest.MAC(n), Farmer: f}); err != nil {
		t.Fatal(err)
	}
}

func to[T any](v T) *T { return &v }

// TestOnceIsOnce: another boot for once, through the store and back.
func TestOnceIsOnce(t *testing.T) {
	r, store, _ := newRegistry(t)
	ctx := t.Context()
	if _, err := r.AddNode(ctx, admin, provisioning.Node{MAC: storetest.MAC(1), RunMode: "prod"}); err != nil {
		t.Fatal(err)
	}
	exit := provisioning.OnceExit
	if _, err := r.SetNode(ctx, admin, storetest.MAC(1), provisioning.NodePatch{Once: &exit}); err != nil {
		t.Fatal(err)
	}
	assigner := provisioning.NewAssigner(store, provisioning.Unknown{}, time.Now)
	first, err := assigner.Admit(ctx, storetest.MAC(1))
	if err != nil || first.Policy != provisioning.Exit || !first.Once || !first.Registered {
		t.Fatalf("first boot %+v, %v", first, err)
	}
	if err := assigner.Consume(ctx, first); err != nil {
		t.Fatal(err)
	}
	second, err := assigner.Admit(ctx, storetest.MAC(1))
	if err != nil || second.Policy != provisioning.Boot || second.Once {
		t.Errorf("second boot %+v, %v", second, err)
	}
}

// TestTokenEnds: a token, and a session that began with it, end when it expires.
func TestTokenEnds(t *testing.T) {
	r, _, clock := newRegistry(t)
	ctx := t.Context()
	made, secret, err := r.AddToken(ctx, admin, provisioning.Token{Role: provisioning.RoleAdmin, Name: "lab", Expires: clock.t.Add(time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
	cookie, err := r.SignIn(ctx, secret)
	if err != nil {
		t.Fatal(err)
	}
	by, err := r.Authenticate(ctx, secret, "")
	if err != nil || by.Name != "token "+made.ID+" (lab)" {
		t.Errorf("%+v, %v", by, err)
	}
	clock.t = clock.t.Add(time.Hour)
	_, err = r.Authenticate(ctx, secret, "")
	wantCode(t, "token", err, provisioning.Unauthorized)
	_, err = r.Session(ctx, cookie, "")
	wantCode(t, "session", err, provisioning.Unauthorized)
	_, err = r.SignIn(ctx, secret)
	wantCode(t, "sign in", err, provisioning.Unauthorized)
}

// TestReadOnlyActor: whoever may only look changes nothing, whatever the way.
func TestReadOnlyActor(t *testing.T) {
	r, _, _ := newRegistry(t)
	ctx := t.Context()
	looker := provisioning.Actor{Name: "token L", Role: provisioning.RoleAdmin, ReadOnly: true}
	if _, err := r.AddNode(ctx, admin, provisioning.Node{MAC: storetest.MAC(1), RunMode: "prod"}); err != nil {
		t.Fatal(err)
	}
	name := "x"
	for what, change := range map[string]func() error{
		"add": func() error {
			_, err := r.AddNode(ctx, looker, provisioning.Node{MAC: storetest.MAC(2), RunMode: "prod"})
			return err
		},
		"set": func() error {
			_, err := r.SetNode(ctx, looker, storetest.MAC(1), provisioning.NodePatch{Name: &name})
			return err
		},
		"remove": func() error { return r.RemoveNode(ctx, looker, storetest.MAC(1)) },
		"farmer": func() error { _, _, err := r.AddFarmer(ctx, looker, provisioning.Farmer{ID: 9}); return err },
		"token": func() error {
			_, _, err := r.AddToken(ctx, looker, provisioning.Token{Role: provisioning.RoleAdmin})
			return err
		},
		"note": func() error { return r.Note(ctx, looker, "kernel add", "k", nil, nil) },
	} {
		if err := change(); provisioning.ErrorCode(err) != provisioning.Forbidden {
			t.Errorf("%s: %v", what, err)
		}
	}
	if nodes, err := r.Nodes(ctx, looker, provisioning.NodeQuery{}); err != nil || len(nodes) != 1 || nodes[0].Name != "" {
		t.Errorf("nodes %+v, %v", nodes, err)
	}
}

func TestAddAndSet(t *testing.T) {
	r, _, c := newRegistry(t)
	ctx := t.Context()
	n, err := r.AddNode(ctx, admin, provisioning.Node{MAC: storetest.MAC(1), Farmer: 5, Kernel: "k.efi"})
	wantCode(t, "add", err, "")
	want := provisioning.Node{MAC: storetest.MAC(1), Farmer: 5, RunMode: "prod", Kernel: "k.efi", Created: c.t, Updated: c.t, Owned: c.t}
	if diff := cmp.Diff(want, n); diff != "" {
		t.Errorf("added (-want +got):\n%s", diff)
	}
	farmers, err := r.Farmers(ctx, admin)
	if err != nil || len(farmers) != 1 || farmers[0].ID != 5 {
		t.Errorf("farmers %v, %v, want the one that the node named", farmers, err)
	}
	_, err = r.AddNode(ctx, admin, provisioning.Node{MAC: storetest.MAC(1)})
	wantCode(t, "add again", err, provisioning.Conflict)

	c.t = c.t.Add(time.Hour)
	n, err = r.SetNode(ctx, admin, storetest.MAC(1), provisioning.NodePatch{Name: to("x"), Args: to("a")})
	wantCode(t, "set", err, "")
	want.Name, want.Args, want.Updated = "x", "a", c.t
	if diff := cmp.Diff(want, n); diff != "" {
		t.Errorf("changed (-want +got):\n%s", diff)
	}
	stored, err := r.Node(ctx, admin, storetest.MAC(1))
	if diff := cmp.Diff(want, stored); diff != "" || err != nil {
		t.Errorf("stored, %v (-want +got):\n%s", err, diff)
	}
	history, err := r.NodeHistory(ctx, admin, storetest.MAC(1), 10)
	wantCode(t, "history", err, "")
	var lines []string
	for _, c := range history {
		lines = append(lines, fmt.Sprintf("%s %s %s %s->%s", c.Actor, c.From, c.Action, c.Before, c.After))
	}
	wantLines := []string{
		`root cli node set {"mac":"52:54:00:00:00:01","farmer":5,"runmode":"prod","args":"","kernel":"k.efi","name":""}->{"mac":"52:54:00:00:00:01","farmer":5,"runmode":"prod","args":"a","kernel":"k.efi","name":"x"}`,
		`root cli node add ->{"mac":"52:54:00:00:00:01","farmer":5,"runmode":"prod","args":"","kernel":"k.efi","name":""}`,
	}
	if diff := cmp.Diff(wantLines, lines); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
	// What changes nothing is no change.
	_, err = r.SetNode(ctx, admin, storetest.MAC(1), provisioning.NodePatch{Name: to("x")})
	wantCode(t, "set to the same", err, "")
	if again, err := r.NodeHistory(ctx, admin, storetest.MAC(1), 10); err != nil || len(again) != 2 {
		t.Errorf("history has %d lines, %v, want 2", len(again), err)
	}
	for _, f := range []func() error{
		func() error {
			_, err := r.SetNode(ctx, admin, storetest.MAC(2), provisioning.NodePatch{Name: to("x")})
			return err
		},
		func() error { return r.RemoveNode(ctx, admin, storetest.MAC(2)) },
		func() error { _, err := r.Node(ctx, admin, storetest.MAC(2)); return err },
	} {
		wantCode(t, "missing node", f(), provisioning.NotFound)
	}
	wantCode(t, "remove", r.RemoveNode(ctx, admin, storetest.MAC(1)), "")
	_, err = r.Node(ctx, admin, storetest.MAC(1))
	wantCode(t, "removed node", err, provisioning.NotFound)
}

// TestStoryOfTheLastBoot is that of the newest events, whatever there was before, and
// of the time that it is asked for.
func TestStoryOfTheLastBoot(t *testing.T) {
	r, s, c := newRegistry(t)
	ctx, began := t.Context(), c.t
	err := s.UpdateUnsynced(ctx, func(tx provisioning.Tx) error {
		var events []provisioning.Event
		for i := range 1000 {
			events = append(events, provisioning.Event{At: began.Add(time.Duration(i-1000) * time.Hour), MAC: storetest.MAC(1), Stage: provisioning.StageDiscover})
		}
		return boots.AddEvents(ctx, tx, append(events, provisioning.Event{At: began, MAC: storetest.MAC(1), Stage: provisioning.StageDiscover}))
	})
	wantCode(t, "put", err, "")
	for after, want := range map[time.Duration]story.State{time.Second: story.Booting, time.Hour: story.Stalled} {
		c.t = began.Add(after)
		last, err := r.Story(ctx, admin, storetest.MAC(1))
		if err != nil || last.State != want || !last.Began.Equal(began) || len(last.Steps) != 1 {
			t.Errorf("after %s: %+v, %v, want %s since %s", after, last, err, want, began)
		}
	}
}

func TestRemoveNodes(t *testing.T) {
	r, s, _ := newRegistry(t)
	ctx := t.Context()
	for i := range 4 {
		give(t, r, i, provisioning.FarmerID(5+i%2))
	}
	give(t, r, 4, 0)
	macs := func(ns ...int) (list []provisioning.MAC) {
		for _, n := range ns {
			list = append(list, storetest.MAC(n))
		}
		return list
	}
	for _, test := range []struct {
		name string
		by   provisioning.Actor
		macs []provisioning.MAC
		code provisioning.Code
		says string
		left int
	}{
		{"one is missing", admin, macs(0, 1, 9), provisioning.NotFound, "nothing was removed: no node 52:54:00:00:00:09 is registered", 5},
		{"one is another's", five, macs(0, 1), provisioning.Forbidden, "nothing was removed: node 52:54:00:00:00:01 is not yours", 5},
		{"one is nobody's", five, macs(0, 4), provisioning.Forbidden, "nothing was removed: node 52:54:00:00:00:04 is not yours", 5},
		{"a missing one alone", admin, macs(9), provisioning.NotFound, "no node 52:54:00:00:00:09 is registered", 5},
		{"none", admin, nil, "", "", 5},
		{"his own", five, macs(0, 2), "", "", 3},
		{"one twice", admin, macs(1, 3, 1, 4), "", "", 0},
	} {
		err := r.RemoveNodes(ctx, test.by, test.macs)
		wantCode(t, test.name, err, test.code)
		if err != nil && err.Error() != test.says {
			t.Errorf("%s: %v, want %s", test.name, err, test.says)
		}
		left, err := s.Nodes(ctx, provisioning.NodeQuery{})
		if err != nil || len(left) != test.left {
			t.Errorf("%s: %d nodes left, %v, want %d", test.name, len(left), err, test.left)
		}
	}
	history, err := r.History(ctx, admin, provisioning.ChangeQuery{Limit: 5})
	wantCode(t, "history", err, "")
	var lines []string
	for _, c := range history {
		lines = append(lines, c.Actor+" "+c.Action+" "+c.Subject)
	}
	want := []string{"root node rm 52:54:00:00:00:04", "root node rm 52:54:00:00:00:03", "root node rm 52:54:00:00:00:01", "token FIVE node rm 52:54:00:00:00:02", "token FIVE node rm 52:54:00:00:00:00"}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Errorf("history (-want +got):\n%s", diff)
	}
}

// enrolments cannot be ended for one of the nodes.
type enrolments map[provisioning.MAC]bool

func (e enrolments) Enrolling(m provisioning.MAC) bool { return e[m] }

func (e enrolments) Enrolled(m provisioning.MAC) error {
	if m == storetest.MAC(1) {
		return errors.New("the disk broke")
	}
	delete(e, m)
	return nil
}

// TestEnrolmentsThatCannotEnd: one that cannot be ended keeps no other one.
func TestEnrolmentsThatCannotEnd(t *testing.T) {
	r, _, _ := newRegistry(t)
	enrolling := enrolments{}
	r.EndEnrolments(enrolling)
	var macs []provisioning.MAC
	for n := range 3 {
		give(t, r, n, 5)
		macs = append(macs, storetest.MAC(n))
		enrolling[storetest.MAC(n)] = true
	}
	err := r.RemoveNodes(t.Context(), admin, macs)
	if err == nil || !strings.Contains(err.Error(), storetest.MAC(1).String()+" is removed, and is to be enrolled still: the disk broke") {
		t.Error(err)
	}
	if len(enrolling) != 1 {
		t.Errorf("to be enrolled still: %v", enrolling)
	}
}

func TestRefusedNodes(t *testing.T) {
	r, _, _ := newRegistry(t)
	for name, n := range map[string]provisioning.Node{
		"run mode":      {MAC: storetest.MAC(1), RunMode: "moon"},
		"arguments":     {MAC: storetest.MAC(1), Args: "bad"},
		"kernel":        {MAC: storetest.MAC(1), Kernel: "gone.efi"},
		"name":          {MAC: storetest.MAC(1), Name: "two\nlines"},
		"long name":     {MAC: storetest.MAC(1), Name: strings.Repeat("x", 201)},
		"no MAC at all": {},
	} {
		_, err := r.AddNode(t.Context(), admin, n)
		wantCode(t, name, err, provisioning.Invalid)
		if name == "no MAC at all" {
			continue
		}
		if _, err := r.Node(t.Context(), admin, n.MAC); provisioning.ErrorCode(err) != provisioning.NotFound {
			t.Errorf("%s: the node was stored, %v", name, err)
		}
	}
}

// TestKernelThatHasGone can be left as it is while something else is changed.
func TestKernelThatHasGone(t *testing.T) {
	r, s, _ := newRegistry(t)
	ctx := t.Context()
	err := s.Update(ctx, func(tx provisioning.Tx) error {
		return tx.PutNode(ctx, provisioning.Node{MAC: storetest.MAC(1), RunMode: "prod", Kernel: "gone.efi"})
	})
	wantCode(t, "put", err, "")
	_, err = r.SetNode(ctx, admin, storetest.MAC(1), provisioning.NodePatch{Name: to("x")})
	wantCode(t, "set", err, "")
}

func TestFarmers(t *testing.T) {
	r, _, _ := newRegistry(t)
	ctx := t.Context()
	add := func(f provisioning.Farmer) error {
		_, _, err := r.AddFarmer(ctx, admin, f)
		return err
	}
	wantCode(t, "add", add(provisioning.Farmer{ID: 5}), "")
	wantCode(t, "add again", add(provisioning.Farmer{ID: 5}), provisioning.Conflict)
	wantCode(t, "name", add(provisioning.Farmer{ID: 5, Name: "Five"}), "")
	wantCode(t, "name again", add(provisioning.Farmer{ID: 5, Name: "V"}), provisioning.Conflict)
	wantCode(t, "none", add(provisioning.Farmer{}), provisioning.Invalid)
	for _, name := range []string{"a\u202eb", "a\u2028b", "a\u2066b", "a\x85b", "\xff"} {
		wantCode(t, "bad name", add(provisioning.Farmer{ID: 7, Name: name}), provisioning.Invalid)
	}
	wantCode(t, "bad name", add(provisioning.Farmer{ID: 7, Name: "\x1b[31m"}), provisioning.Invalid)
	give(t, r, 1, 5)
	wantCode(t, "remove with nodes", r.RemoveFarmer(ctx, admin, 5), provisioning.Conflict)
	wantCode(t, "remove node", r.RemoveNode(ctx, admin, storetest.MAC(1)), "")
	wantCode(t, "remove", r.RemoveFarmer(ctx, admin, 5), "")
	wantCode(t, "remove again", r.RemoveFarmer(ctx, admin, 5), provisioning.NotFound)
}

func TestTokens(t *testing.T) {
	r, s, c := newRegistry(t)
	ctx := t.Context()
	_, secret, err := r.AddToken(ctx, admin, provisioning.Token{Role: provisioning.RoleFarmer, Farmer: 5})
	wantCode(t, "add", err, "")
	who, err := r.Authenticate(ctx, secret, "10.0.0.9")
	wantCode(t, "authenticate", err, "")
	tokens, err := r.Tokens(ctx, admin)
	if err != nil || len(tokens) != 1 {
		t.Fatalf("tokens %v, %v", tokens, err)
	}
	want := provisioning.Actor{Name: "token " + tokens[0].ID, Role: provisioning.RoleFarmer, Farmer: 5, From: "10.0.0.9"}
	if diff := cmp.Diff(want, who); diff != "" {
		t.Errorf("actor (-want +got):\n%s", diff)
	}
	if !tokens[0].LastUsed.Equal(c.t) {
		t.Errorf("last used %v, want %v", tokens[0].LastUsed, c.t)
	}
	for name, bad := range map[string]string{
		"empty":         "",
		"no prefix":     strings.TrimPrefix(secret, "farmboot_"),
		"id only":       "farmboot_" + tokens[0].ID,
		"id and bar":    "farmboot_" + tokens[0].ID + "_",
		"cut short":     secret[:len(secret)-1],
		"other secret":  "farmboot_" + tokens[0].ID + "_" + strings.Repeat("A", 43),
		"unknown token": "farmboot_AAAAAAAAAA_" + strings.Repeat("A", 43),
	} {
		_, err := r.Authenticate(ctx, bad, "")
		wantCode(t, name, err, provisioning.Unauthorized)
	}
	for name, f := range map[string]func() error{
		"unknown role": func() error { _, _, err := r.AddToken(ctx, admin, provisioning.Token{Role: "king"}); return err },
		"farmer without id": func() error {
			_, _, err := r.AddToken(ctx, admin, provisioning.Token{Role: provisioning.RoleFarmer})
			return err
		},
		"admin with a farmer": func() error {
			_, _, err := r.AddToken(ctx, admin, provisioning.Token{Role: provisioning.RoleAdmin, Farmer: 5})
			return err
		},
	} {
		wantCode(t, name, f(), provisioning.Invalid)
	}
	history, err := s.Changes(ctx, provisioning.ChangeQuery{})
	wantCode(t, "history", err, "")
	for _, line := range history {
		if strings.Contains(string(line.After), "hash") || strings.Contains(string(line.After), secret) {
			t.Errorf("the history tells a secret: %s", line.After)
		}
	}
	wantCode(t, "revoke", r.RemoveToken(ctx, admin, tokens[0].ID), "")
	_, err = r.Authenticate(ctx, secret, "")
	wantCode(t, "revoked", err, provisioning.Unauthorized)
	wantCode(t, "revoke again", r.RemoveToken(ctx, admin, tokens[0].ID), provisioning.NotFound)
}

// TestRoles asks for everything there is to ask for, as everybody.
func TestRoles(t *testing.T) {
	ok, no, missing := provisioning.Code(""), provisioning.Forbidden, provisioning.NotFound
	mine, theirs := storetest.MAC(5), storetest.MAC(6)
	for _, test := range []struct {
		name                      string
		run                       func(context.Context, *registry.Registry, provisioning.Actor) error
		admin, five, six, noRight provisioning.Code
	}{
		{"read 5's node", func(ctx context.Context, r *registry.Registry, a provisioning.Actor) error {
			_, err := r.Node(ctx, a, mine)
			return err
		}, ok, ok, no, no},
		{"list 5's nodes", func(ctx context.Context, r *registry.Registry, a provisioning.Actor) error {
			_, err := r.Nodes(ctx, a, provisioning.NodeQuery{Farmer: 5})
			return err
		}, ok, ok, no, no},
		{"list nodes", func(ctx context.Context, r *registry.Registry, a provisioning.Actor) error {
			_, err := r.Nodes(ctx, a, provisioning.NodeQuery{})
			return err
		}, ok, ok, ok, no},
		{"change 5's node", func(ctx context.Context, r *registry.Registry, a provisioning.Actor) error {
			_, err := r.SetNode(ctx, a, mine, provisioning.NodePatch{Name: to(a.Name)})
			return err
		}, ok, ok, no, no},
		{"give 5's node to 6", func(ctx context.Context, r *registry.Registry, a provisioning.Actor) error {
			_, err := r.SetNode(ctx, a, mine, provisioning.NodePatch{Farmer: to(provisioning.FarmerID(6))})
			return err
		}, ok, no, no, no},
		{"take 6's node", func(ctx context.Context, r *registry.Registry, a provisioning.Actor) error {
			_, err := r.SetNode(ctx, a, theirs, provisioning.NodePatch{Farmer: to(provisioning.FarmerID(5))})
			return err
		}, ok, no, no, no},
		{"make 5's node nobody's", func(ctx context.Context, r *registry.Registry, a provisioning.Actor) error {
			_, err := r.SetNode(ctx, a, mine, provisioning.NodePatch{Farmer: to(provisioning.FarmerID(0))})
			return err
		}, ok, no, no, no},
		{"remove 5's node", func(ctx context.Context, r *registry.Registry, a provisioning.Actor) error {
			return r.RemoveNode(ctx, a, mine)
		}, ok, ok, no, no},
		{"add a node for 5", func(ctx context.Context, r *registry.Registry, a provisioning.Actor) error {
			_, err := r.AddNode(ctx, a, provisioning.Node{MAC: storetest.MAC(7), Farmer: 5})
			return err
		}, ok, ok, no, no},
		{"add a node for oneself", func(ctx context.Context, r *registry.Registry, a provisioning.Actor) error {
			n, err := r.AddNode(ctx, a, provisioning.Node{MAC: storetest.MAC(7)})
			if err == nil && n.Farmer != a.Farmer {
				return fmt.Errorf("it became farmer %s's", n.Farmer)
			}
			return err
		}, ok, ok, ok, no},
		{"import over 5's node", func(ctx context.Context, r *registry.Registry, a provisioning.Actor) error {
			_, err := r.Import(ctx, a, []provisioning.Row{{Line: 1, MAC: mine, Patch: provisioning.NodePatch{Name: to("x")}}}, registry.ImportOptions{Update: true})
			return err
		}, ok, ok, no, no},
		{"events of 5's node", func(ctx context.Context, r *registry.Registry, a provisioning.Actor) error {
			_, err := r.NodeEvents(ctx, a, mine)
			return err
		}, ok, ok, no, no},
		{"events", func(ctx context.Context, r *registry.Registry, a provisioning.Actor) error {
			list, err := r.Events(ctx, a, provisioning.EventQuery{})
			for _, e := range list {
				if _, err := r.Node(ctx, a, e.MAC); err != nil && a.Role == provisioning.RoleFarmer {
					return fmt.Errorf("a farmer sees the event %v: %w", e, err)
				}
			}
			return err
		}, ok, ok, ok, no},
		{"story of 5's node", func(ctx context.Context, r *registry.Registry, a provisioning.Actor) error {
			_, err := r.Story(ctx, a, mine)
			return err
		}, ok, ok, no, no},
		{"history of 5's node", func(ctx context.Context, r *registry.Registry, a provisioning.Actor) error {
			_, err := r.NodeHistory(ctx, a, mine, 1)
			return err
		}, ok, ok, no, no},
		{"history of all", func(ctx context.Context, r *registry.Registry, a provisioning.Actor) error {
			_, err := r.History(ctx, a, provisioning.ChangeQuery{Limit: 1})
			return err
		}, ok, no, no, no},
		{"list farmers", func(ctx context.Context, r *registry.Registry, a provisioning.Actor) error {
			list, err := r.Farmers(ctx, a)
			if a.Role == provisioning.RoleFarmer && (len(list) != 1 || list[0].ID != a.Farmer) {
				return fmt.Errorf("a farmer sees %v", list)
			}
			return err
		}, ok, ok, ok, no},
		{"add a farmer", func(ctx context.Context, r *registry.Registry, a provisioning.Actor) error {
			_, _, err := r.AddFarmer(ctx, a, provisioning.Farmer{ID: 9})
			return err
		}, ok, no, no, no},
		{"remove a farmer", func(ctx context.Context, r *registry.Registry, a provisioning.Actor) error {
			return r.RemoveFarmer(ctx, a, 99)
		}, missing, no, no, no},
		{"list tokens", func(ctx context.Context, r *registry.Registry, a provisioning.Actor) error {
			_, err := r.Tokens(ctx, a)
			return err
		}, ok, no, no, no},
		{"make a token", func(ctx context.Context, r *registry.Registry, a provisioning.Actor) error {
			_, _, err := r.AddToken(ctx, a, provisioning.Token{Role: provisioning.RoleAdmin})
			return err
		}, ok, no, no, no},
		{"revoke a token", func(ctx context.Context, r *registry.Registry, a provisioning.Actor) error {
			return r.RemoveToken(ctx, a, "X")
		}, missing, no, no, no},
		{"count nodes", func(ctx context.Context, r *registry.Registry, a provisioning.Actor) error {
			n, err := r.CountNodes(ctx, a, provisioning.NodeQuery{Limit: 1})
			if want := map[provisioning.Role]int{provisioning.RoleAdmin: 2, provisioning.RoleFarmer: 1}[a.Role]; n != want {
				return fmt.Errorf("%d nodes, want %d: %w", n, want, err)
			}
			return err
		}, ok, ok, ok, no},
		{"count 5's nodes", func(ctx context.Context, r *registry.Registry, a provisioning.Actor) error {
			_, err := r.CountNodes(ctx, a, provisioning.NodeQuery{Farmer: 5})
			return err
		}, ok, ok, no, no},
		{"count nodes by farmer", func(ctx context.Context, r *registry.Registry, a provisioning.Actor) error {
			_, err := r.CountNodesByFarmer(ctx, a)
			return err
		}, ok, no, no, no},
		{"list discovered", func(ctx context.Context, r *registry.Registry, a provisioning.Actor) error {
			_, err := r.Discovered(ctx, a, 0)
			return err
		}, ok, no, no, no},
		{"claim by code", func(ctx context.Context, r *registry.Registry, a provisioning.Actor) error {
			_, err := r.ClaimByCode(ctx, a, "ACEFGH", provisioning.NodePatch{})
			return err
		}, ok, ok, ok, no},
		{"claim by code for 5", func(ctx context.Context, r *registry.Registry, a provisioning.Actor) error {
			_, err := r.ClaimByCode(ctx, a, "ACEFGH", provisioning.NodePatch{Farmer: to(provisioning.FarmerID(5))})
			return err
		}, ok, ok, no, no},
		{"claim by MAC address", func(ctx context.Context, r *registry.Registry, a provisioning.Actor) error {
			_, err := r.ClaimMAC(ctx, a, storetest.MAC(8), provisioning.NodePatch{})
			return err
		}, ok, no, no, no},
	} {
		for _, as := range []struct {
			actor provisioning.Actor
			want  provisioning.Code
		}{{admin, test.admin}, {five, test.five}, {six, test.six}, {nobody, test.noRight}} {
			t.Run(test.name+" as "+as.actor.Name, func(t *testing.T) {
				r, s, _ := newRegistry(t)
				give(t, r, 5, 5)
				give(t, r, 6, 6)
				err := s.Update(t.Context(), func(tx provisioning.Tx) error {
					return tx.PutSeen(t.Context(), provisioning.Discovered{MAC: storetest.MAC(8), Code: "ACEFGH"})
				})
				wantCode(t, "set up", err, "")
				wantCode(t, test.name, test.run(t.Context(), r, as.actor), as.want)
			})
		}
	}
}

func TestFarmerSeesHisNodesOnly(t *testing.T) {
	r, _, _ := newRegistry(t)
	for i := range 4 {
		give(t, r, i, provisioning.FarmerID(5+i%2))
	}
	nodes, err := r.Nodes(t.Context(), five, provisioning.NodeQuery{})
	if err != nil || len(nodes) != 2 || nodes[0].Farmer != 5 || nodes[1].Farmer != 5 {
		t.Errorf("nodes %v, %v, want the two of farmer 5", nodes, err)
	}
}

// TestFarmerLearnsNothingFromBefore: what a node was and did before it was his, as
// another farmer's or as nobody's, an admin is told and he is not.
func TestFarmerLearnsNothingFromBefore(t *testing.T) {
	r, s, c := newRegistry(t)
	ctx, mac := t.Context(), storetest.MAC(1)
	happens := func(detail string) {
		t.Helper()
		c.t = c.t.Add(time.Minute)
		err := s.Update(ctx, func(tx provisioning.Tx) error {
			return boots.AddEvents(ctx, tx, []provisioning.Event{{At: c.t, MAC: mac, Stage: provisioning.StageDiscover, Detail: detail}})
		})
		wantCode(t, "event", err, "")
		c.t = c.t.Add(time.Minute)
	}
	does := func(what string, err error) {
		t.Helper()
		wantCode(t, what, err, "")
	}
	set := func(by provisioning.Actor, p provisioning.NodePatch) {
		t.Helper()
		_, err := r.SetNode(ctx, by, mac, p)
		does("set", err)
	}
	// told is what by is told of the node: details of events, and its arguments in the history.
	told := func(by provisioning.Actor) string {
		t.Helper()
		var list []string
		mine, err := r.NodeEvents(ctx, by, mac)
		does("events of the node", err)
		all, err := r.Events(ctx, by, provisioning.EventQuery{})
		does("events", err)
		if diff := cmp.Diff(mine, all, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
			t.Errorf("%s: events of the node, and of all nodes (-+):\n%s", by.Name, diff)
		}
		everything, err := r.Events(ctx, admin, provisioning.EventQuery{})
		does("all events", err)
		for _, e := range everything {
			told := slices.ContainsFunc(mine, func(m provisioning.Event) bool { return m.ID == e.ID })
			if r.Concerns(ctx, by, e) != told {
				t.Errorf("%s: that the event %q concerns him is %t", by.Name, e.Detail, !told)
			}
			if told {
				list = append(list, e.Detail)
			}
		}
		last, err := r.Story(ctx, by, mac)
		does("story", err)
		if len(mine) == 0 && last.State != story.Unseen || len(mine) > 0 && last.Steps[0].At.Before(mine[0].At) {
			t.Errorf("%s is told the story %+v", by.Name, last)
		}
		list = append(list, "-")
		changes, err := r.NodeHistory(ctx, by, mac, 100)
		does("history", err)
		for _, change := range slices.Backward(changes) {
			var was, is provisioning.Node
			for to, from := range map[*provisioning.Node]json.RawMessage{&was: change.Before, &is: change.After} {
				if from != nil {
					does("read the history", json.Unmarshal(from, to))
				}
			}
			list = append(list, fmt.Sprintf("%s:%s>%s", strings.TrimPrefix(change.Action, "node "), was.Args, is.Args))
		}
		return strings.Join(list, " ")
	}
	happens("unknown")
	_, err := r.AddNode(ctx, five, provisioning.Node{MAC: mac, Args: "a"})
	does("add", err)
	happens("fives")
	set(five, provisioning.NodePatch{Args: to("b")})
	if got, want := told(five), "fives - add:>a set:a>b"; got != want {
		t.Errorf("farmer five is told %q, want %q", got, want)
	}
	does("remove", r.RemoveNode(ctx, five, mac))
	happens("nobodys")
	_, err = r.AddNode(ctx, six, provisioning.Node{MAC: mac, Args: "c"})
	does("add", err)
	if got, want := told(six), "- add:>c"; got != want {
		t.Errorf("farmer six is told %q, want %q", got, want)
	}
	happens("sixs")
	set(six, provisioning.NodePatch{Args: to("d")})
	if got, want := told(six), "sixs - add:>c set:c>d"; got != want {
		t.Errorf("farmer six is told %q, want %q", got, want)
	}
	set(admin, provisioning.NodePatch{Farmer: to(provisioning.FarmerID(5)), Args: to("e")})
	happens("fives-again")
	set(admin, provisioning.NodePatch{Args: to("f")})
	if got, want := told(five), "fives-again - set:>e set:e>f"; got != want {
		t.Errorf("farmer five is told %q, want %q", got, want)
	}
	set(admin, provisioning.NodePatch{Farmer: to(provisioning.FarmerID(0))})
	set(admin, provisioning.NodePatch{Farmer: to(provisioning.FarmerID(5))})
	if got, want := told(five), "- set:>f"; got != want {
		t.Errorf("farmer five is told %q, want %q", got, want)
	}
	const all = "unknown fives nobodys sixs fives-again - add:>a set:a>b rm:b> add:>c set:c>d set:d>e set:e>f set:f>f set:f>f"
	if got := told(admin); got != all {
		t.Errorf("an admin is told %q, want %q", got, all)
	}
}

func TestAllNodes(t *testing.T) {
	r, s, _ := newRegistry(t)
	ctx := t.Context()
	const many = 2500
	err := s.UpdateUnsynced(ctx, func(tx provisioning.Tx) error {
		for i := range many {
			if err := tx.PutNode(ctx, provisioning.Node{MAC: storetest.MAC(i), RunMode: "prod"}); err != nil {
				return err
			}
		}
		return nil
	})
	wantCode(t, "put", err, "")
	for _, limit := range []int{0, 1, 999, 1000, 1001, 2000, many, many + 1} {
		want := limit
		if limit == 0 || limit > many {
			want = many
		}
		seen := 0
		for n, err := range r.AllNodes(ctx, admin, provisioning.NodeQuery{Limit: limit}) {
			if err != nil || n.MAC != storetest.MAC(seen) {
				t.Fatalf("limit %d: node %d is %v, %v", limit, seen, n.MAC, err)
			}
			seen++
		}
		if seen != want {
			t.Errorf("limit %d: %d nodes, want %d", limit, seen, want)
		}
	}
	for n, err := range r.AllNodes(ctx, admin, provisioning.NodeQuery{Skip: many - 1}) {
		if err != nil || n.MAC != storetest.MAC(many-1) {
			t.Errorf("behind all others is %v, %v", n.MAC, err)
		}
	}
	for _, err := range r.AllNodes(ctx, nobody, provisioning.NodeQuery{}) {
		wantCode(t, "as nobody", err, provisioning.Forbidden)
	}
}

func TestImportIsAllOrNothing(t *testing.T) {
	r, s, _ := newRegistry(t)
	ctx := t.Context()
	give(t, r, 3, 5)
	good := provisioning.Row{Line: 2, MAC: storetest.MAC(1)}
	bad := provisioning.Row{Line: 3, MAC: storetest.MAC(2), Patch: provisioning.NodePatch{Farmer: to(provisioning.FarmerID(77)), Args: to("bad")}}
	known := provisioning.Row{Line: 4, MAC: storetest.MAC(3), Patch: provisioning.NodePatch{Name: to("x")}}
	for _, test := range []struct {
		name    string
		rows    []provisioning.Row
		opt     registry.ImportOptions
		code    provisioning.Code
		report  string
		written bool
	}{
		{"one bad line", []provisioning.Row{good, bad}, registry.ImportOptions{}, provisioning.Invalid, "1 added, 0 updated, 0 unchanged, 1 refused", false},
		{"a registered node", []provisioning.Row{good, known}, registry.ImportOptions{}, provisioning.Invalid, "1 added, 0 updated, 0 unchanged, 1 refused", false},
		{"dry run", []provisioning.Row{good, known}, registry.ImportOptions{Update: true, DryRun: true}, "", "1 added, 1 updated, 0 unchanged, 0 refused", false},
		{"nothing at all", nil, registry.ImportOptions{}, "", "0 added, 0 updated, 0 unchanged, 0 refused", true},
		{"without the bad line", []provisioning.Row{good, bad}, registry.ImportOptions{SkipRefused: true}, "", "1 added, 0 updated, 0 unchanged, 1 refused", true},
		{"update", []provisioning.Row{good, known}, registry.ImportOptions{Update: true}, "", "0 added, 1 updated, 1 unchanged, 0 refused", true},
	} {
		before, err := s.Changes(ctx, provisioning.ChangeQuery{})
		wantCode(t, test.name, err, "")
		report, err := r.Import(ctx, admin, test.rows, test.opt)
		wantCode(t, test.name, err, test.code)
		if report.String() != test.report || report.Written != test.written || len(report.Rows) != len(test.rows) {
			t.Errorf("%s: report %v, written %v, want %s, %v", test.name, report, report.Written, test.report, test.written)
		}
		after, err := s.Changes(ctx, provisioning.ChangeQuery{})
		wantCode(t, test.name, err, "")
		if changed := len(after) > len(before); changed && !test.written {
			t.Errorf("%s: something was written all the same: %v", test.name, after[0])
		}
	}
	if _, err := s.Farmer(ctx, 77); provisioning.ErrorCode(err) != provisioning.NotFound {
		t.Errorf("the farmer of a refused line was registered, %v", err)
	}
}

// writes tells when somebody writes, and has him wait.
type writes struct {
	provisioning.Store
	began, goOn chan struct{}
}

func (w *writes) Update(ctx context.Context, fn func(provisioning.Tx) error) error {
	w.began <- struct{}{}
	<-w.goOn
	return w.Store.Update(ctx, fn)
}

// TestImportHoldsNobodyUp that need not wait: a dry run, and what will be refused, only
// read; and there is one long import at a time.
func TestImportHoldsNobodyUp(t *testing.T) {
	s := &writes{storetest.SQLite(t), make(chan struct{}), make(chan struct{})}
	r := registry.New(s, registry.Rules{
		RunModes: provisioning.RunModes{"prod": ""}, RunMode: "prod",
		CheckNode: func(provisioning.Node) error { return nil },
	}, time.Now)
	ctx := t.Context()
	rows := make([]provisioning.Row, 10_001)
	for i := range rows {
		rows[i] = provisioning.Row{Line: i + 1, MAC: storetest.MAC(i)}
	}
	report, err := r.Import(ctx, admin, rows, registry.ImportOptions{DryRun: true}) // hangs if it writes
	wantCode(t, "dry run", err, "")
	if report.Counts[registry.Added] != len(rows) || report.Written {
		t.Errorf("dry run: %v", report)
	}
	_, err = r.Import(ctx, admin, append(rows[:10:10], provisioning.Row{Err: errors.New("bad")}), registry.ImportOptions{})
	if err == nil {
		t.Error("a bad line is taken")
	}
	_, err = r.Import(ctx, five, rows, registry.ImportOptions{})
	wantCode(t, "a farmer's", err, provisioning.Invalid)

	done := make(chan error, 1)
	go func() {
		_, err := r.Import(ctx, admin, rows, registry.ImportOptions{})
		done <- err
	}()
	<-s.began
	_, err = r.Import(ctx, admin, rows, registry.ImportOptions{DryRun: true})
	wantCode(t, "a second one meanwhile", err, provisioning.Conflict)
	_, err = r.Import(ctx, admin, rows[:10], registry.ImportOptions{DryRun: true})
	wantCode(t, "a short one meanwhile", err, "")
	close(s.goOn)
	wantCode(t, "the long one", <-done, "")
	if n, err := s.Nodes(ctx, provisioning.NodeQuery{}); err != nil || len(n) != len(rows) {
		t.Errorf("%d nodes, %v", len(n), err)
	}
}

func TestClaim(t *testing.T) {
	r, s, c := newRegistry(t)
	ctx := t.Context()
	assigner := provisioning.NewAssigner(s, provisioning.Unknown{Policy: provisioning.Hold}, c.now)
	held, err := assigner.Admit(ctx, storetest.MAC(1))
	if err != nil || held.Policy != provisioning.Hold || len(held.Code) != 6 {
		t.Fatalf("held %+v, %v", held, err)
	}
	again, err := assigner.Admit(ctx, storetest.MAC(1))
	if err != nil || again.Code != held.Code {
		t.Errorf("another code on the second demand: %q, then %q, %v", held.Code, again.Code, err)
	}
	other, err := assigner.Admit(ctx, storetest.MAC(2))
	if err != nil || other.Code == held.Code {
		t.Errorf("two nodes with the code %q, %v", other.Code, err)
	}
	_, err = r.AddNode(ctx, five, provisioning.Node{MAC: storetest.MAC(1)})
	wantCode(t, "a farmer adds a machine without its code", err, provisioning.Forbidden)
	report, err := r.Import(ctx, five, []provisioning.Row{{Line: 1, MAC: storetest.MAC(1)}, {Line: 2, MAC: storetest.MAC(3)}}, registry.ImportOptions{DryRun: true, SkipRefused: true})
	if err != nil || report.Rows[0].Outcome != registry.Refused || !strings.Contains(report.Rows[0].Message, "code on its screen") || report.Rows[1].Outcome != registry.Added {
		t.Errorf("a farmer imports it: %+v, %v", report, err)
	}
	_, err = r.Import(ctx, five, []provisioning.Row{{Line: 1, MAC: storetest.MAC(1)}}, registry.ImportOptions{})
	wantCode(t, "a farmer imports it alone", err, provisioning.Forbidden)
	typed := strings.ToLower(held.Code[:3] + "-" + held.Code[3:])
	n, err := r.ClaimByCode(ctx, five, typed, provisioning.NodePatch{})
	if err != nil || n.MAC != storetest.MAC(1) || n.Farmer != 5 {
		t.Errorf("claimed %+v, %v", n, err)
	}
	now, err := assigner.Admit(ctx, storetest.MAC(1))
	if err != nil || now.Policy != provisioning.Boot || !now.Registered || now.Node.Farmer != 5 {
		t.Errorf("after the claim it gets %+v, %v", now, err)
	}
	_, err = r.ClaimByCode(ctx, six, held.Code, provisioning.NodePatch{})
	wantCode(t, "claimed twice", err, provisioning.Conflict)
	events, err := r.NodeEvents(ctx, five, storetest.MAC(1))
	want := []provisioning.Event{{At: c.t, MAC: storetest.MAC(1), Stage: provisioning.StageClaim, Detail: "claimed by token FIVE for farmer 5"}}
	if diff := cmp.Diff(want, events, cmpopts.IgnoreFields(provisioning.Event{}, "ID", "Peer")); diff != "" || err != nil {
		t.Errorf("events, %v (-want +got):\n%s", err, diff)
	}
	wantCode(t, "bad code", func() error { _, err := provisioning.ParseCode("K7M3P0"); return err }(), provisioning.Invalid)
}

// TestGuessedClaimCodes: a farmer who tries codes has to wait, whether or not one
// of them is right in the end; nobody else has to.
func TestGuessedClaimCodes(t *testing.T) {
	r, s, c := newRegistry(t)
	ctx := t.Context()
	held := provisioning.Discovered{MAC: storetest.MAC(1), FirstSeen: c.t, LastSeen: c.t, Boots: 1, Code: "ACEFGH"}
	if err := s.Update(ctx, func(tx provisioning.Tx) error { return tx.PutSeen(ctx, held) }); err != nil {
		t.Fatal(err)
	}
	claim := func(by provisioning.Actor, code string) error {
		_, err := r.ClaimByCode(ctx, by, code, provisioning.NodePatch{})
		return err
	}
	for range 20 {
		wantCode(t, "wrong code", claim(five, "333333"), provisioning.NotFound)
	}
	wantCode(t, "one more", claim(five, "333333"), provisioning.Unavailable)
	wantCode(t, "the right one", claim(five, held.Code), provisioning.Unavailable)
	wantCode(t, "another farmer", claim(six, "333333"), provisioning.NotFound)
	for range 30 {
		wantCode(t, "an admin", claim(admin, "333333"), provisioning.NotFound)
	}
	c.t = c.t.Add(10 * time.Second)
	wantCode(t, "the right one, later", claim(five, held.Code), "")
}

// busy is a store whose writer is busy for as long as the test wants.
type busy struct {
	provisioning.Store
	free chan struct{}
}

// UpdateUnsynced does not look at its context, as a database that is locked does not.
func (s *busy) UpdateUnsynced(ctx context.Context, fn func(provisioning.Tx) error) error {
	<-s.free
	return s.Store.UpdateUnsynced(context.WithoutCancel(ctx), fn)
}

// TestNobodyWaitsForHisUseToBeNoted: while something long is written, whoever has a token
// gets in, and so does the next one.
func TestNobodyWaitsForHisUseToBeNoted(t *testing.T) {
	real := storetest.SQLite(t)
	_, secret, err := registry.New(real, registry.Rules{}, time.Now).AddToken(t.Context(), admin, provisioning.Token{Role: provisioning.RoleAdmin})
	if err != nil {
		t.Fatal(err)
	}
	s := &busy{real, make(chan struct{})}
	r := registry.New(s, registry.Rules{}, time.Now)
	for range 2 { // hangs if it waits
		if by, err := r.Authenticate(t.Context(), secret, "10.0.0.1"); err != nil || by.Role != provisioning.RoleAdmin {
			t.Errorf("%+v, %v", by, err)
		}
	}
	close(s.free)
}
