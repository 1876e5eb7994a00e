// Package storetest says what every [provisioning.Store] does: one suite of tests,
// run against each of them.
package storetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"farmboot/provisioning"
	"farmboot/provisioning/boots"
)

// Open opens an empty store, or, called again with the same name, another handle
// on the same store, as another process would have. It closes them at the end of
// the test.
type Open func(t *testing.T, name string) provisioning.Store

// waitLimit is how long a test waits for what happens at once.
const waitLimit = 30 * time.Second

// Noon is a time like those that stores keep: whole milliseconds, UTC.
var Noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// Run runs the suite.
func Run(t *testing.T, open Open) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Open)
	}{
		{"nodes", nodes},
		{"node queries", nodeQueries},
		{"farmers", farmers},
		{"tokens", tokens},
		{"sessions", sessions},
		{"sessions are pruned", prunedSessions},
		{"events", events},
		{"events of many boots", eventsOfManyBoots},
		{"events of an address get their node", attribution},
		{"seen", seen},
		{"proven strategies", proven},
		{"changes", changes},
		{"prune", prune},
		{"a transaction is all or nothing", allOrNothing},
		{"writers at once lose nothing", writersAtOnce},
		{"two handles see each other's changes at once", twoHandles},
		{"watch tells of another handle's changes", watch},
		{"a cancelled context ends a wait", cancelled},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open) })
	}
}

// MAC is a made-up MAC address for each n.
func MAC(n int) provisioning.MAC {
	return provisioning.MAC{0x52, 0x54, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
}

func update(t *testing.T, s provisioning.Store, fn func(provisioning.Tx) error) {
	t.Helper()
	if err := s.Update(t.Context(), fn); err != nil {
		t.Fatal(err)
	}
}

func wantCode(t *testing.T, err error, want provisioning.Code) {
	t.Helper()
	if got := provisioning.ErrorCode(err); got != want {
		t.Errorf("error code %q, want %q: %v", got, want, err)
	}
}

func wantEqual(t *testing.T, what string, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func nodes(t *testing.T, open Open) {
	s, ctx := open(t, "a"), t.Context()
	n := provisioning.Node{MAC: MAC(1), RunMode: "prod", Args: `a="b c" ü`, Kernel: "v3.efi", Name: "Röck 1", Created: Noon, Updated: Noon, Owned: Noon}
	_, err := s.Node(ctx, n.MAC)
	wantCode(t, err, provisioning.NotFound)

	update(t, s, func(tx provisioning.Tx) error {
		if err := tx.PutNode(ctx, n); err != nil {
			return err
		}
		got, err := tx.Node(ctx, n.MAC) // reads its own writes
		wantEqual(t, "node inside", got, n)
		return err
	})
	got, err := s.Node(ctx, n.MAC)
	wantCode(t, err, "")
	wantEqual(t, "node", got, n)

	n.Farmer, n.RunMode, n.Name, n.NBP, n.Updated, n.Owned = 4294967295, "test", "", provisioning.SNPOnly, Noon.Add(time.Hour), Noon.Add(time.Minute)
	update(t, s, func(tx provisioning.Tx) error {
		if err := tx.PutFarmer(ctx, provisioning.Farmer{ID: n.Farmer}); err != nil {
			return err
		}
		return tx.PutNode(ctx, n)
	})
	got, err = s.Node(ctx, n.MAC)
	wantCode(t, err, "")
	wantEqual(t, "replaced node", got, n)

	err = s.Update(ctx, func(tx provisioning.Tx) error {
		return tx.PutNode(ctx, provisioning.Node{MAC: MAC(2), Farmer: 77, RunMode: "prod"})
	})
	wantCode(t, err, provisioning.Conflict) // no such farmer

	update(t, s, func(tx provisioning.Tx) error {
		if err := tx.DeleteNode(ctx, MAC(9)); err != nil { // nothing there
			return err
		}
		return tx.DeleteNode(ctx, n.MAC)
	})
	_, err = s.Node(ctx, n.MAC)
	wantCode(t, err, provisioning.NotFound)
}

func nodeQueries(t *testing.T, open Open) {
	s, ctx := open(t, "a"), t.Context()
	update(t, s, func(tx provisioning.Tx) error {
		if err := tx.PutFarmer(ctx, provisioning.Farmer{ID: 77, Name: "Seventy-seven"}); err != nil {
			return err
		}
		for i := range 10 {
			n := provisioning.Node{MAC: MAC(i), RunMode: "prod", Name: fmt.Sprintf("Node_%d%%", i)}
			if i%2 == 0 {
				n.Farmer = 77
			}
			if i == 7 {
				n.RunMode, n.Args, n.Kernel = "dev", "Console=ttyS0", "K.efi"
			}
			if i == 9 {
				n.Name = "Köln ÉCOLE Москва"
			}
			if err := tx.PutNode(ctx, n); err != nil {
				return err
			}
		}
		return nil
	})
	prefix := func(s string) provisioning.MACRange {
		r, err := provisioning.ParseMACPrefix(s)
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	var many []provisioning.MAC // all but the first, and 30,000 that are not there
	for i := range 30_009 {
		many = append(many, MAC(i+1))
	}
	for _, test := range []struct {
		name  string
		query provisioning.NodeQuery
		want  []int
	}{
		{"all", provisioning.NodeQuery{}, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}},
		{"farmer", provisioning.NodeQuery{Farmer: 77}, []int{0, 2, 4, 6, 8}},
		{"nobody's", provisioning.NodeQuery{Farmer: 6}, nil},
		{"without a farmer", provisioning.NodeQuery{Unowned: true}, []int{1, 3, 5, 7, 9}},
		{"run mode", provisioning.NodeQuery{RunMode: "dev"}, []int{7}},
		{"text in a name, whatever the case", provisioning.NodeQuery{Text: "nODE_3"}, []int{3}},
		{"text in arguments", provisioning.NodeQuery{Text: "console="}, []int{7}},
		{"text in a kernel", provisioning.NodeQuery{Text: "k.EFI"}, []int{7}},
		{"capital letters of other languages", provisioning.NodeQuery{Text: "KÖLN École МОСКВА"}, []int{9}},
		{"their small letters", provisioning.NodeQuery{Text: "köln école москва"}, []int{9}},
		{"whose they are, in capitals", provisioning.NodeQuery{Who: "KÖLN"}, []int{9}},
		{"a whole name, whatever the case", provisioning.NodeQuery{Name: "NODE_3%"}, []int{3}},
		{"a whole name, not a part of one", provisioning.NodeQuery{Name: "node_3"}, nil},
		{"a name with anything in it", provisioning.NodeQuery{Name: "*_4%"}, []int{4}},
		{"a whole name in capital letters of other languages", provisioning.NodeQuery{Name: "KÖLN * МОСКВА"}, []int{9}},
		{"letters that are not there", provisioning.NodeQuery{Text: "KOLN"}, nil},
		{"a percent sign is no wildcard", provisioning.NodeQuery{Text: "4%"}, []int{4}},
		{"an underscore is no wildcard", provisioning.NodeQuery{Text: "_4_"}, nil},
		{"who, by name", provisioning.NodeQuery{Who: "DE_3%"}, []int{3}},
		{"who, not by arguments", provisioning.NodeQuery{Who: "console"}, nil},
		{"who, by part of the MAC address", provisioning.NodeQuery{Who: "0:07"}, []int{7}},
		{"who, by the whole of it", provisioning.NodeQuery{Who: MAC(3).String()}, []int{3}},
		{"who, not by digits of two bytes", provisioning.NodeQuery{Who: "0007"}, nil},
		{"who, by farmer", provisioning.NodeQuery{Who: "77"}, []int{0, 2, 4, 6, 8}},
		{"who, not by the start of a farmer's id", provisioning.NodeQuery{Who: "7"}, []int{7}},
		{"among", provisioning.NodeQuery{Among: []provisioning.MAC{MAC(7), MAC(99), MAC(2), MAC(7)}}, []int{2, 7}},
		{"among many", provisioning.NodeQuery{Among: many, Farmer: 77}, []int{2, 4, 6, 8}},
		{"among none", provisioning.NodeQuery{Among: []provisioning.MAC{}}, nil},
		{"except", provisioning.NodeQuery{Except: []provisioning.MAC{MAC(7), MAC(99), MAC(0)}}, []int{1, 2, 3, 4, 5, 6, 8, 9}},
		{"except many", provisioning.NodeQuery{Except: many}, []int{0}},
		{"except none", provisioning.NodeQuery{Except: []provisioning.MAC{}, RunMode: "dev"}, []int{7}},
		{"behind the first", provisioning.NodeQuery{Skip: 8}, []int{8, 9}},
		{"page behind the first", provisioning.NodeQuery{Skip: 3, Limit: 2}, []int{3, 4}},
		{"behind the last", provisioning.NodeQuery{Skip: 10, Limit: 2}, nil},
		{"prefix", provisioning.NodeQuery{MACs: prefix("52:54:00:00:00:0")}, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}},
		{"whole address as a prefix", provisioning.NodeQuery{MACs: prefix("525400000003")}, []int{3}},
		{"other prefix", provisioning.NodeQuery{MACs: prefix("53")}, nil},
		{"first page", provisioning.NodeQuery{Limit: 3}, []int{0, 1, 2}},
		{"second page", provisioning.NodeQuery{Limit: 3, After: MAC(2)}, []int{3, 4, 5}},
		{"page of a farmer", provisioning.NodeQuery{Farmer: 77, Limit: 2, After: MAC(2)}, []int{4, 6}},
		{"everything at once", provisioning.NodeQuery{Farmer: 77, RunMode: "prod", Text: "node", MACs: prefix("52"), After: MAC(5), Limit: 9}, []int{6, 8}},
	} {
		t.Run(test.name, func(t *testing.T) {
			found, err := s.Nodes(ctx, test.query)
			wantCode(t, err, "")
			var got []int
			for _, n := range found {
				got = append(got, int(n.MAC[5]))
			}
			wantEqual(t, "nodes", got, test.want)
			test.query.Skip, test.query.Limit = 0, 0
			whole, err := s.Nodes(ctx, test.query)
			wantCode(t, err, "")
			count, err := s.CountNodes(ctx, test.query)
			wantCode(t, err, "")
			wantEqual(t, "count without its page", count, len(whole))
		})
	}
	for upTo, want := range map[int]int{3: 3, 4: 4, 99: 5} {
		count, err := s.CountNodes(ctx, provisioning.NodeQuery{Farmer: 77, UpTo: upTo})
		wantCode(t, err, "")
		wantEqual(t, "count up to so many", count, want)
	}
	byFarmer, err := s.CountNodesByFarmer(ctx)
	wantCode(t, err, "")
	wantEqual(t, "nodes by farmer", byFarmer, map[provisioning.FarmerID]int{0: 5, 77: 5})
	modes, err := s.RunModes(ctx)
	wantCode(t, err, "")
	wantEqual(t, "run modes", modes, []provisioning.RunMode{"dev", "prod"})
}

func farmers(t *testing.T, open Open) {
	s, ctx := open(t, "a"), t.Context()
	_, err := s.Farmer(ctx, 5)
	wantCode(t, err, provisioning.NotFound)
	update(t, s, func(tx provisioning.Tx) error {
		for _, f := range []provisioning.Farmer{{ID: 4294967295}, {ID: 5}, {ID: 5, Name: "Five"}} {
			if err := tx.PutFarmer(ctx, f); err != nil {
				return err
			}
		}
		return tx.PutNode(ctx, provisioning.Node{MAC: MAC(1), Farmer: 5, RunMode: "prod"})
	})
	got, err := s.Farmers(ctx)
	wantCode(t, err, "")
	wantEqual(t, "farmers", got, []provisioning.Farmer{{ID: 5, Name: "Five"}, {ID: 4294967295}})
	f, err := s.Farmer(ctx, 5)
	wantCode(t, err, "")
	wantEqual(t, "farmer", f, provisioning.Farmer{ID: 5, Name: "Five"})

	wantCode(t, s.Update(ctx, func(tx provisioning.Tx) error { return tx.DeleteFarmer(ctx, 5) }), provisioning.Conflict)
	wantCode(t, s.Update(ctx, func(tx provisioning.Tx) error { return tx.PutFarmer(ctx, provisioning.Farmer{}) }), provisioning.Internal)
	update(t, s, func(tx provisioning.Tx) error { return tx.DeleteFarmer(ctx, 4294967295) })
	_, err = s.Farmer(ctx, 4294967295)
	wantCode(t, err, provisioning.NotFound)
}

func tokens(t *testing.T, open Open) {
	s, ctx := open(t, "a"), t.Context()
	admin := provisioning.Token{ID: "ONE", Role: provisioning.RoleAdmin, Created: Noon, Hash: provisioning.SecretsHash{1, 2, 3}}
	farmer := provisioning.Token{ID: "TWO", Role: provisioning.RoleFarmer, Farmer: 5, Created: Noon.Add(time.Second), Hash: provisioning.SecretsHash{4}}
	update(t, s, func(tx provisioning.Tx) error {
		if err := tx.PutFarmer(ctx, provisioning.Farmer{ID: 5}); err != nil {
			return err
		}
		if err := tx.PutToken(ctx, farmer); err != nil {
			return err
		}
		return tx.PutToken(ctx, admin)
	})
	got, err := s.Tokens(ctx)
	wantCode(t, err, "")
	wantEqual(t, "tokens", got, []provisioning.Token{admin, farmer})
	farmer.LastUsed = Noon.Add(time.Minute)
	update(t, s, func(tx provisioning.Tx) error { return tx.PutToken(ctx, farmer) })
	one, err := s.Token(ctx, "TWO")
	wantCode(t, err, "")
	wantEqual(t, "token", one, farmer)

	update(t, s, func(tx provisioning.Tx) error { return tx.DeleteFarmer(ctx, 5) })
	_, err = s.Token(ctx, "TWO")
	wantCode(t, err, provisioning.NotFound) // went with its farmer
	update(t, s, func(tx provisioning.Tx) error { return tx.DeleteToken(ctx, "ONE") })
	_, err = s.Token(ctx, "ONE")
	wantCode(t, err, provisioning.NotFound)
}

func sessions(t *testing.T, open Open) {
	s, ctx := open(t, "a"), t.Context()
	byLink := provisioning.Session{Hash: provisioning.SecretsHash{1}, Who: "sign-in link", Began: Noon, LastUsed: Noon, Role: provisioning.RoleFarmer, Farmer: 5, ReadOnly: true}
	byToken := provisioning.Session{Hash: provisioning.SecretsHash{2}, Token: "ONE", Who: "token ONE", Began: Noon, LastUsed: Noon.Add(time.Hour)}
	left := func(want ...provisioning.Session) {
		t.Helper()
		var got []provisioning.Session
		for _, hash := range []provisioning.SecretsHash{byLink.Hash, byToken.Hash} {
			if s, err := s.Session(ctx, hash); provisioning.ErrorCode(err) != provisioning.NotFound {
				wantCode(t, err, "")
				got = append(got, s)
			}
		}
		wantEqual(t, "sessions", got, want)
	}
	left()
	err := s.Update(ctx, func(tx provisioning.Tx) error { return tx.PutSession(ctx, byToken) })
	wantCode(t, err, provisioning.Conflict) // no such token
	update(t, s, func(tx provisioning.Tx) error {
		return errors.Join(tx.PutToken(ctx, provisioning.Token{ID: "ONE", Role: provisioning.RoleAdmin, Created: Noon}),
			tx.PutSession(ctx, byLink), tx.PutSession(ctx, byToken))
	})
	left(byLink, byToken)
	byLink.LastUsed = Noon.Add(time.Minute)
	update(t, s, func(tx provisioning.Tx) error {
		return errors.Join(tx.PutSession(ctx, byLink), tx.DeleteSession(ctx, provisioning.SecretsHash{9}))
	})
	left(byLink, byToken)
	update(t, s, func(tx provisioning.Tx) error { return tx.DeleteToken(ctx, "ONE") })
	left(byLink) // the other went with its token
	update(t, s, func(tx provisioning.Tx) error { return tx.DeleteSession(ctx, byLink.Hash) })
	left()
}

func prunedSessions(t *testing.T, open Open) {
	s, ctx := open(t, "a"), t.Context()
	const all = 12
	update(t, s, func(tx provisioning.Tx) error {
		if err := tx.PutToken(ctx, provisioning.Token{ID: "ONE", Role: provisioning.RoleAdmin, Created: Noon}); err != nil {
			return err
		}
		for i := range all { // the longer ago one began, the later it was used; every third by a link
			at := time.Duration(i) * time.Hour
			session := provisioning.Session{Hash: provisioning.SecretsHash{byte(i)}, Token: "ONE", Began: Noon.Add(-at), LastUsed: Noon.Add(at)}
			if i%3 == 0 {
				session.Token = ""
			}
			if err := tx.PutSession(ctx, session); err != nil {
				return err
			}
		}
		return nil
	})
	for _, test := range []struct {
		name  string
		prune provisioning.SessionPrune
		want  []int
	}{
		{"nothing", provisioning.SessionPrune{UsedBefore: Noon, BeganBefore: Noon.Add(-11 * time.Hour), Token: "ONE", Kept: 8}, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}},
		{"idle", provisioning.SessionPrune{UsedBefore: Noon.Add(2 * time.Hour), Kept: all}, []int{2, 3, 4, 5, 6, 7, 8, 9, 10, 11}},
		{"old", provisioning.SessionPrune{BeganBefore: Noon.Add(-9 * time.Hour), Token: "ONE", Kept: all}, []int{2, 3, 4, 5, 6, 7, 8, 9}},
		{"too many of a token", provisioning.SessionPrune{Token: "ONE", Kept: 2}, []int{3, 6, 7, 8, 9}},
		{"too many of links", provisioning.SessionPrune{Kept: 1}, []int{7, 8, 9}},
		{"of another token", provisioning.SessionPrune{Token: "TWO"}, []int{7, 8, 9}},
		{"of another name", provisioning.SessionPrune{Who: "another"}, []int{7, 8, 9}},
		{"all of a token", provisioning.SessionPrune{Token: "ONE"}, []int{9}},
	} {
		update(t, s, func(tx provisioning.Tx) error { return tx.PruneSessions(ctx, test.prune) })
		var got []int
		for i := range all {
			if _, err := s.Session(ctx, provisioning.SecretsHash{byte(i)}); err == nil {
				got = append(got, i)
			}
		}
		wantEqual(t, test.name, got, test.want)
	}
}

// addEvents stores n events, a second apart, of MAC(1) and MAC(2) in turn.
func addEvents(t *testing.T, s provisioning.Store, n int) []provisioning.Event {
	t.Helper()
	var list []provisioning.Event
	for i := range n {
		list = append(list, provisioning.Event{At: Noon.Add(time.Duration(i) * time.Second), MAC: MAC(1 + i%2), Stage: provisioning.StageOffer})
	}
	if err := s.UpdateUnsynced(t.Context(), func(tx provisioning.Tx) error { return boots.AddEvents(t.Context(), tx, list) }); err != nil {
		t.Fatal(err)
	}
	stored, err := s.Events(t.Context(), provisioning.EventQuery{})
	wantCode(t, err, "")
	return stored
}

func events(t *testing.T, open Open) {
	s, ctx := open(t, "a"), t.Context()
	id, err := s.LastEventID(ctx)
	wantCode(t, err, "")
	wantEqual(t, "last ID of none", id, int64(0))
	full := provisioning.Event{
		At: Noon, MAC: MAC(1), Peer: netip.MustParseAddr("10.0.0.7"), Stage: provisioning.StageKernel, Detail: "prod.efi",
		IPXE: true, File: "zos.efi", Via: "HTTP", Version: "v3", SHA256: "5e1f",
		Cause: provisioning.Cause{ID: provisioning.CauseIgnored, Note: "why"}, Held: 3,
		Bytes: 1 << 40, Size: 1<<40 + 1, Duration: 1234567 * time.Nanosecond,
	}
	bare := provisioning.Event{At: Noon, Peer: netip.MustParseAddr("fe80::1"), Stage: provisioning.StageNBP}
	update(t, s, func(tx provisioning.Tx) error { return boots.AddEvents(ctx, tx, []provisioning.Event{full, bare}) })
	got, err := s.Events(ctx, provisioning.EventQuery{})
	wantCode(t, err, "")
	if len(got) != 2 || got[0].ID <= 0 || got[1].ID <= got[0].ID {
		t.Fatalf("stored events %v, want two with growing IDs", got)
	}
	full.ID, bare.ID = got[0].ID, got[1].ID
	wantEqual(t, "events", got, []provisioning.Event{full, bare})

	// Many at once are in order, of whichever kind each is.
	s = open(t, "many")
	var many []provisioning.Event
	for i := range 150 {
		e := provisioning.Event{At: Noon, MAC: MAC(i), Stage: provisioning.StageDiscover, Detail: "BIOS", IPXE: i%2 == 0, File: "undionly.kpxe"}
		if i > 0 && i%100 == 0 {
			e = full
		}
		e.ID = int64(i) + 1
		many = append(many, e)
	}
	update(t, s, func(tx provisioning.Tx) error { return boots.AddEvents(ctx, tx, many) })
	got, err = s.Events(ctx, provisioning.EventQuery{})
	wantCode(t, err, "")
	wantEqual(t, "many events", got, many)

	s = open(t, "b")
	stored := addEvents(t, s, 6)
	update(t, s, func(tx provisioning.Tx) error {
		return errors.Join(tx.PutFarmer(ctx, provisioning.Farmer{ID: 5}), tx.PutFarmer(ctx, provisioning.Farmer{ID: 7}),
			tx.PutNode(ctx, provisioning.Node{MAC: MAC(1), Farmer: 7, RunMode: "prod", Owned: stored[2].At}),
			tx.PutNode(ctx, provisioning.Node{MAC: MAC(2), Farmer: 5, RunMode: "prod"}))
	})
	for _, test := range []struct {
		name  string
		query provisioning.EventQuery
		want  []int
	}{
		{"of a node", provisioning.EventQuery{MAC: MAC(1)}, []int{0, 2, 4}},
		{"after an ID", provisioning.EventQuery{After: stored[3].ID}, []int{4, 5}},
		{"since a time", provisioning.EventQuery{Since: Noon.Add(4 * time.Second)}, []int{4, 5}},
		{"since a time between milliseconds", provisioning.EventQuery{Since: Noon.Add(4*time.Second + 300*time.Microsecond)}, []int{4, 5}},
		{"the first", provisioning.EventQuery{Limit: 2}, []int{0, 1}},
		{"the last", provisioning.EventQuery{Limit: 2, Last: true}, []int{4, 5}},
		{"the last of a node", provisioning.EventQuery{MAC: MAC(1), Limit: 2, Last: true}, []int{2, 4}},
		{"of a farmer's nodes", provisioning.EventQuery{Farmer: 5, After: stored[2].ID}, []int{3, 5}},
		{"of a farmer's nodes, since they are his", provisioning.EventQuery{Farmer: 7}, []int{2, 4}},
		{"the last of them", provisioning.EventQuery{Farmer: 7, Limit: 3, Last: true}, []int{2, 4}},
		{"of a farmer without nodes", provisioning.EventQuery{Farmer: 6}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			var want []provisioning.Event
			for _, i := range test.want {
				want = append(want, stored[i])
			}
			got, err := s.Events(ctx, test.query)
			wantCode(t, err, "")
			wantEqual(t, "events", got, want)
		})
	}
	id, err = s.LastEventID(ctx)
	wantCode(t, err, "")
	wantEqual(t, "last ID", id, stored[5].ID)
}

// eventsOfManyBoots asks for events of boots that went on beside each other, in more rows
// than are read at once.
func eventsOfManyBoots(t *testing.T, open Open) {
	s, ctx := open(t, "a"), t.Context()
	const nodes, batch, batches = 300, 600, 15
	var all []provisioning.Event
	under := boots.NewOpen(nodes / 2) // others go on in another row
	for b := range batches {
		update(t, s, func(tx provisioning.Tx) error {
			id, err := tx.NumberEvents(ctx, batch)
			if err != nil {
				return err
			}
			events := make([]provisioning.Event, batch)
			for i := range events {
				n := b*batch + i
				e := provisioning.Event{ID: id + int64(i), At: Noon.Add(time.Duration(n/7) * time.Second), MAC: MAC(1 + n*n%nodes), Stage: provisioning.StageOffer, Held: n}
				if n%5 == 0 {
					e.Stage = provisioning.StageDiscover
				}
				events[i] = e
			}
			all = append(all, events...)
			changes := under.Add(boots.Pack(events))
			if err := tx.WriteBoots(ctx, changes.BootChanges); err != nil {
				return err
			}
			under.Keep(changes)
			return nil
		})
	}
	update(t, s, func(tx provisioning.Tx) error {
		return errors.Join(tx.PutFarmer(ctx, provisioning.Farmer{ID: 7}),
			tx.PutNode(ctx, provisioning.Node{MAC: MAC(1 + 49%nodes), Farmer: 7, RunMode: "prod", Owned: all[3000].At}),
			tx.PutNode(ctx, provisioning.Node{MAC: MAC(2), Farmer: 7, RunMode: "prod"}))
	})
	of := func(q provisioning.EventQuery) (want []provisioning.Event) {
		for _, e := range all {
			his := e.MAC == MAC(2) || e.MAC == MAC(1+49%nodes) && !e.At.Before(all[3000].At)
			if (q.MAC.IsZero() || q.MAC == e.MAC) && (q.Farmer == 0 || his) && e.ID > q.After && !e.At.Before(q.Since) {
				want = append(want, e)
			}
		}
		if q.Limit > 0 && len(want) > q.Limit {
			if q.Last {
				return want[len(want)-q.Limit:]
			}
			return want[:q.Limit]
		}
		return want
	}
	for _, limit := range []int{0, 1, 700, 5000, 20_000} {
		for _, last := range []bool{false, true} {
			for _, q := range []provisioning.EventQuery{
				{}, {MAC: MAC(2)}, {Farmer: 7}, {After: all[4000].ID}, {After: all[len(all)-3].ID}, {Since: all[5000].At}, {Since: all[5000].At, After: all[6000].ID, Farmer: 7},
			} {
				q.Limit, q.Last = limit, last
				got, err := s.Events(ctx, q)
				wantCode(t, err, "")
				want := of(q)
				if slices.Equal(want, got) {
					continue // to compare thousands field by field takes long
				}
				if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
					t.Fatalf("%+v: events (-want +got):\n%.1000s", q, diff)
				}
			}
		}
	}
}

func attribution(t *testing.T, open Open) {
	s, ctx := open(t, "a"), t.Context()
	peer := netip.MustParseAddr("10.0.0.7")
	update(t, s, func(tx provisioning.Tx) error {
		err := boots.AddEvents(ctx, tx, []provisioning.Event{
			{At: Noon.Add(-time.Hour), Peer: peer, Stage: provisioning.StageNBP},
			{At: Noon, Peer: peer, Stage: provisioning.StageNBP},
			{At: Noon, MAC: MAC(2), Peer: peer, Stage: provisioning.StageNBP},
			{At: Noon, Peer: netip.MustParseAddr("10.0.0.8"), Stage: provisioning.StageNBP},
		})
		if err != nil {
			return err
		}
		return tx.WriteBoots(ctx, provisioning.BootChanges{Attribute: []provisioning.Attribution{{MAC: MAC(1), Peer: peer, Since: Noon.Add(-time.Minute)}}})
	})
	all, err := s.Events(ctx, provisioning.EventQuery{})
	wantCode(t, err, "")
	var got []provisioning.MAC
	for _, e := range all {
		got = append(got, e.MAC)
	}
	wantEqual(t, "MAC addresses", got, []provisioning.MAC{{}, MAC(1), MAC(2), {}})
}

func seen(t *testing.T, open Open) {
	s, ctx := open(t, "a"), t.Context()
	_, err := s.Seen(ctx, MAC(1))
	wantCode(t, err, provisioning.NotFound)
	_, err = s.SeenByCode(ctx, "AAAAAA")
	wantCode(t, err, provisioning.NotFound)
	d := provisioning.Discovered{
		MAC: MAC(1), Machine: provisioning.Machine{Arch: "UEFI x64", Firmware: "PXEClient", UUID: "4c4c4544"},
		FirstSeen: Noon, LastSeen: Noon.Add(time.Hour), Boots: 3, Code: "AAAAAA",
	}
	later := provisioning.Discovered{MAC: MAC(2), FirstSeen: Noon, LastSeen: Noon.Add(2 * time.Hour), Boots: 1, Code: "CCCCCC"}
	update(t, s, func(tx provisioning.Tx) error {
		if err := tx.PutSeen(ctx, later); err != nil {
			return err
		}
		return tx.PutSeen(ctx, d)
	})
	got, err := s.Seen(ctx, d.MAC)
	wantCode(t, err, "")
	wantEqual(t, "seen", got, d)
	got, err = s.SeenByCode(ctx, "CCCCCC")
	wantCode(t, err, "")
	wantEqual(t, "seen by code", got, later)

	among, err := s.SeenAmong(ctx, []provisioning.MAC{MAC(2), MAC(3)})
	wantCode(t, err, "")
	wantEqual(t, "seen among two", among, map[provisioning.MAC]provisioning.Discovered{MAC(2): later})
	many := make([]string, 1500)
	for i := range many {
		many[i] = fmt.Sprintf("X%05d", i)
	}
	for _, codes := range [][]string{{"CCCCCC"}, {"CCCCCC", "DDDDDD"}, {"DDDDDD", "CCCCCC"}, append(many, "CCCCCC")} {
		taken, err := s.CodesTaken(ctx, codes)
		wantCode(t, err, "")
		wantEqual(t, "codes taken", taken, []string{"CCCCCC"})
	}
	taken, err := s.CodesTaken(ctx, many)
	wantCode(t, err, "")
	wantEqual(t, "codes taken by nobody", taken, []string{})

	clash := provisioning.Discovered{MAC: MAC(3), Code: "AAAAAA"}
	wantCode(t, s.Update(ctx, func(tx provisioning.Tx) error { return tx.PutSeen(ctx, clash) }), provisioning.Conflict)

	list := func(limit int) []provisioning.Discovered {
		t.Helper()
		l, err := s.Unregistered(ctx, limit)
		wantCode(t, err, "")
		return l
	}
	wantEqual(t, "unregistered", list(0), []provisioning.Discovered{later, d})
	wantEqual(t, "unregistered, one", list(1), []provisioning.Discovered{later})
	update(t, s, func(tx provisioning.Tx) error {
		return tx.PutNode(ctx, provisioning.Node{MAC: MAC(2), RunMode: "prod"})
	})
	wantEqual(t, "unregistered, one less", list(0), []provisioning.Discovered{d})
}

func changes(t *testing.T, open Open) {
	s, ctx := open(t, "a"), t.Context()
	first := provisioning.Change{At: Noon, Actor: "root", From: "cli", Action: "node add", Subject: "x", After: json.RawMessage(`{"a":1}`)}
	second := provisioning.Change{At: Noon, Actor: "root", From: "cli", Action: "node rm", Subject: "x", Undoes: 1, Before: json.RawMessage(`{"a":1}`)}
	other := provisioning.Change{At: Noon, Actor: "TWO", From: "10.0.0.1", Action: "farmer add", Subject: "y"}
	update(t, s, func(tx provisioning.Tx) error {
		for _, c := range []provisioning.Change{first, other, second} {
			if err := tx.AddChange(ctx, c); err != nil {
				return err
			}
		}
		return nil
	})
	all, err := s.Changes(ctx, provisioning.ChangeQuery{})
	wantCode(t, err, "")
	for _, test := range []struct {
		name  string
		query provisioning.ChangeQuery
		want  []provisioning.Change
	}{
		{"all", provisioning.ChangeQuery{}, []provisioning.Change{second, other, first}},
		{"of x", provisioning.ChangeQuery{Subject: "x"}, []provisioning.Change{second, first}},
		{"newest", provisioning.ChangeQuery{Limit: 1}, []provisioning.Change{second}},
		{"after the first", provisioning.ChangeQuery{After: all[2].ID}, []provisioning.Change{second, other}},
		{"of x, that take another back", provisioning.ChangeQuery{Subject: "x", Undoing: true}, []provisioning.Change{second}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := s.Changes(ctx, test.query)
			wantCode(t, err, "")
			for i := range got {
				got[i].ID = 0
			}
			wantEqual(t, "changes", got, test.want)
		})
	}
}

func prune(t *testing.T, open Open) {
	ctx := t.Context()
	pruneAll := func(s provisioning.Store, p provisioning.Prune) (steps int) {
		for more := true; more; steps++ {
			update(t, s, func(tx provisioning.Tx) (err error) { more, err = tx.Prune(ctx, p); return err })
		}
		return steps
	}
	t.Run("by count", func(t *testing.T) {
		s := open(t, "count")
		var list []provisioning.Event
		for i := range 2500 {
			list = append(list, provisioning.Event{At: Noon, MAC: MAC(1 + i), Stage: provisioning.StageOffer})
		}
		update(t, s, func(tx provisioning.Tx) error { return boots.AddEvents(ctx, tx, list) })
		if steps := pruneAll(s, provisioning.Prune{EventsKept: 10}); steps < 2 {
			t.Errorf("2500 boots went in %d step, want small ones", steps)
		}
		left, err := s.Events(ctx, provisioning.EventQuery{})
		wantCode(t, err, "")
		wantEqual(t, "events left", len(left), 10)
		pruneAll(s, provisioning.Prune{})
		left, err = s.Events(ctx, provisioning.EventQuery{})
		wantCode(t, err, "")
		wantEqual(t, "events left without a limit", len(left), 10)
	})
	t.Run("boots of each node", func(t *testing.T) {
		s := open(t, "boots")
		began := map[provisioning.MAC]int{MAC(1): 30, MAC(2): 3, {}: 30}
		for mac, n := range began {
			for i := range n { // each is stored as a boot of its own
				update(t, s, func(tx provisioning.Tx) error {
					return boots.AddEvents(ctx, tx, []provisioning.Event{{At: Noon, MAC: mac, Stage: provisioning.StageOffer, Held: i}})
				})
			}
		}
		pruneAll(s, provisioning.Prune{BootsKept: 5})
		left, err := s.Events(ctx, provisioning.EventQuery{})
		wantCode(t, err, "")
		got := map[provisioning.MAC][]int{}
		for _, e := range left {
			got[e.MAC] = append(got[e.MAC], e.Held)
		}
		wantEqual(t, "boots left of the first", got[MAC(1)], []int{25, 26, 27, 28, 29})
		wantEqual(t, "boots left of the others", []int{len(got[MAC(2)]), len(got[provisioning.MAC{}])}, []int{3, 30})
	})
	t.Run("changes", func(t *testing.T) {
		s := open(t, "changes")
		update(t, s, func(tx provisioning.Tx) error {
			for i := range 30 {
				// Clocks go back: what came last stays all the same.
				if err := tx.AddChange(ctx, provisioning.Change{At: Noon.Add(time.Duration(-i) * time.Hour), Action: fmt.Sprint(i)}); err != nil {
					return err
				}
			}
			return nil
		})
		pruneAll(s, provisioning.Prune{ChangesKept: 3})
		left, err := s.Changes(ctx, provisioning.ChangeQuery{})
		wantCode(t, err, "")
		wantEqual(t, "changes left", []any{len(left), left[0].Action}, []any{3, "29"})
	})
	t.Run("canaries", func(t *testing.T) {
		s := open(t, "canaries")
		update(t, s, func(tx provisioning.Tx) error {
			for i := range 30 {
				subject := "farmer 1"
				if i < 4 {
					subject = fmt.Sprint("canary mode", i%2)
				}
				if err := tx.AddChange(ctx, provisioning.Change{At: Noon, Action: fmt.Sprint(i), Subject: subject}); err != nil {
					return err
				}
			}
			return nil
		})
		pruneAll(s, provisioning.Prune{ChangesKept: 1})
		left, err := s.Changes(ctx, provisioning.ChangeQuery{})
		wantCode(t, err, "")
		var got []string
		for _, c := range left {
			got = append(got, c.Action)
		}
		wantEqual(t, "changes left", fmt.Sprint(got), "[29 3 2]")
	})
	t.Run("seen", func(t *testing.T) {
		s := open(t, "seen")
		update(t, s, func(tx provisioning.Tx) error {
			for i := range 10 {
				d := provisioning.Discovered{MAC: MAC(i), LastSeen: Noon.Add(time.Duration(i) * time.Hour), Code: fmt.Sprint(i)}
				if err := tx.PutSeen(ctx, d); err != nil {
					return err
				}
			}
			return tx.PutNode(ctx, provisioning.Node{MAC: MAC(0), RunMode: "prod"})
		})
		left := func() (got []int) {
			list, err := s.Unregistered(ctx, 0)
			wantCode(t, err, "")
			for _, d := range list {
				got = append(got, int(d.MAC[5]))
			}
			return got
		}
		pruneAll(s, provisioning.Prune{SeenKept: 2})
		wantEqual(t, "left after count", left(), []int{9, 8})
		_, err := s.Seen(ctx, MAC(0))
		wantCode(t, err, "") // a node's stays
	})
}

func allOrNothing(t *testing.T, open Open) {
	s, ctx := open(t, "a"), t.Context()
	refusal := provisioning.Errorf(provisioning.Invalid, "no")
	err := s.Update(ctx, func(tx provisioning.Tx) error {
		if err := tx.PutNode(ctx, provisioning.Node{MAC: MAC(1), RunMode: "prod"}); err != nil {
			return err
		}
		return refusal
	})
	if err != error(refusal) {
		t.Errorf("error %v, want the function's own", err)
	}
	_, err = s.Node(ctx, MAC(1))
	wantCode(t, err, provisioning.NotFound)

	func() {
		defer func() { recover() }()
		_ = s.Update(ctx, func(tx provisioning.Tx) error {
			_ = tx.PutNode(ctx, provisioning.Node{MAC: MAC(1), RunMode: "prod"})
			panic("in the middle")
		})
	}()
	_, err = s.Node(ctx, MAC(1))
	wantCode(t, err, provisioning.NotFound)
	update(t, s, func(tx provisioning.Tx) error { // and the store goes on
		return tx.PutNode(ctx, provisioning.Node{MAC: MAC(1), RunMode: "prod"})
	})
}

// writersAtOnce has many goroutines, on two handles, each read a counter and write
// it back, one more. Were any of them not alone, the sum would be short.
func writersAtOnce(t *testing.T, open Open) {
	ctx := t.Context()
	handles := []provisioning.Store{open(t, "a"), open(t, "a")}
	update(t, handles[0], func(tx provisioning.Tx) error {
		return tx.PutNode(ctx, provisioning.Node{MAC: MAC(1), RunMode: "prod", Name: "0"})
	})
	const writers, rounds = 8, 25
	var wg sync.WaitGroup
	for i := range writers {
		s := handles[i%2]
		write := s.Update
		if i%3 == 0 {
			write = s.UpdateUnsynced
		}
		wg.Go(func() {
			for range rounds {
				err := write(ctx, func(tx provisioning.Tx) error {
					n, err := tx.Node(ctx, MAC(1))
					if err != nil {
						return err
					}
					var count int
					if _, err := fmt.Sscan(n.Name, &count); err != nil {
						return err
					}
					n.Name = fmt.Sprint(count + 1)
					return tx.PutNode(ctx, n)
				})
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := s.Nodes(ctx, provisioning.NodeQuery{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	n, err := handles[1].Node(ctx, MAC(1))
	wantCode(t, err, "")
	wantEqual(t, "counter", n.Name, fmt.Sprint(writers*rounds))
}

func twoHandles(t *testing.T, open Open) {
	a, b, ctx := open(t, "a"), open(t, "a"), t.Context()
	for i := range 20 {
		writer, reader := a, b
		if i%2 == 1 {
			writer, reader = b, a
		}
		want := provisioning.Node{MAC: MAC(1), RunMode: "prod", Name: fmt.Sprint(i)}
		update(t, writer, func(tx provisioning.Tx) error { return tx.PutNode(ctx, want) })
		got, err := reader.Node(ctx, MAC(1))
		wantCode(t, err, "")
		wantEqual(t, "node", got, want)
	}
}

func watch(t *testing.T, open Open) {
	a, b := open(t, "a"), open(t, "a")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	changed := a.Watch(ctx)
	// Watch begins on its own time: write until it has noticed.
	deadline := time.After(waitLimit)
	for i, noticed := 0, false; !noticed; i++ {
		update(t, b, func(tx provisioning.Tx) error {
			return tx.PutNode(ctx, provisioning.Node{MAC: MAC(1), RunMode: "prod", Name: fmt.Sprint(i)})
		})
		pause := time.NewTimer(50 * time.Millisecond)
		select {
		case <-changed:
			noticed = true
		case <-pause.C:
		case <-deadline:
			t.Fatal("no word of another handle's changes")
		}
	}
	cancel()
	for {
		select {
		case _, open := <-changed:
			if !open {
				return
			}
		case <-deadline:
			t.Fatal("the channel is not closed at the end of its context")
		}
	}
}

func cancelled(t *testing.T, open Open) {
	s := open(t, "a")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Update(ctx, func(provisioning.Tx) error { return nil }); err == nil {
		t.Error("no error from Update with a context that has ended")
	}
	if _, err := s.Nodes(ctx, provisioning.NodeQuery{}); err == nil {
		t.Error("no error from Nodes with a context that has ended")
	}
}

func proven(t *testing.T, open Open) {
	s, ctx := open(t, "a"), t.Context()
	_, err := s.Proven(ctx, MAC(1))
	wantCode(t, err, provisioning.NotFound)
	first := provisioning.Proven{MAC: MAC(1), Client: "pxe", Strategy: provisioning.Strategy{NBP: provisioning.SNPOnly, Form: provisioning.FileInOffer}, Since: Noon}
	usual := provisioning.Proven{MAC: MAC(2), Client: "http", Since: Noon.Add(time.Hour)}
	update(t, s, func(tx provisioning.Tx) error {
		return errors.Join(tx.PutProven(ctx, first), tx.PutProven(ctx, usual))
	})
	for _, want := range []provisioning.Proven{first, usual} {
		got, err := s.Proven(ctx, want.MAC)
		wantCode(t, err, "")
		wantEqual(t, "proven strategy", got, want)
	}
	second := provisioning.Proven{MAC: MAC(1), Client: "ipxe", Strategy: provisioning.Strategy{Form: provisioning.ProgramForIPXE}, Since: Noon.Add(time.Minute)}
	update(t, s, func(tx provisioning.Tx) error { return tx.PutProven(ctx, second) })
	got, err := s.Proven(ctx, MAC(1))
	wantCode(t, err, "")
	wantEqual(t, "proven strategy that replaces another", got, second)
}
