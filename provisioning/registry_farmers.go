package provisioning

import "context"

// Farmers lists the farmers by id; for a farmer, himself.
func (r *Registry) Farmers(ctx context.Context, by Actor) ([]Farmer, error) {
	if by.Role == RoleFarmer {
		f, err := r.store.Farmer(ctx, by.Farmer)
		return []Farmer{f}, err
	}
	if err := by.admin("list farmers"); err != nil {
		return nil, err
	}
	return r.store.Farmers(ctx)
}

// CountNodesByFarmer tells how many nodes each farmer has who has any; 0 stands for
// nobody.
func (r *Registry) CountNodesByFarmer(ctx context.Context, by Actor) (map[FarmerID]int, error) {
	if err := by.admin("count the nodes of all farmers"); err != nil {
		return nil, err
	}
	return r.store.CountNodesByFarmer(ctx)
}

// AddFarmer registers a farmer. One that is registered already is a [Conflict],
// unless he was only mentioned by a node, without a name: then he gets his name.
func (r *Registry) AddFarmer(ctx context.Context, by Actor, f Farmer) error {
	if err := by.admin("register farmers"); err != nil {
		return err
	}
	if f.ID == 0 {
		return Errorf(Invalid, "bad farmer id 0: accepted is a whole number from 1 to 4294967295")
	}
	if err := checkName(f.Name); err != nil {
		return err
	}
	return r.store.Update(ctx, func(tx Tx) error {
		old, err := tx.Farmer(ctx, f.ID)
		switch {
		case ErrorCode(err) == NotFound:
			return r.putFarmer(ctx, tx, by, nil, f)
		case err != nil:
			return err
		case old.Name == "" && f.Name != "":
			return r.putFarmer(ctx, tx, by, old, f)
		}
		return Errorf(Conflict, "farmer %s is registered already", f.ID)
	})
}

// ensureFarmer registers a farmer whom a node mentions.
func (r *Registry) ensureFarmer(ctx context.Context, tx Tx, by Actor, id FarmerID) error {
	_, err := tx.Farmer(ctx, id)
	if ErrorCode(err) == NotFound {
		return r.putFarmer(ctx, tx, by, nil, Farmer{ID: id})
	}
	return err
}

func (r *Registry) putFarmer(ctx context.Context, tx Tx, by Actor, before any, f Farmer) error {
	if err := tx.PutFarmer(ctx, f); err != nil {
		return err
	}
	return r.changed(ctx, tx, by, "farmer add", f.ID.String(), before, f)
}

// RemoveFarmer removes a farmer and his tokens. While nodes are his it is a
// [Conflict].
func (r *Registry) RemoveFarmer(ctx context.Context, by Actor, id FarmerID) error {
	if err := by.admin("remove farmers"); err != nil {
		return err
	}
	return r.store.Update(ctx, func(tx Tx) error {
		f, err := tx.Farmer(ctx, id)
		if err != nil {
			return err
		}
		nodes, err := tx.Nodes(ctx, NodeQuery{Farmer: id, Limit: 1})
		if err != nil {
			return err
		}
		if len(nodes) > 0 {
			return Errorf(Conflict, "farmer %s still has nodes, %s for one: remove them, or give them to another farmer first", id, nodes[0].MAC)
		}
		if err := tx.DeleteFarmer(ctx, id); err != nil {
			return err
		}
		return r.changed(ctx, tx, by, "farmer rm", id.String(), f, nil)
	})
}
