package sqlstore

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"strings"

	"farmboot/provisioning"
	"farmboot/provisioning/boots"
)

// Migration takes a schema from version Version-1 to Version.
type Migration struct {
	Version int
	Name    string // of its file, without ".sql"
	SQL     string
}

// Migrations reads the *.sql files of a folder: 0001_….sql, 0002_….sql, without a
// gap.
func Migrations(dir fs.FS) ([]Migration, error) {
	names, err := fs.Glob(dir, "*.sql")
	if err != nil {
		return nil, err
	}
	var found []Migration
	for i, name := range names { // sorted: see fs.Glob
		if !strings.HasPrefix(name, fmt.Sprintf("%04d_", i+1)) {
			return nil, fmt.Errorf("migration %s is not number %d", name, i+1)
		}
		text, err := fs.ReadFile(dir, name)
		if err != nil {
			return nil, err
		}
		found = append(found, Migration{i + 1, strings.TrimSuffix(name, ".sql"), string(text)})
	}
	return found, nil
}

// Apply runs a migration, in a transaction of its own or of many: what SQL says, and what
// it cannot say.
func (m Migration) Apply(ctx context.Context, tx Querier) error {
	if _, err := tx.ExecContext(ctx, m.SQL); err != nil {
		return err
	}
	if strings.HasSuffix(m.Name, "_boots") {
		return packEvents(ctx, tx)
	}
	return nil
}

// packEvents packs the rows of table events, one for each event, into boots.
func packEvents(ctx context.Context, q Querier) error {
	const columns = `id, at, mac, peer, stage, detail, ipxe, file, via, version, sha256, cause, held, bytes, size, duration`
	scan := func(e *provisioning.Event) []any {
		return []any{&e.ID, millis{&e.At}, optionalMAC{&e.MAC}, address{&e.Peer}, &e.Stage, &e.Detail, flag{&e.IPXE}, &e.File, &e.Via, &e.Version, &e.SHA256, causeText{&e.Cause}, &e.Held, &e.Bytes, &e.Size, &e.Duration}
	}
	t := Tx{Reader: Reader{Q: q, Explain: func(err error) error { return err }}}
	if err := t.exec(ctx, `INSERT INTO event_ids SELECT 1, max(id) FROM events HAVING max(id) > 0`); err != nil {
		return err
	}
	open := boots.NewOpen(1000)
	mac, id := []byte{}, int64(0)
	for {
		events, err := all(ctx, t.Reader, scan, `SELECT `+columns+` FROM events WHERE (mac, id) > ($1, $2) ORDER BY mac, id LIMIT 5000`, mac, id)
		if err != nil {
			return err
		}
		if len(events) == 0 {
			return t.exec(ctx, `DROP TABLE events`)
		}
		changes := open.Add(boots.Pack(events))
		if err := t.WriteBoots(ctx, changes.BootChanges); err != nil {
			return err
		}
		open.Keep(changes)
		last := events[len(events)-1]
		mac, id = bytesOf(last.MAC), last.ID
	}
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
