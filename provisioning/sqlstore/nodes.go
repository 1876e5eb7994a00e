package sqlstore

import (
	"context"
	"slices"
	"strconv"

	"farmboot/provisioning"
)

const nodeColumns = `mac, coalesce(farmer, 0), runmode, args, kernel, name, nbp, boot_exit, once, created, updated, owned`

func scanNode(n *provisioning.Node) []any {
	return []any{&n.MAC, &n.Farmer, &n.RunMode, &n.Args, &n.Kernel, &n.Name, &n.NBP, flag{&n.Exit}, &n.Once, millis{&n.Created}, millis{&n.Updated}, millis{&n.Owned}}
}

// Node implements [provisioning.Reader].
func (r Reader) Node(ctx context.Context, mac provisioning.MAC) (provisioning.Node, error) {
	var n provisioning.Node
	err := r.one(ctx, scanNode(&n), `SELECT `+nodeColumns+` FROM nodes WHERE mac = $1`, mac[:],
		"no node %s is registered", mac)
	return n, err
}

// Nodes implements [provisioning.Reader].
func (r Reader) Nodes(ctx context.Context, q provisioning.NodeQuery) ([]provisioning.Node, error) {
	w := nodesWhere(q)
	query := `SELECT ` + nodeColumns + ` FROM nodes` + w.String() + ` ORDER BY mac` + w.page(q.Skip, q.Limit)
	return all(ctx, r, scanNode, query, w.args...)
}

// CountNodes implements [provisioning.Reader]. It reads a list of one row: counting
// may take long, and queries for one row are for what a boot waits for.
func (r Reader) CountNodes(ctx context.Context, q provisioning.NodeQuery) (int, error) {
	w := nodesWhere(q)
	query := `SELECT count(*) FROM nodes` + w.String()
	if q.UpTo > 0 {
		query = `SELECT count(*) FROM (SELECT 1 FROM nodes` + w.String() + w.limit(q.UpTo) + `) AS found`
	}
	counts, err := all(ctx, r, func(n *int) []any { return []any{n} }, query, w.args...)
	if err != nil {
		return 0, err
	}
	return counts[0], nil
}

// CountNodesByFarmer implements [provisioning.Reader].
func (r Reader) CountNodesByFarmer(ctx context.Context) (map[provisioning.FarmerID]int, error) {
	type count struct {
		farmer provisioning.FarmerID
		nodes  int
	}
	counts, err := all(ctx, r, func(c *count) []any { return []any{&c.farmer, &c.nodes} },
		`SELECT coalesce(farmer, 0), count(*) FROM nodes GROUP BY farmer`)
	byFarmer := make(map[provisioning.FarmerID]int, len(counts))
	for _, c := range counts {
		byFarmer[c.farmer] = c.nodes
	}
	return byFarmer, err
}

// RunModes implements [provisioning.Reader]. It looks each up behind the one before, by the
// index: to read all nodes for them takes 0.1 seconds where there are a million.
func (r Reader) RunModes(ctx context.Context) ([]provisioning.RunMode, error) {
	return all(ctx, r, func(m *provisioning.RunMode) []any { return []any{m} },
		`WITH RECURSIVE used (mode) AS (
			SELECT min(runmode) FROM nodes
			UNION ALL
			SELECT (SELECT min(runmode) FROM nodes WHERE runmode > used.mode) FROM used WHERE used.mode IS NOT NULL
		) SELECT mode FROM used WHERE mode IS NOT NULL ORDER BY mode`)
}

// nodesWhere is what q selects, but for its page.
func nodesWhere(q provisioning.NodeQuery) *where {
	w := new(where)
	if q.Farmer != 0 {
		w.and("farmer = ?", int64(q.Farmer))
	}
	if q.Unowned {
		w.and("farmer IS NULL")
	}
	if q.Exit {
		w.and("boot_exit = 1")
	}
	if q.Booting {
		w.and("boot_exit = 0")
	}
	if q.RunMode != "" {
		w.and("runmode = ?", string(q.RunMode))
	}
	if q.Kernel != nil {
		w.and("kernel = ?", *q.Kernel)
	}
	if q.Name != "" {
		condition, args := is("name", q.Name)
		w.and(condition, args...)
	}
	if q.MACs != (provisioning.MACRange{}) {
		w.and("mac BETWEEN ? AND ?", q.MACs.Lo[:], q.MACs.Hi[:])
	}
	if !q.After.IsZero() {
		w.and("mac > ?", q.After[:])
	}
	if q.Text != "" {
		name, args := contains("name", q.Text)
		inArgs, more := contains("args", q.Text)
		kernel, most := contains("kernel", q.Text)
		w.and("("+name+" OR "+inArgs+" OR "+kernel+" OR "+serials+")", append(slices.Concat(args, more, most), like(q.Text))...)
	}
	if q.Who != "" {
		condition, args := contains("name", q.Who)
		condition, args = condition+` OR mac_text LIKE ? ESCAPE '\' OR `+serials, append(args, like(q.Who), like(q.Who))
		if id, err := provisioning.ParseFarmerID(q.Who); err == nil {
			condition, args = condition+` OR farmer = ?`, append(args, int64(id))
		}
		w.and("("+condition+")", args...)
	}
	if q.Among != nil {
		w.and("mac IN "+listed, 6*len(q.Among), joined(q.Among))
	}
	if len(q.Except) > 0 {
		w.and("mac NOT IN "+listed, 6*len(q.Except), joined(q.Except))
	}
	return w
}

// serials are the machines whose serial number has a text in it.
const serials = `mac IN (SELECT mac FROM seen WHERE lower(serial) LIKE ? ESCAPE '\')`

// pieces is a list as a subquery: what an expression of one parameter is, cut into pieces of
// so many bytes or characters. Its parameters are how many there are in all, and that one: one
// for each piece would be too many, for there may be tens of thousands, and SQLite takes the
// square of their number to read a statement.
func pieces(of string, length int) string {
	n := strconv.Itoa(length)
	return `(WITH RECURSIVE cut (n) AS (SELECT 1 UNION ALL SELECT n + ` + n + ` FROM cut WHERE n + ` + n + ` < ?)
	SELECT substr(` + of + `, n, ` + n + `) FROM cut)`
}

// listed is a list of MAC addresses, which joined joins. That coalesce never meets NULL; it
// tells PostgreSQL what type its parameter has.
var listed = pieces(`coalesce(?, (SELECT mac FROM nodes LIMIT 0))`, len(provisioning.MAC{}))

// joined is the bytes of MAC addresses, one after the other.
func joined(macs []provisioning.MAC) []byte {
	b := make([]byte, 0, 6*len(macs))
	for _, mac := range macs {
		b = append(b, mac[:]...)
	}
	return b
}

// PutNode implements [provisioning.Tx].
func (t Tx) PutNode(ctx context.Context, n provisioning.Node) error {
	t.decided()
	return t.exec(ctx, `INSERT INTO nodes (mac, farmer, runmode, args, kernel, name, nbp, boot_exit, once, created, updated, owned)
		VALUES ($1, nullif($2, CAST(0 AS BIGINT)), $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
		ON CONFLICT (mac) DO UPDATE SET farmer = excluded.farmer, runmode = excluded.runmode, args = excluded.args,
			kernel = excluded.kernel, name = excluded.name, nbp = excluded.nbp,
			boot_exit = excluded.boot_exit, once = excluded.once, updated = excluded.updated, owned = excluded.owned`,
		n.MAC[:], int64(n.Farmer), string(n.RunMode), n.Args, n.Kernel, n.Name, string(n.NBP), bit(n.Exit), n.Once, provisioning.Millis(n.Created), provisioning.Millis(n.Updated), provisioning.Millis(n.Owned))
}

// DeleteNode implements [provisioning.Tx].
func (t Tx) DeleteNode(ctx context.Context, mac provisioning.MAC) error {
	t.decided()
	return t.exec(ctx, `DELETE FROM nodes WHERE mac = $1`, mac[:])
}

func scanFarmer(f *provisioning.Farmer) []any { return []any{&f.ID, &f.Name} }

// Farmer implements [provisioning.Reader].
func (r Reader) Farmer(ctx context.Context, id provisioning.FarmerID) (provisioning.Farmer, error) {
	var f provisioning.Farmer
	err := r.one(ctx, scanFarmer(&f), `SELECT id, name FROM farmers WHERE id = $1`, int64(id),
		"no farmer %s is registered", id)
	return f, err
}

// Farmers implements [provisioning.Reader].
func (r Reader) Farmers(ctx context.Context) ([]provisioning.Farmer, error) {
	return all(ctx, r, scanFarmer, `SELECT id, name FROM farmers ORDER BY id`)
}

// PutFarmer implements [provisioning.Tx].
func (t Tx) PutFarmer(ctx context.Context, f provisioning.Farmer) error {
	return t.exec(ctx, `INSERT INTO farmers (id, name) VALUES ($1, $2)
		ON CONFLICT (id) DO UPDATE SET name = excluded.name`, int64(f.ID), f.Name)
}

// DeleteFarmer implements [provisioning.Tx].
func (t Tx) DeleteFarmer(ctx context.Context, id provisioning.FarmerID) error {
	return t.exec(ctx, `DELETE FROM farmers WHERE id = $1`, int64(id))
}
