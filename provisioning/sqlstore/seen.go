package sqlstore

import (
	"context"
	"slices"
	"strings"

	"farmboot/provisioning"
)

const seenColumns = `mac, arch, firmware, uuid, serial, manufacturer, product, address, first_seen, last_seen, boots, code`

func scanSeen(d *provisioning.Discovered) []any {
	return []any{&d.MAC, &d.Arch, &d.Firmware, &d.UUID, &d.Serial, &d.Manufacturer, &d.Product, &d.Address, millis{&d.FirstSeen}, millis{&d.LastSeen}, &d.Boots, &d.Code}
}

// Seen implements [provisioning.Reader].
func (r Reader) Seen(ctx context.Context, mac provisioning.MAC) (provisioning.Discovered, error) {
	var d provisioning.Discovered
	err := r.one(ctx, scanSeen(&d), `SELECT `+seenColumns+` FROM seen WHERE mac = $1`, mac[:],
		"MAC address %s has not been seen booting here", mac)
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
	err := r.one(ctx, scanSeen(&d), `SELECT `+seenColumns+` FROM seen WHERE code = $1`, code,
		"no node shows the claim code %s", code)
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
		return append(args, d.MAC[:], d.Arch, d.Firmware, d.UUID, d.Serial, d.Manufacturer, d.Product, d.Address, provisioning.Millis(d.FirstSeen), provisioning.Millis(d.LastSeen), d.Boots, d.Code)
	})
}

// listedCodes is a list of claim codes, one after the other.
var listedCodes = pieces(`CAST(? AS TEXT)`, provisioning.CodeLength)

// codesAtOnce is how many of them one query looks for: to cut a piece out of a text, its
// characters are counted from the start.
const codesAtOnce = 256

// CodesTaken implements [provisioning.Reader].
func (r Reader) CodesTaken(ctx context.Context, codes []string) ([]string, error) {
	taken := []string{}
	for some := range slices.Chunk(codes, codesAtOnce) {
		var w where
		w.and("code IN "+listedCodes, provisioning.CodeLength*len(some), strings.Join(some, ""))
		found, err := all(ctx, r, func(code *string) []any { return []any{code} }, `SELECT code FROM seen`+w.String(), w.args...)
		if err != nil {
			return nil, err
		}
		taken = append(taken, found...)
	}
	return taken, nil
}
