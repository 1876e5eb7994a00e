package sqlstore

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"farmboot/provisioning"
	"farmboot/provisioning/boots"
)

const bootColumns = `id, last, mac, peer, began, ended, steps`

func scanBoot(b *provisioning.BootRow) []any {
	return []any{&b.ID, &b.Last, optionalMAC{&b.MAC}, address{&b.Peer}, millis{&b.Began}, millis{&b.Ended}, &b.Steps}
}

// optionalMAC reads a MAC address; no bytes are the zero one.
type optionalMAC struct{ m *provisioning.MAC }

// Scan reads six bytes or none.
func (o optionalMAC) Scan(src any) error {
	if b, ok := src.([]byte); ok && len(b) == 0 || src == nil {
		*o.m = provisioning.MAC{}
		return nil
	}
	return o.m.Scan(src)
}

// bytesOf returns the six bytes of mac, none of the zero one.
func bytesOf(mac provisioning.MAC) []byte {
	if mac.IsZero() {
		return []byte{}
	}
	return mac[:]
}

// address reads an IP address; the empty text is none.
type address struct{ a *netip.Addr }

// Scan reads the text.
func (a address) Scan(src any) error {
	s, ok := src.(string)
	if !ok {
		return fmt.Errorf("scan IP address from %T", src)
	}
	*a.a = netip.Addr{}
	if s == "" {
		return nil
	}
	return a.a.UnmarshalText([]byte(s))
}

// addressText is how an address is kept: its text, "" for none.
func addressText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.Unmap().String()
}

// ownedBoot is a boot, and since when its node is its farmer's, where that matters.
type ownedBoot struct {
	provisioning.BootRow
	owned time.Time
}

const (
	// bootsPage is how many boots one query reads at most: a hundred thousand of them are
	// 50 MB.
	bootsPage  = 1000
	ownedSince = `(SELECT owned FROM nodes WHERE nodes.mac = boots.mac)`
)

// Events implements [provisioning.Reader].
func (r Reader) Events(ctx context.Context, q provisioning.EventQuery) (events []provisioning.Event, err error) {
	if r.Snapshot == nil {
		return r.events(ctx, q)
	}
	err = r.Snapshot(ctx, func(in Querier) (err error) {
		events, err = Reader{Q: in, Explain: r.Explain}.events(ctx, q)
		return err
	})
	return events, err
}

// events reads boots page by page. They go on beside each other: of the events of two, those
// of the one that began first may be the newer ones.
func (r Reader) events(ctx context.Context, q provisioning.EventQuery) ([]provisioning.Event, error) {
	since := q.Since.Truncate(time.Millisecond) // as times are stored
	size := bootsPage
	if q.Limit > 0 {
		size = min(size, max(q.Limit/4, 16)) // a boot has some eight events
	}
	columns, order := bootColumns+", 0", " ORDER BY id"
	var w where
	if !q.MAC.IsZero() {
		w.and("mac = ?", q.MAC[:])
	}
	if q.Farmer != 0 {
		columns = bootColumns + ", " + ownedSince
		w.and(`mac IN (SELECT mac FROM nodes WHERE farmer = ?)`, q.Farmer)
	}
	if q.After != 0 {
		w.and("last > ? AND id > ?", q.After, q.After-boots.Span)
	}
	if !q.Since.IsZero() {
		w.and("ended >= ?", provisioning.Millis(q.Since))
	}
	if q.Last {
		order = " ORDER BY id DESC"
	}
	found, rest := []provisioning.Event{}, func(*where) {} // the rest may hold what belongs among those found
	for {
		page := where{slices.Clone(w.conditions), slices.Clone(w.args)}
		rest(&page)
		query := `SELECT ` + columns + ` FROM boots` + page.String() + order + page.limit(size)
		rows, err := all(ctx, r, func(b *ownedBoot) []any { return append(scanBoot(&b.BootRow), millis{&b.owned}) }, query, page.args...)
		if err != nil {
			return nil, err
		}
		for _, b := range rows {
			events, _ := boots.Events(b.BootRow) // of a damaged row, those before the damage: the others are to be seen
			for _, e := range events {
				if e.ID > q.After && !e.At.Before(since) && !e.At.Before(b.owned) {
					found = append(found, e)
				}
			}
		}
		last := len(rows) < size
		if q.Limit > 0 || last { // all of them once, at the end
			slices.SortFunc(found, func(a, b provisioning.Event) int { return cmp.Compare(a.ID, b.ID) })
		}
		enough := q.Limit > 0 && len(found) >= q.Limit
		if enough && q.Last {
			found = slices.Delete(found, 0, len(found)-q.Limit)
		} else if enough {
			found = slices.Delete(found, q.Limit, len(found))
		}
		if last {
			return found, nil
		}
		end := rows[len(rows)-1].ID
		rest = func(w *where) {
			switch {
			case q.Last && enough:
				w.and("id < ? AND last > ? AND id > ?", end, found[0].ID, found[0].ID-boots.Span)
			case q.Last:
				w.and("id < ?", end)
			case enough:
				w.and("id > ? AND id < ?", end, found[len(found)-1].ID)
			default:
				w.and("id > ?", end)
			}
		}
	}
}

// LastEventID implements [provisioning.Reader].
func (r Reader) LastEventID(ctx context.Context) (int64, error) {
	var id int64
	err := r.Q.QueryRowContext(ctx, `SELECT coalesce(max(last), 0) FROM event_ids`).Scan(&id)
	return id, r.Explain(err)
}

// NumberEvents implements [provisioning.Tx].
func (t Tx) NumberEvents(ctx context.Context, n int) (int64, error) {
	var last int64
	err := t.Q.QueryRowContext(ctx, `INSERT INTO event_ids (one, last) VALUES (1, $1)
		ON CONFLICT (one) DO UPDATE SET last = event_ids.last + excluded.last RETURNING last`, n).Scan(&last)
	return last - int64(n) + 1, t.Explain(err)
}

// insertBoots leaves mac out of what it replaces: an index has it. A boot of no MAC address
// may have been given to a node meanwhile, by another appliance.
var insertBoots = newInsertion(7, "", `INSERT INTO boots (`+bootColumns+`)`,
	` ON CONFLICT (id) DO UPDATE SET last = excluded.last, ended = excluded.ended, steps = excluded.steps
		WHERE boots.mac = excluded.mac OR length(excluded.mac) = 0`)

// WriteBoots implements [provisioning.Tx].
func (t Tx) WriteBoots(ctx context.Context, rows provisioning.BootChanges) error {
	for _, id := range rows.Delete {
		if err := t.exec(ctx, `DELETE FROM boots WHERE id = $1`, id); err != nil {
			return err
		}
	}
	for _, a := range rows.Attribute {
		// The index on the addresses of boots without a MAC address has just this condition.
		if err := t.exec(ctx, `UPDATE boots SET mac = $1, peer = '' WHERE length(mac) = 0 AND peer = $2 AND ended >= $3`,
			a.MAC[:], addressText(a.Peer), provisioning.Millis(a.Since)); err != nil {
			return err
		}
	}
	return insert(ctx, t, insertBoots, rows.Put, func(args []any, b provisioning.BootRow) []any {
		return append(args, b.ID, b.Last, bytesOf(b.MAC), addressText(b.Peer), provisioning.Millis(b.Began), provisioning.Millis(b.Ended), b.Steps)
	})
}
