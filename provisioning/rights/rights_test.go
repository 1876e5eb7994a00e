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
		{"change something", rights.Change, "root five none lost"},
		{"see the node of farmer 5", func(a provisioning.Actor) error { return rights.Node(a, mine) }, "root five eye"},
		{"see that of farmer 6", func(a provisioning.Actor) error { return rights.Node(a, his) }, "root eye"},
		{"see a node of nobody's", func(a provisioning.Actor) error { return rights.Node(a, free) }, "root eye"},
		{"register for farmer 5", func(a provisioning.Actor) error { return rights.Register(a, mine) }, "root five eye"},
		{"register for nobody", func(a provisioning.Actor) error { return rights.Register(a, free) }, "root eye"},
		{"take a machine without its code", func(a provisioning.Actor) error { return rights.Unclaimed(a, free.MAC) }, "root eye"},
		{"follow all nodes", rights.Follow, "root eye"},
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
	if since := rights.Since(farmer, mine); !since.Equal(mine.Owned) {
		t.Errorf("a farmer is told since %s", since)
	}
	if since := rights.Since(admin, mine); since != (time.Time{}) {
		t.Errorf("an admin is told since %s", since)
	}
}
