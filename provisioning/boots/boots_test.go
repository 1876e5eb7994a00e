package boots_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"farmboot/provisioning"
	"farmboot/provisioning/boots"
	"farmboot/provisioning/storetest"
)

// told is an event, or, with a Peer, whose address that is.
type told struct {
	Event provisioning.Event
	Peer  netip.Addr
	Since time.Time
}

func (n told) pack() boots.News {
	if n.Peer.IsValid() {
		return boots.Learned(n.Peer, n.Event.MAC, n.Since)
	}
	return boots.Pack([]provisioning.Event{n.Event})[0]
}

// table is what a store keeps: rows by ID.
type table map[int64]provisioning.BootRow

// write does what a store does with changes.
func (rows table) write(t testing.TB, c provisioning.BootChanges) {
	t.Helper()
	for _, id := range c.Delete {
		if _, ok := rows[id]; !ok {
			t.Errorf("row %d is to be deleted and is not there", id)
		}
		delete(rows, id)
	}
	for _, a := range c.Attribute {
		for id, b := range rows {
			if b.MAC.IsZero() && b.Peer == a.Peer && !b.Ended.Before(a.Since) {
				b.MAC, b.Peer = a.MAC, netip.Addr{}
				rows[id] = b
			}
		}
	}
	for _, b := range c.Put {
		if old, ok := rows[b.ID]; ok && old.MAC != b.MAC {
			t.Errorf("row %d of %v is put as that of %v", b.ID, old.MAC, b.MAC)
		}
		b.Steps = append([]byte{}, b.Steps...)
		rows[b.ID] = b
	}
}

// events returns the events of all rows, by ID.
func (rows table) events(t testing.TB) map[int64]provisioning.Event {
	t.Helper()
	all := map[int64]provisioning.Event{}
	for _, b := range rows {
		events, err := boots.Events(b)
		if err != nil {
			t.Fatal(err)
		}
		if len(events) == 0 || len(events) > boots.MaxSteps || events[0].ID != b.ID || events[len(events)-1].ID != b.Last || b.Last-b.ID >= boots.Span {
			t.Errorf("row %d to %d has %d events", b.ID, b.Last, len(events))
		}
		for _, e := range events {
			if _, ok := all[e.ID]; ok {
				t.Errorf("event %d is in two rows", e.ID)
			}
			all[e.ID] = e
		}
	}
	return all
}

var comparable = cmp.Options{cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty()}

// TestNothingIsLost: whatever comes in whichever order, and whatever could not be stored
// and is forgotten, every event that was stored is in one row, as it was told.
func TestNothingIsLost(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		open, rows, want := boots.NewOpen(rapid.IntRange(1, 8).Draw(rt, "remembered")), table{}, map[int64]provisioning.Event{}
		at, id := storetest.Noon, int64(0)
		peers := []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("fe80::1%eth0")}
		for range rapid.IntRange(1, 30).Draw(rt, "batches") {
			var news []boots.News
			var events []provisioning.Event
			first := id
			for range rapid.IntRange(1, 40).Draw(rt, "batch") {
				at = at.Add(time.Duration(rapid.SampledFrom([]int{0, 1, 900, 70_000, 400_000, -5000}).Draw(rt, "pause")) * time.Millisecond)
				peer := rapid.SampledFrom(peers).Draw(rt, "peer")
				mac := storetest.MAC(rapid.IntRange(1, 4).Draw(rt, "node"))
				if rapid.IntRange(0, 5).Draw(rt, "kind") == 0 {
					news = append(news, boots.Learned(peer, mac, at.Add(-3*time.Minute)))
					continue
				}
				if rapid.Bool().Draw(rt, "unknown") {
					mac = provisioning.MAC{}
				}
				id += rapid.SampledFrom([]int64{1, 1, 1, 30_000}).Draw(rt, "others between")
				stage := rapid.SampledFrom([]provisioning.Stage{provisioning.StageDiscover, provisioning.StageOffer, provisioning.StageNBP, provisioning.StageScript, provisioning.StageKernel}).Draw(rt, "stage")
				e := provisioning.Event{ID: id, At: at, MAC: mac, Peer: peer, Stage: stage, File: rapid.SampledFrom([]string{"", "a"}).Draw(rt, "file")}
				news, events = append(news, told{Event: e}.pack()), append(events, e)
			}
			if rapid.IntRange(0, 9).Draw(rt, "outcome") == 0 { // it cannot be stored, and its IDs are given again
				open.Forget(open.Add(news))
				id = first
				continue
			}
			if rapid.Bool().Draw(rt, "twice") {
				open.Add(news) // another process was in the way
			}
			c := open.Add(news)
			rows.write(t, c.BootChanges)
			open.Keep(c)
			for _, e := range events {
				want[e.ID] = e
			}
		}
		got := rows.events(t)
		for id, e := range got {
			if want[id].MAC.IsZero() { // it may have been given to a node
				e.MAC = provisioning.MAC{}
				got[id] = e
			}
		}
		if diff := cmp.Diff(want, got, comparable); diff != "" {
			rt.Fatalf("events (-want +got):\n%s", diff)
		}
	})
}

// play stores events a batch each, a second apart, and returns the rows as texts: whose it
// is, and its stages.
func play(t *testing.T, news ...told) []string {
	t.Helper()
	open, rows := boots.NewOpen(10), table{}
	for i, n := range news {
		n.Event.ID = int64(i) + 1
		if n.Event.At.IsZero() {
			n.Event.At = storetest.Noon.Add(time.Duration(i) * time.Second)
		}
		c := open.Add([]boots.News{n.pack()})
		rows.write(t, c.BootChanges)
		open.Keep(c)
	}
	var rowsTold []string
	for id := range news {
		b, ok := rows[int64(id)+1]
		if !ok {
			continue
		}
		events, err := boots.Events(b)
		if err != nil {
			t.Fatal(err)
		}
		var stages []string
		for _, e := range events {
			stages = append(stages, string(e.Stage))
		}
		who := b.MAC.String()
		if b.MAC.IsZero() {
			who = b.Peer.String()
		}
		rowsTold = append(rowsTold, who+": "+strings.Join(stages, " "))
	}
	return rowsTold
}

func TestOneRowForEachBoot(t *testing.T) {
	peer := netip.MustParseAddr("10.0.0.1")
	a, b := storetest.MAC(1), storetest.MAC(2)
	node := func(mac provisioning.MAC, stage provisioning.Stage) told {
		return told{Event: provisioning.Event{MAC: mac, Stage: stage}}
	}
	unknown := told{Event: provisioning.Event{Peer: peer, Stage: provisioning.StageNBP, File: "undionly.kpxe"}}
	learned := told{Event: provisioning.Event{MAC: a}, Peer: peer, Since: storetest.Noon}
	ipxe := node(a, provisioning.StageDiscover)
	ipxe.Event.IPXE = true
	later := node(a, provisioning.StageDiscover)
	later.Event.At = storetest.Noon.Add(time.Hour)
	sent := node(a, provisioning.StageKernel)
	full := unknown
	for _, test := range []struct {
		name string
		news []told
		want []string
	}{
		{"a boot", []told{node(a, "discover"), node(a, "offer"), node(a, "script"), sent}, []string{"52:54:00:00:00:01: discover offer script kernel"}},
		{"two nodes", []told{node(a, "discover"), node(b, "discover"), node(a, "offer"), node(b, "offer")}, []string{"52:54:00:00:00:01: discover offer", "52:54:00:00:00:02: discover offer"}},
		{"two boots", []told{node(a, "discover"), node(a, "offer"), later}, []string{"52:54:00:00:00:01: discover offer", "52:54:00:00:00:01: discover"}},
		{
			"TFTP before its MAC address is known",
			[]told{node(a, "discover"), node(a, "offer"), unknown, ipxe, learned, node(a, "script")},
			[]string{"52:54:00:00:00:01: discover offer nbp discover script"},
		},
		{"nobody's", []told{unknown, unknown}, []string{"10.0.0.1: nbp nbp"}},
		{"an address before its node", []told{unknown, learned, node(a, "script")}, []string{"52:54:00:00:00:01: nbp script"}},
		{"what began before the node's boot", []told{unknown, node(a, "script"), learned, sent}, []string{"52:54:00:00:00:01: nbp script kernel"}},
		{
			"an address that another node has later",
			[]told{unknown, {Event: provisioning.Event{At: storetest.Noon.Add(time.Hour), Peer: peer, Stage: provisioning.StageNBP}}, {Event: provisioning.Event{MAC: a}, Peer: peer, Since: storetest.Noon.Add(50 * time.Minute)}},
			[]string{"10.0.0.1: nbp", "52:54:00:00:00:01: nbp"},
		},
		{
			"what another node did that had the address",
			[]told{unknown, {Event: provisioning.Event{At: storetest.Noon.Add(time.Hour), MAC: a, Peer: peer, Stage: provisioning.StageScript}}, {Event: provisioning.Event{MAC: a}, Peer: peer, Since: storetest.Noon.Add(57 * time.Minute)}},
			[]string{"10.0.0.1: nbp", "52:54:00:00:00:01: script"},
		},
		{"more than a row holds", slicesOf(full, boots.MaxSteps+1), []string{"10.0.0.1:" + strings.Repeat(" nbp", boots.MaxSteps), "10.0.0.1: nbp"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, play(t, test.news...)); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
		})
	}
}

func slicesOf(n told, count int) (all []told) {
	for range count {
		all = append(all, n)
	}
	return all
}

// TestRepeatsAreSmall: a node that asks for hours says the same again and again.
func TestRepeatsAreSmall(t *testing.T) {
	open := boots.NewOpen(1)
	var events []provisioning.Event
	for i := range boots.MaxSteps {
		e := provisioning.Event{ID: int64(i) + 1, At: storetest.Noon.Add(time.Duration(i) * 4 * time.Second), MAC: storetest.MAC(1), Stage: provisioning.StageDiscover, Detail: "BIOS, PXEClient"}
		if i%2 == 1 {
			e.Stage, e.Detail, e.File = provisioning.StageOffer, "", "undionly.kpxe"
		}
		events = append(events, e)
	}
	rows := open.Add(boots.Pack(events)).Put
	if len(rows) != 1 || len(rows[0].Steps) > 12*boots.MaxSteps {
		t.Errorf("%d rows, the first of %d bytes", len(rows), len(rows[0].Steps))
	}
}

// TestDamagedSteps: nothing that stands in a row makes a reader panic, and what is damaged
// is called so. A field that is not known is skipped.
func TestDamagedSteps(t *testing.T) {
	events, err := boots.Events(provisioning.BootRow{ID: 7, Steps: []byte{0x0a, 11, 0x22, 5, 'o', 'f', 'f', 'e', 'r', 0xfa, 0x07, 1, 'x'}})
	if err != nil || len(events) != 1 || events[0].Stage != provisioning.StageOffer || events[0].ID != 7 {
		t.Errorf("with an unknown field: %v, %v", events, err)
	}
	for _, steps := range [][]byte{{0x0a}, {0x0a, 5, 1}, {0x0a, 2, 0x18, 9}, {0x0a, 2, 0x22, 200}, {0x0a, 3, 0x5a, 1, '{'}} {
		if _, err := boots.Events(provisioning.BootRow{ID: 7, Steps: steps}); err == nil || !strings.Contains(err.Error(), "boot 7 is damaged") {
			t.Errorf("%x: %v", steps, err)
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	good := fmt.Appendf(nil, "\x0a\x0b\x08\x01\x10\x02\x22\x05offer\x0a\x06\x08\x01\x10\x02\x18\x01")
	for range 20_000 {
		steps := append([]byte{}, good...)
		for range 1 + random.IntN(4) {
			steps[random.IntN(len(steps))] = byte(random.Uint32())
		}
		_, _ = boots.Events(provisioning.BootRow{Steps: steps}) // it returns
	}
}
