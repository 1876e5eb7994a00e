package sqlstore

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"farmboot/provisioning"
)

const eventColumns = `id, at, mac, peer, stage, detail, ipxe, file, via, version, sha256, cause, held, bytes, size, duration`

func scanEvent(e *provisioning.Event) []any {
	return []any{&e.ID, millis{&e.At}, optionalMAC{&e.MAC}, address{&e.Peer}, &e.Stage, &e.Detail, &e.IPXE, &e.File, &e.Via, &e.Version, &e.SHA256, causeText{&e.Cause}, &e.Held, &e.Bytes, &e.Size, &e.Duration}
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

// causeText reads a cause; the empty text is none.
type causeText struct{ c *provisioning.Cause }

// Scan reads the JSON.
func (t causeText) Scan(src any) error {
	s, ok := src.(string)
	if !ok {
		return fmt.Errorf("scan cause from %T", src)
	}
	*t.c = provisioning.Cause{}
	if s == "" {
		return nil
	}
	return json.Unmarshal([]byte(s), t.c)
}

func causeJSON(c provisioning.Cause) string {
	if c.IsZero() {
		return ""
	}
	text, err := json.Marshal(c)
	if err != nil {
		panic(err) // strings and numbers can always be written
	}
	return string(text)
}

// PeerText is how events keep an address: its text, "" for none.
func PeerText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.Unmap().String()
}

// Events implements [provisioning.Reader].
func (r Reader) Events(ctx context.Context, q provisioning.EventQuery) ([]provisioning.Event, error) {
	var w where
	if !q.MAC.IsZero() {
		w.and("mac = ?", q.MAC[:])
	}
	if q.Farmer != 0 {
		w.and(`mac IN (SELECT mac FROM nodes WHERE farmer = ?) AND at >= (SELECT owned FROM nodes WHERE nodes.mac = events.mac)`, q.Farmer)
	}
	if q.After != 0 {
		w.and("id > ?", q.After)
	}
	if !q.Since.IsZero() {
		w.and("at >= ?", ms(q.Since))
	}
	order := " ORDER BY id"
	if q.Last {
		order = " ORDER BY id DESC"
	}
	query := `SELECT ` + eventColumns + ` FROM events` + w.String() + order + w.limit(q.Limit)
	found, err := all(ctx, r, scanEvent, query, w.args...)
	if q.Last {
		slices.Reverse(found)
	}
	return found, err
}

// LastEventID implements [provisioning.Reader].
func (r Reader) LastEventID(ctx context.Context) (int64, error) {
	var id int64
	err := r.Q.QueryRowContext(ctx, `SELECT coalesce(max(id), 0) FROM events`).Scan(&id)
	return id, r.Explain(err)
}

// insertion is statements that store many rows at once: one for each row costs more than
// what it stores (measured). There are few of them, so that they stay prepared.
type insertion map[int]string // by number of rows

// newInsertion makes them of rows that have so many columns and then constants.
func newInsertion(columns int, constants, before, after string) insertion {
	in := insertion{}
	for _, rows := range []int{1, 8, insertedAtOnce} {
		text := []byte(before + " VALUES ")
		for i := range rows * columns {
			switch {
			case i == 0:
				text = append(text, '(')
			case i%columns == 0:
				text = append(text, constants+"), ("...)
			default:
				text = append(text, ", "...)
			}
			text = strconv.AppendInt(append(text, '$'), int64(i+1), 10)
		}
		in[rows] = string(text) + constants + ")" + after
	}
	return in
}

// insertedAtOnce is how many rows one statement inserts at most.
const insertedAtOnce = 64

// insert stores all rows of a list; args appends what a row holds.
func insert[T any](ctx context.Context, t Tx, in insertion, list []T, args func([]any, T) []any) error {
	var values []any
	for len(list) > 0 {
		n := insertedAtOnce
		for n > len(list) {
			n /= 8
		}
		values = values[:0]
		for _, row := range list[:n] {
			values = args(values, row)
		}
		if err := t.exec(ctx, in[n], values...); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

// DHCP's events, which are the most, have values in few columns: to hand over the empty
// ones costs as much as to store the others (measured).
var (
	insertEvents     = newInsertion(15, "", `INSERT INTO events (at, mac, peer, stage, detail, ipxe, file, via, version, sha256, cause, held, bytes, size, duration)`, "")
	insertDHCPEvents = newInsertion(7, ", 0, 0, 0", `INSERT INTO events (at, mac, peer, stage, detail, ipxe, file, bytes, size, duration)`, "")
)

// isDHCP tells whether an event has values only in the columns of insertDHCPEvents.
func isDHCP(e provisioning.Event) bool {
	return e.Via == "" && e.Version == "" && e.SHA256 == "" && e.Cause.IsZero() && e.Held == 0 && e.Bytes == 0 && e.Size == 0 && e.Duration == 0
}

// AddEvents implements [provisioning.Tx].
func (t Tx) AddEvents(ctx context.Context, events []provisioning.Event) error {
	for chunk := range slices.Chunk(events, insertedAtOnce) {
		in := insertEvents
		dhcp := !slices.ContainsFunc(chunk, func(e provisioning.Event) bool { return !isDHCP(e) })
		if dhcp {
			in = insertDHCPEvents
		}
		if err := insert(ctx, t, in, chunk, func(args []any, e provisioning.Event) []any {
			args = append(args, ms(e.At), bytesOf(e.MAC), PeerText(e.Peer), string(e.Stage), e.Detail, e.IPXE, e.File)
			if dhcp {
				return args
			}
			return append(args, e.Via, e.Version, e.SHA256, causeJSON(e.Cause), e.Held, e.Bytes, e.Size, int64(e.Duration))
		}); err != nil {
			return err
		}
	}
	return nil
}

// AttributeEvents implements [provisioning.Tx].
func (t Tx) AttributeEvents(ctx context.Context, mac provisioning.MAC, peer string, since time.Time) error {
	return t.exec(ctx, `UPDATE events SET mac = $1 WHERE mac = $2 AND peer = $3 AND at >= $4`,
		mac[:], []byte{}, peer, ms(since))
}

const seenColumns = `mac, arch, firmware, uuid, serial, manufacturer, product, address, first_seen, last_seen, boots, code`

func scanSeen(d *provisioning.Discovered) []any {
	return []any{&d.MAC, &d.Arch, &d.Firmware, &d.UUID, &d.Serial, &d.Manufacturer, &d.Product, &d.Address, millis{&d.FirstSeen}, millis{&d.LastSeen}, &d.Boots, &d.Code}
}

// Seen implements [provisioning.Reader].
func (r Reader) Seen(ctx context.Context, mac provisioning.MAC) (provisioning.Discovered, error) {
	var d provisioning.Discovered
	err := r.one(ctx, provisioning.Errorf(provisioning.NotFound, "MAC address %s has not been seen booting here", mac),
		scanSeen(&d), `SELECT `+seenColumns+` FROM seen WHERE mac = $1`, mac[:])
	return d, err
}

// SeenAmong implements [provisioning.Reader].
func (r Reader) SeenAmong(ctx context.Context, macs []provisioning.MAC) (map[provisioning.MAC]provisioning.Discovered, error) {
	var w where
	w.and("mac IN "+listed, 6*len(macs), joined(macs))
	list, err := all(ctx, r, scanSeen, `SELECT `+seenColumns+` FROM seen`+w.String(), w.args...)
	seen := make(map[provisioning.MAC]provisioning.Discovered, len(list))
	for _, d := range list {
		seen[d.MAC] = d
	}
	return seen, err
}

// SeenByCode implements [provisioning.Reader].
func (r Reader) SeenByCode(ctx context.Context, code string) (provisioning.Discovered, error) {
	var d provisioning.Discovered
	err := r.one(ctx, provisioning.Errorf(provisioning.NotFound, "no node shows the claim code %s", code),
		scanSeen(&d), `SELECT `+seenColumns+` FROM seen WHERE code = $1`, code)
	return d, err
}

// unregistered are the rows of seen whose MAC address is not a node's.
const unregistered = `NOT EXISTS (SELECT 1 FROM nodes WHERE nodes.mac = seen.mac)`

// Unregistered implements [provisioning.Reader].
func (r Reader) Unregistered(ctx context.Context, limit int) ([]provisioning.Discovered, error) {
	var w where
	w.and(unregistered)
	query := `SELECT ` + seenColumns + ` FROM seen` + w.String() + ` ORDER BY last_seen DESC, mac` + w.limit(limit)
	return all(ctx, r, scanSeen, query, w.args...)
}

var insertSeen = newInsertion(12, "", `INSERT INTO seen (mac, arch, firmware, uuid, serial, manufacturer, product, address, first_seen, last_seen, boots, code)`,
	` ON CONFLICT (mac) DO UPDATE SET arch = excluded.arch, firmware = excluded.firmware, uuid = excluded.uuid,
		serial = excluded.serial, manufacturer = excluded.manufacturer, product = excluded.product, address = excluded.address,
		first_seen = excluded.first_seen, last_seen = excluded.last_seen, boots = excluded.boots, code = excluded.code`)

// PutSeen implements [provisioning.Tx].
func (t Tx) PutSeen(ctx context.Context, seen ...provisioning.Discovered) error {
	return insert(ctx, t, insertSeen, seen, func(args []any, d provisioning.Discovered) []any {
		return append(args, d.MAC[:], d.Arch, d.Firmware, d.UUID, d.Serial, d.Manufacturer, d.Product, d.Address, ms(d.FirstSeen), ms(d.LastSeen), d.Boots, d.Code)
	})
}

// CodesTaken implements [provisioning.Reader].
func (r Reader) CodesTaken(ctx context.Context, codes []string) ([]string, error) {
	args, params := make([]any, len(codes)), make([]string, len(codes))
	for i, c := range codes {
		args[i], params[i] = c, "$"+strconv.Itoa(i+1)
	}
	return all(ctx, r, func(code *string) []any { return []any{code} },
		`SELECT code FROM seen WHERE code IN (`+strings.Join(params, ", ")+`)`, args...)
}

// pruneStep is how many rows one Prune deletes at most of each table, so that
// nobody waits long for the write lock.
const pruneStep = 2000

// Prune implements [provisioning.Tx]. Events and changes are numbered in the order in
// which they came, so the oldest are found from the low end of their keys.
func (t Tx) Prune(ctx context.Context, p provisioning.Prune) (bool, error) {
	more := false
	for _, step := range []struct {
		kept  int
		query string
	}{
		{p.EventsKept, `DELETE FROM events WHERE id IN (SELECT id FROM events ORDER BY id LIMIT $1) AND id <= (SELECT max(id) FROM events) - $2`},
		{p.ChangesKept, `DELETE FROM changes WHERE id IN (SELECT id FROM changes ORDER BY id LIMIT $1) AND id <= (SELECT max(id) FROM changes) - $2 AND id NOT IN (SELECT max(id) FROM changes WHERE subject LIKE '` + provisioning.CanarySubject + `%' GROUP BY subject)`},
		{p.SeenKept, `DELETE FROM seen WHERE mac IN (SELECT mac FROM seen WHERE ` + unregistered + ` ORDER BY last_seen DESC, mac LIMIT $1 OFFSET $2)`},
	} {
		if step.kept == 0 {
			continue
		}
		result, err := t.Q.ExecContext(ctx, step.query, pruneStep, step.kept)
		if err != nil {
			return false, t.Explain(err)
		}
		n, err := result.RowsAffected()
		if err != nil {
			return false, t.Explain(err)
		}
		more = more || n == pruneStep
	}
	return more, nil
}
