package registry

import (
	"context"
	"strings"

	"farmboot/provisioning"
	"farmboot/provisioning/rights"
)

// Farmers lists the farmers by id; for a farmer, himself.
func (r *Registry) Farmers(ctx context.Context, by provisioning.Actor) ([]provisioning.Farmer, error) {
	if farmer := rights.Bound(by); farmer != 0 {
		f, err := r.store.Farmer(ctx, farmer)
		return []provisioning.Farmer{f}, err
	}
	if err := rights.Admin(by, "list farmers"); err != nil {
		return nil, err
	}
	return r.store.Farmers(ctx)
}

// CountNodesByFarmer tells how many nodes each farmer has who has any; 0 stands for
// nobody.
func (r *Registry) CountNodesByFarmer(ctx context.Context, by provisioning.Actor) (map[provisioning.FarmerID]int, error) {
	if err := rights.Admin(by, "count the nodes of all farmers"); err != nil {
		return nil, err
	}
	return r.store.CountNodesByFarmer(ctx)
}

// AddFarmer registers a farmer and returns him as stored. One that is registered already is a
// [provisioning.Conflict], unless he has no name, as one whom only a node mentioned: then he gets
// his name, and isNew is false.
func (r *Registry) AddFarmer(ctx context.Context, by provisioning.Actor, f provisioning.Farmer) (stored provisioning.Farmer, isNew bool, err error) {
	if err := rights.Admin(by, "register farmers"); err != nil {
		return f, false, err
	}
	if f.ID == 0 {
		return f, false, provisioning.Errorf(provisioning.Invalid, "bad farmer id 0: accepted is a whole number from 1 to 4294967295")
	}
	if f, err = checkFarmer(f); err != nil {
		return f, false, err
	}
	err = r.store.Update(ctx, func(tx provisioning.Tx) error {
		isNew = false
		old, err := tx.Farmer(ctx, f.ID)
		switch {
		case provisioning.ErrorCode(err) == provisioning.NotFound:
			isNew = true
			return r.putFarmer(ctx, tx, by, nil, f)
		case err != nil:
			return err
		case old.Name == "" && f.Name != "":
			return r.putFarmer(ctx, tx, by, &old, f)
		}
		return provisioning.Errorf(provisioning.Conflict, "farmer %s is registered already", f.ID)
	})
	return f, isNew, err
}

// SetFarmer gives a registered farmer another name, "" takes it away, and returns him as stored.
func (r *Registry) SetFarmer(ctx context.Context, by provisioning.Actor, f provisioning.Farmer) (provisioning.Farmer, error) {
	if err := rights.Admin(by, "change farmers"); err != nil {
		return f, err
	}
	f, err := checkFarmer(f)
	if err != nil {
		return f, err
	}
	return f, r.store.Update(ctx, func(tx provisioning.Tx) error {
		old, err := tx.Farmer(ctx, f.ID)
		if err != nil || old == f {
			return err
		}
		return r.putFarmer(ctx, tx, by, &old, f)
	})
}

// checkFarmer refuses a farmer with a bad name. Spaces around a name are no part of it, as around a
// node's ([provisioning.NodePatch.Apply]).
func checkFarmer(f provisioning.Farmer) (provisioning.Farmer, error) {
	f.Name = strings.Trim(f.Name, " ")
	return f, checkName(f.Name)
}

// ensureFarmer registers a farmer whom a node or a token mentions, if he is not. The context that
// it returns puts what follows together with that, for [Registry.Undo].
func (r *Registry) ensureFarmer(ctx context.Context, tx provisioning.Tx, by provisioning.Actor, id provisioning.FarmerID) (context.Context, error) {
	_, err := tx.Farmer(ctx, id)
	if provisioning.ErrorCode(err) != provisioning.NotFound {
		return ctx, err
	}
	if r.newFarmer != nil {
		r.newFarmer(id)
	}
	ctx = together(ctx)
	return ctx, r.putFarmer(ctx, tx, by, nil, provisioning.Farmer{ID: id})
}

// putFarmer stores a farmer; old is what it replaces, nil for a new one.
func (r *Registry) putFarmer(ctx context.Context, tx provisioning.Tx, by provisioning.Actor, old *provisioning.Farmer, f provisioning.Farmer) error {
	if err := tx.PutFarmer(ctx, f); err != nil {
		return err
	}
	if old == nil {
		return r.changed(ctx, tx, by, "farmer add", f.ID.String(), nil, f)
	}
	return r.changed(ctx, tx, by, "farmer set", f.ID.String(), old, f)
}

// RemoveFarmer removes a farmer and his tokens. While nodes are his it is a
// [provisioning.Conflict].
func (r *Registry) RemoveFarmer(ctx context.Context, by provisioning.Actor, id provisioning.FarmerID) error {
	if err := rights.Admin(by, "remove farmers"); err != nil {
		return err
	}
	return r.store.Update(ctx, func(tx provisioning.Tx) error {
		f, err := tx.Farmer(ctx, id)
		if err != nil {
			return err
		}
		nodes, err := tx.Nodes(ctx, provisioning.NodeQuery{Farmer: id, Limit: 1})
		if err != nil {
			return err
		}
		if len(nodes) > 0 {
			return provisioning.Errorf(provisioning.Conflict, "farmer %s still has nodes, %s for one: remove them, or give them to another farmer first", id, nodes[0].MAC)
		}
		tokens, err := tx.Tokens(ctx)
		if err != nil {
			return err
		}
		for _, t := range tokens {
			if t.Farmer == id {
				if err := r.removeToken(ctx, tx, by, t); err != nil {
					return err
				}
			}
		}
		if err := tx.DeleteFarmer(ctx, id); err != nil {
			return err
		}
		return r.changed(ctx, tx, by, "farmer rm", id.String(), f, nil)
	})
}
