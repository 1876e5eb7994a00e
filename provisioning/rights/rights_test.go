package rights_test

import (
	"testing"
	"time"

	"farmboot/provisioning"
	"farmboot/provisioning/rights"
	"farmboot/provisioning/storetest"
)

var (
	admin   = provisioning.Actor{Name: "root", Role: provisioning.RoleAdmin}
	farmer  = provisioning.Actor{Name: "five", Role: provisioning.RoleFarmer, Farmer: 5}
	reader  = provisioning.Actor{Name: "eye", Role: provisioning.RoleAdmin, ReadOnly: true}
	nobody  = provisioning.Actor{Name: "none"}
	without = provisioning.Actor{Name: "lost", Role: provisioning.RoleFarmer} // a farmer without an id
)

// TestRights asks everything for everybody.
func TestRights(t *testing.T) {
	mine := provisioning.Node{MAC: storetest.MAC(1), Farmer: 5, Owned: storetest.Noon}
	his := provisioning.Node{MAC: storetest.MAC(2), Farmer: 6}
	free := provisioning.Node{MAC: storetest.MAC(3)}
	for _, test := range []struct {
		what string
		err  func(provisioning.Actor) error
		may  string // names of those who may
	}{
		{"be an admin", func(a provisioning.Actor) error { return rights.Admin(a, "do this") }, "root eye"},
		{"see a page for admins", rights.Page, "root eye"},
		{"use what was given to nobody", rights.Nobody.Admits, ""},
		{"use what anybody may", rights.Anybody.Admits, "root five eye none lost"},
		{"use what farmers may", rights.Farmers.Admits, "root five eye lost"},
		{"use what admins may", rights.Admins.Admits, "root eye"},
		{"change something", rights.Change, "root five none lost"},
		{"see the node of farmer 5", func(a provisioning.Actor) error { return rights.Node(a, mine) }, "root five eye"},
		{"see that of farmer 6", func(a provisioning.Actor) error { return rights.Node(a, his) }, "root eye"},
		{"see a node of nobody's", func(a provisioning.Actor) error { return rights.Node(a, free) }, "root eye"},
		{"register for farmer 5", func(a provisioning.Actor) error { return rights.Register(a, mine) }, "root five eye"},
		{"register for nobody", func(a provisioning.Actor) error { return rights.Register(a, free) }, "root eye"},
		{"take a machine without its code", func(a provisioning.Actor) error { return rights.Unclaimed(a, free.MAC) }, "root eye"},
		{"follow all nodes", rights.Follow, "root eye"},
		{"list events", func(a provisioning.Actor) error {
			_, err := rights.Events(a, provisioning.EventQuery{}, provisioning.Node{})
			return err
		}, "root five eye"},
		{"list nodes", func(a provisioning.Actor) error { _, err := rights.Nodes(a, provisioning.NodeQuery{}); return err }, "root five eye"},
		{"list those of farmer 6", func(a provisioning.Actor) error {
			_, err := rights.Nodes(a, provisioning.NodeQuery{Farmer: 6})
			return err
		}, "root eye"},
	} {
		var may string
		for _, a := range []provisioning.Actor{admin, farmer, reader, nobody, without} {
			switch err := test.err(a); {
			case err == nil && may == "":
				may = a.Name
			case err == nil:
				may += " " + a.Name
			case provisioning.ErrorCode(err) != provisioning.Forbidden:
				t.Errorf("%s, %s: %v", a.Name, test.what, err)
			}
		}
		if may != test.may {
			t.Errorf("%s may %s, want %s", may, test.what, test.may)
		}
	}
	if q, err := rights.Nodes(farmer, provisioning.NodeQuery{Name: "x"}); err != nil || q.Farmer != 5 || q.Name != "x" {
		t.Errorf("a farmer lists %+v, %v", q, err)
	}
	for _, a := range []provisioning.Actor{admin, farmer, reader, nobody, without} {
		if all := rights.All(a); all != (a.Role == provisioning.RoleAdmin) {
			t.Errorf("%s sees all: %t", a.Name, all)
		}
		if bound := rights.Bound(a); bound != a.Farmer {
			t.Errorf("%s is bound to farmer %s", a.Name, bound)
		}
	}
	if since := rights.Since(farmer, mine); !since.Equal(mine.Owned) {
		t.Errorf("a farmer is told since %s", since)
	}
	if since := rights.Since(admin, mine); since != (time.Time{}) {
		t.Errorf("an admin is told since %s", since)
	}
}

// TestEvents: a farmer is told of all nodes what his do, and of one what it did since it is
// his, or later if that is asked for.
func TestEvents(t *testing.T) {
	mine := provisioning.Node{MAC: storetest.MAC(1), Farmer: 5, Owned: storetest.Noon}
	before, after := storetest.Noon.Add(-time.Hour), storetest.Noon.Add(time.Hour)
	for _, test := range []struct {
		by      provisioning.Actor
		q, want provisioning.EventQuery
	}{
		{admin, provisioning.EventQuery{Limit: 3}, provisioning.EventQuery{Limit: 3}},
		{admin, provisioning.EventQuery{MAC: mine.MAC, Since: before}, provisioning.EventQuery{MAC: mine.MAC, Since: before}},
		{farmer, provisioning.EventQuery{Limit: 3}, provisioning.EventQuery{Limit: 3, Farmer: 5}},
		{farmer, provisioning.EventQuery{MAC: mine.MAC}, provisioning.EventQuery{MAC: mine.MAC, Since: mine.Owned}},
		{farmer, provisioning.EventQuery{MAC: mine.MAC, Since: before}, provisioning.EventQuery{MAC: mine.MAC, Since: mine.Owned}},
		{farmer, provisioning.EventQuery{MAC: mine.MAC, Since: after}, provisioning.EventQuery{MAC: mine.MAC, Since: after}},
	} {
		if q, err := rights.Events(test.by, test.q, mine); q != test.want || err != nil {
			t.Errorf("%s asks for %+v: %+v, %v, want %+v", test.by.Name, test.q, q, err, test.want)
		}
	}
}
