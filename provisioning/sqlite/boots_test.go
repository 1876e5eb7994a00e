package sqlite

import (
	"context"
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"farmboot/provisioning"
	"farmboot/provisioning/boots"
	"farmboot/provisioning/sqlstore"
)

var noon = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

func mac(node int) provisioning.MAC {
	return provisioning.MAC{0x52, 0x54, 0, 0, byte(node >> 8), byte(node)}
}

// said is that a node said something.
func said(node int, what string) boots.News {
	return boots.Pack([]provisioning.Event{{At: noon, MAC: mac(node), Stage: provisioning.StageOffer, Detail: what}})[0]
}

// record stores news as the recorder does.
func record(t *testing.T, s *Store, open *boots.Open, news ...boots.News) {
	t.Helper()
	var c boots.Changes
	err := s.UpdateUnsynced(t.Context(), func(tx provisioning.Tx) error {
		if err := open.Number(t.Context(), tx, news); err != nil {
			return err
		}
		c = open.Add(news)
		return tx.WriteBoots(t.Context(), c.BootChanges)
	})
	if err != nil {
		t.Fatal(err)
	}
	open.Keep(c)
}

// TestLostTransactions: a store that ended without warning forgets its last transactions and
// gives their IDs again, while an appliance goes on that remembers them.
func TestLostTransactions(t *testing.T) {
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "p.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	open := boots.NewOpen(10)
	record(t, s, open, said(1, "one"), said(1, "one, more"))
	if _, err := s.durable.Exec(`DELETE FROM boots; DELETE FROM event_ids`); err != nil {
		t.Fatal(err)
	}
	record(t, s, open, said(2, "two"))
	record(t, s, open, said(1, "one, again"))
	events, err := s.Events(t.Context(), provisioning.EventQuery{})
	if err != nil || len(events) != 2 || events[0].ID != 3 || events[0].MAC != mac(2) || events[0].Detail != "two" ||
		events[1].ID != 4 || events[1].MAC != mac(1) || events[1].Detail != "one, again" {
		t.Errorf("%+v, %v", events, err)
	}
	// Nor does a row take the steps of another node.
	err = s.UpdateUnsynced(t.Context(), func(tx provisioning.Tx) error {
		return tx.WriteBoots(t.Context(), provisioning.BootChanges{Put: []provisioning.BootRow{{ID: 3, Last: 9, MAC: provisioning.MAC{2}, Steps: []byte{}}}})
	})
	if again, errAgain := s.Events(t.Context(), provisioning.EventQuery{MAC: mac(2)}); err != nil || errAgain != nil || len(again) != 1 {
		t.Errorf("%+v, %v, %v", again, err, errAgain)
	}
}

// between does something between the first page of boots and the second.
type between struct {
	sqlstore.Querier
	pages int
	do    func()
}

func (b *between) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if b.pages++; b.pages == 2 {
		b.do()
	}
	return b.Querier.QueryContext(ctx, query, args...)
}

// TestPagesAreOfOneState: what is stored between two pages of a long answer is not half in it.
func TestPagesAreOfOneState(t *testing.T) {
	for _, last := range []bool{false, true} {
		s, err := Open(t.Context(), filepath.Join(t.TempDir(), "p.db"))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		const nodes = 1500
		open, news := boots.NewOpen(nodes), make([]boots.News, nodes)
		for i := range news {
			news[i] = said(i+1, "first")
		}
		record(t, s, open, news...)
		b := &between{do: func() { record(t, s, open, said(1, "more"), said(nodes, "more"), said(1, "more")) }}
		s.Snapshot = func(ctx context.Context, fn func(sqlstore.Querier) error) error {
			return s.Reading(ctx, func(in sqlstore.Querier) error {
				b.Querier = in
				return fn(b)
			})
		}
		events, err := s.Events(t.Context(), provisioning.EventQuery{Last: last})
		if err != nil || len(events) != nodes || b.pages != 2 {
			t.Errorf("last %t: %d events in %d pages, %v, want %d in 2", last, len(events), b.pages, err, nodes)
		}
	}
}
