package registry

import (
	"cmp"
	"context"
	"time"

	"farmboot/provisioning"
	"farmboot/provisioning/boots"
	"farmboot/provisioning/rights"
)

// Discovered lists MAC addresses that netbooted here and are not registered, last
// seen first; limit 0: all.
func (r *Registry) Discovered(ctx context.Context, by provisioning.Actor, limit int) ([]provisioning.Discovered, error) {
	if err := rights.Admin(by, "list unregistered nodes"); err != nil {
		return nil, err
	}
	seen, err := r.store.Unregistered(ctx, limit)
	for i := range seen {
		seen[i] = r.withVendor(seen[i])
	}
	return seen, err
}

// withVendor names the maker of a machine's network card.
func (r *Registry) withVendor(d provisioning.Discovered) provisioning.Discovered {
	if vendor := r.rules.Load().Vendor; vendor != nil {
		d.Vendor = vendor(d.MAC)
	}
	return d
}

// Seen tells what is known of a MAC address from its DISCOVERs.
func (r *Registry) Seen(ctx context.Context, by provisioning.Actor, mac provisioning.MAC) (provisioning.Discovered, error) {
	if _, err := r.followed(ctx, by, mac); err != nil {
		return provisioning.Discovered{}, err
	}
	d, err := r.store.Seen(ctx, mac)
	return r.withVendor(d), err
}

// Unusual tells what boots a machine, where that is not what boots most; nil: it is, or it
// is not known.
func (r *Registry) Unusual(ctx context.Context, by provisioning.Actor, mac provisioning.MAC) (*provisioning.Proven, error) {
	if _, err := r.followed(ctx, by, mac); err != nil {
		return nil, err
	}
	p, err := r.store.Proven(ctx, mac)
	if provisioning.ErrorCode(err) == provisioning.NotFound || err == nil && !p.Unusual() {
		return nil, nil
	}
	return &p, err
}

// Machines tells what is known of nodes' machines. A farmer is told of his nodes.
func (r *Registry) Machines(ctx context.Context, by provisioning.Actor, macs []provisioning.MAC) (map[provisioning.MAC]provisioning.Discovered, error) {
	if len(macs) == 0 {
		return nil, nil
	}
	if !rights.All(by) {
		nodes, err := r.Nodes(ctx, by, provisioning.NodeQuery{Among: macs})
		if err != nil {
			return nil, err
		}
		macs = provisioning.MACsOf(nodes)
	}
	seen, err := r.store.SeenAmong(ctx, macs)
	for mac, d := range seen {
		seen[mac] = r.withVendor(d)
	}
	return seen, err
}

// WithMachines returns nodes that by may see with what is known of their machines.
func (r *Registry) WithMachines(ctx context.Context, by provisioning.Actor, nodes []provisioning.Node) ([]provisioning.MachineNode, error) {
	seen, err := r.Machines(ctx, by, provisioning.MACsOf(nodes))
	if err != nil {
		return nil, err
	}
	list := make([]provisioning.MachineNode, len(nodes))
	for i, n := range nodes {
		list[i].Node = n
		if d, ok := seen[n.MAC]; ok {
			list[i].Machine = &d
		}
	}
	return list, nil
}

// CSVExtra is what a list of nodes has besides: the column exit where a node needs it,
// and what is known of the machines if that is wanted.
func (r *Registry) CSVExtra(ctx context.Context, by provisioning.Actor, machines bool) (Extra, error) {
	exiting, err := r.CountNodes(ctx, by, provisioning.NodeQuery{Exit: true})
	extra := Extra{Exit: exiting > 0}
	if machines {
		extra.Machines = func(macs []provisioning.MAC) (map[provisioning.MAC]provisioning.Discovered, error) {
			return r.Machines(ctx, by, macs)
		}
	}
	return extra, err
}

// ClaimAll registers nodes that were seen booting here, all or none, as ClaimMAC does.
func (r *Registry) ClaimAll(ctx context.Context, by provisioning.Actor, macs []provisioning.MAC, patch provisioning.NodePatch) error {
	if err := rights.Admin(by, "claim many nodes at once"); err != nil {
		return err
	}
	ctx = together(ctx)
	return r.store.Update(ctx, func(tx provisioning.Tx) error {
		for _, mac := range macs {
			if _, err := r.claimSeen(ctx, tx, by, mac, patch); err != nil {
				return err
			}
		}
		return nil
	})
}

const (
	// wrongCodesAtOnce is how many wrong claim codes a farmer may give at once …
	wrongCodesAtOnce = 20
	// … and wrongCodeEvery how soon after that one more: to hit one of a hundred held
	// nodes' codes at random then takes some months.
	wrongCodeEvery = 10 * time.Second
	// actorsKept is how many of those who gave wrong codes are remembered.
	actorsKept = 4096
)

// Claim registers a node by what [provisioning.ParseClaim] reads: see ClaimMAC and ClaimByCode.
func (r *Registry) Claim(ctx context.Context, by provisioning.Actor, which string, patch provisioning.NodePatch) (provisioning.Node, error) {
	mac, code, err := provisioning.ParseClaim(which)
	switch {
	case err != nil:
		return provisioning.Node{}, err
	case code != "":
		return r.ClaimByCode(ctx, by, code, patch)
	}
	return r.ClaimMAC(ctx, by, mac, patch)
}

// ClaimByCode registers the node that shows the claim code, as its patch says; a
// farmer's becomes his. Whoever knows the code has stood before the node, so a
// farmer who guesses has to wait: [provisioning.Unavailable].
func (r *Registry) ClaimByCode(ctx context.Context, by provisioning.Actor, code string, patch provisioning.NodePatch) (provisioning.Node, error) {
	code, err := provisioning.ParseCode(code)
	if err != nil {
		return provisioning.Node{}, err
	}
	if !rights.All(by) && r.wrongCodes.Exhausted(by.Name, r.now()) {
		return provisioning.Node{}, provisioning.Errorf(provisioning.Unavailable, "too many wrong claim codes: look at the node's screen, and try again in some seconds")
	}
	d, err := r.store.SeenByCode(ctx, code)
	if err != nil {
		if provisioning.ErrorCode(err) == provisioning.NotFound {
			r.wrongCodes.Allow(by.Name, r.now())
		}
		return provisioning.Node{}, err
	}
	var n provisioning.Node
	err = r.store.Update(ctx, func(tx provisioning.Tx) (err error) {
		n, err = r.claimIn(ctx, tx, by, d.MAC, patch)
		return err
	})
	return n, err
}

// ClaimMAC registers a node that was seen booting here, by its MAC address, which
// anybody on its LAN can see: so only an admin may.
func (r *Registry) ClaimMAC(ctx context.Context, by provisioning.Actor, mac provisioning.MAC, patch provisioning.NodePatch) (provisioning.Node, error) {
	if err := rights.Admin(by, "claim a node by its MAC address; use the code on its screen"); err != nil {
		return provisioning.Node{}, err
	}
	var n provisioning.Node
	err := r.store.Update(ctx, func(tx provisioning.Tx) (err error) {
		n, err = r.claimSeen(ctx, tx, by, mac, patch)
		return err
	})
	return n, err
}

// unclaim adds to the story of a node that is being removed that its claim is taken back, if the
// story ends with the claim.
func (r *Registry) unclaim(ctx context.Context, tx provisioning.Tx, by provisioning.Actor, mac provisioning.MAC) error {
	last, err := lastEvent(ctx, tx, mac)
	if err != nil || last.Stage != provisioning.StageClaim || !last.Cause.IsZero() {
		return err
	}
	return boots.AddEvents(ctx, tx, []provisioning.Event{{
		At: r.now(), MAC: mac, Stage: provisioning.StageClaim, Cause: provisioning.Cause{ID: provisioning.CauseUnclaimed, Note: by.Name},
	}})
}

// reclaim adds to the story of a node whose removal is taken back that it is claimed after all, if
// the story ends with its claim taken back.
func (r *Registry) reclaim(ctx context.Context, tx provisioning.Tx, by provisioning.Actor, n provisioning.Node) error {
	last, err := lastEvent(ctx, tx, n.MAC)
	if err != nil || last.Cause.ID != provisioning.CauseUnclaimed {
		return err
	}
	return r.tellOfClaim(ctx, tx, by, n)
}

// lastEvent returns the last event of a node; the zero value: none is kept.
func lastEvent(ctx context.Context, tx provisioning.Tx, mac provisioning.MAC) (provisioning.Event, error) {
	last, err := tx.Events(ctx, provisioning.EventQuery{MAC: mac, Limit: 1, Last: true})
	if err != nil || len(last) == 0 {
		return provisioning.Event{}, err
	}
	return last[0], nil
}

// claimSeen is claimIn for a node that must have been seen booting here. One that is registered is
// refused for that.
func (r *Registry) claimSeen(ctx context.Context, tx provisioning.Tx, by provisioning.Actor, mac provisioning.MAC, patch provisioning.NodePatch) (provisioning.Node, error) {
	switch _, err := tx.Seen(ctx, mac); {
	case provisioning.ErrorCode(err) == provisioning.NotFound:
		return provisioning.Node{}, cmp.Or(unregistered(ctx, tx, by, mac), err)
	case err != nil:
		return provisioning.Node{}, err
	}
	return r.claimIn(ctx, tx, by, mac, patch)
}

// claimIn registers a node and tells its story of it.
func (r *Registry) claimIn(ctx context.Context, tx provisioning.Tx, by provisioning.Actor, mac provisioning.MAC, patch provisioning.NodePatch) (provisioning.Node, error) {
	n, err := r.add(ctx, tx, by, patch.Apply(provisioning.Node{MAC: mac}))
	if err != nil {
		return n, err
	}
	return n, r.tellOfClaim(ctx, tx, by, n)
}

// tellOfClaim adds to the story of a node that it was claimed.
func (r *Registry) tellOfClaim(ctx context.Context, tx provisioning.Tx, by provisioning.Actor, n provisioning.Node) error {
	detail := "claimed by " + by.Name
	if n.Farmer != 0 {
		detail += " for farmer " + n.Farmer.String()
	}
	return boots.AddEvents(ctx, tx, []provisioning.Event{{At: r.now(), MAC: n.MAC, Stage: provisioning.StageClaim, Detail: detail}})
}
