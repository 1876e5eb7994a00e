package sqlstore

import (
	"context"

	"farmboot/provisioning"
)

const nodeColumns = `mac, coalesce(farmer, 0), runmode, args, kernel, name, nbp, created, updated`

func scanNode(n *provisioning.Node) []any {
	return []any{&n.MAC, &n.Farmer, &n.RunMode, &n.Args, &n.Kernel, &n.Name, &n.NBP, millis{&n.Created}, millis{&n.Updated}}
}

// Node implements [provisioning.Reader].
func (r Reader) Node(ctx context.Context, mac provisioning.MAC) (provisioning.Node, error) {
	var n provisioning.Node
	err := r.one(ctx, provisioning.Errorf(provisioning.NotFound, "no node %s is registered", mac),
		scanNode(&n), `SELECT `+nodeColumns+` FROM nodes WHERE mac = $1`, mac[:])
	return n, err
}

// Nodes implements [provisioning.Reader].
func (r Reader) Nodes(ctx context.Context, q provisioning.NodeQuery) ([]provisioning.Node, error) {
	var w where
	if q.Farmer != 0 {
		w.and("farmer = ?", int64(q.Farmer))
	}
	if q.RunMode != "" {
		w.and("runmode = ?", string(q.RunMode))
	}
	if q.MACs != (provisioning.MACRange{}) {
		w.and("mac BETWEEN ? AND ?", q.MACs.Lo[:], q.MACs.Hi[:])
	}
	if !q.After.IsZero() {
		w.and("mac > ?", q.After[:])
	}
	if q.Text != "" {
		// One parameter each: SQLite and PostgreSQL agree on nothing else.
		p := like(q.Text)
		w.and(`(lower(name) LIKE ? ESCAPE '\' OR lower(args) LIKE ? ESCAPE '\' OR lower(kernel) LIKE ? ESCAPE '\')`, p, p, p)
	}
	query := `SELECT ` + nodeColumns + ` FROM nodes` + w.String() + ` ORDER BY mac` + w.limit(q.Limit)
	return all(ctx, r, scanNode, query, w.args...)
}

// PutNode implements [provisioning.Tx].
func (t Tx) PutNode(ctx context.Context, n provisioning.Node) error {
	return t.exec(ctx, `INSERT INTO nodes (mac, farmer, runmode, args, kernel, name, nbp, created, updated)
		VALUES ($1, nullif($2, CAST(0 AS BIGINT)), $3, $4, $5, $6, $7, $8, $9)
		ON CONFLICT (mac) DO UPDATE SET farmer = excluded.farmer, runmode = excluded.runmode, args = excluded.args,
			kernel = excluded.kernel, name = excluded.name, nbp = excluded.nbp, updated = excluded.updated`,
		n.MAC[:], int64(n.Farmer), string(n.RunMode), n.Args, n.Kernel, n.Name, string(n.NBP), ms(n.Created), ms(n.Updated))
}

// DeleteNode implements [provisioning.Tx].
func (t Tx) DeleteNode(ctx context.Context, mac provisioning.MAC) error {
	return t.exec(ctx, `DELETE FROM nodes WHERE mac = $1`, mac[:])
}

func scanFarmer(f *provisioning.Farmer) []any { return []any{&f.ID, &f.Name} }

// Farmer implements [provisioning.Reader].
func (r Reader) Farmer(ctx context.Context, id provisioning.FarmerID) (provisioning.Farmer, error) {
	var f provisioning.Farmer
	err := r.one(ctx, provisioning.Errorf(provisioning.NotFound, "no farmer %s is registered", id),
		scanFarmer(&f), `SELECT id, name FROM farmers WHERE id = $1`, int64(id))
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
