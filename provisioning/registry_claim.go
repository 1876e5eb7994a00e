package provisioning

import "context"

// Discovered lists MAC addresses that netbooted here and are not registered, last
// seen first; limit 0: all.
func (r *Registry) Discovered(ctx context.Context, by Actor, limit int) ([]Discovered, error) {
	if err := by.admin("list unregistered nodes"); err != nil {
		return nil, err
	}
	return r.store.Unregistered(ctx, limit)
}

// Seen tells what is known of a MAC address from its DISCOVERs.
func (r *Registry) Seen(ctx context.Context, by Actor, mac MAC) (Discovered, error) {
	if _, err := r.followed(ctx, by, mac); err != nil {
		return Discovered{}, err
	}
	return r.store.Seen(ctx, mac)
}

// ClaimByCode registers the node that shows the claim code, as its patch says; a
// farmer's becomes his. Whoever knows the code has stood before the node, so a
// farmer who guesses has to wait: [Unavailable].
func (r *Registry) ClaimByCode(ctx context.Context, by Actor, code string, patch NodePatch) (Node, error) {
	code, err := ParseCode(code)
	if err != nil {
		return Node{}, err
	}
	if by.Role != RoleAdmin && r.guesses.exhausted(by, r.now()) {
		return Node{}, Errorf(Unavailable, "too many wrong claim codes: look at the node's screen, and try again in some seconds")
	}
	d, err := r.store.SeenByCode(ctx, code)
	if err != nil {
		if ErrorCode(err) == NotFound {
			r.guesses.missed(by, r.now())
		}
		return Node{}, err
	}
	return r.claim(ctx, by, d.MAC, patch)
}

// ClaimMAC registers a node that was seen booting here, by its MAC address, which
// anybody on its LAN can see: so only an admin may.
func (r *Registry) ClaimMAC(ctx context.Context, by Actor, mac MAC, patch NodePatch) (Node, error) {
	if err := by.admin("claim a node by its MAC address; use the code on its screen"); err != nil {
		return Node{}, err
	}
	if _, err := r.store.Seen(ctx, mac); err != nil {
		return Node{}, err
	}
	return r.claim(ctx, by, mac, patch)
}

func (r *Registry) claim(ctx context.Context, by Actor, mac MAC, patch NodePatch) (Node, error) {
	var n Node
	err := r.store.Update(ctx, func(tx Tx) (err error) {
		if n, err = r.add(ctx, tx, by, patch.Apply(Node{MAC: mac})); err != nil {
			return err
		}
		detail := "claimed by " + by.Name
		if n.Farmer != 0 {
			detail += " for farmer " + n.Farmer.String()
		}
		return tx.AddEvents(ctx, []Event{{At: r.now(), MAC: mac, Stage: StageClaim, Detail: detail}})
	})
	return n, err
}
