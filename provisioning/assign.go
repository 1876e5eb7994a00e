package provisioning

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"farmboot/provisioning/lru"
)

// Unknown says what a MAC address gets that is not registered: [provisioning] in
// appliance.toml.
type Unknown struct {
	Policy  Policy
	RunMode RunMode  // with Boot
	Farmer  FarmerID // with Boot
	Args    string   // with Boot
}

// Assigner decides what a MAC address gets. What it has asked the store for once it knows
// until a node changes (see [Store.DecisionsVersion]), so a change counts from the next
// question on.
type Assigner struct {
	store   Store
	unknown atomic.Pointer[Unknown]
	now     func() time.Time

	mu sync.Mutex
	// What was found last: nodes, and, apart from them so that no flood of made-up MAC
	// addresses pushes nodes out, the versions at which there was none.
	nodes *lru.Map[MAC, found]
	none  *lru.Map[MAC, uint64]
}

// found is a node, and the version of the store that had it.
type found struct {
	node    Node
	version uint64
}

// remembered is how many nodes an Assigner remembers, of some 250 bytes each, and how many
// MAC addresses of none, of 100.
const remembered = 20_000

// NewAssigner returns an Assigner that looks into store, and gives a MAC address
// that is not there what unknown says.
func NewAssigner(store Store, unknown Unknown, now func() time.Time) *Assigner {
	a := &Assigner{store: store, now: now, nodes: lru.New[MAC, found](remembered), none: lru.New[MAC, uint64](remembered)}
	a.SetUnknown(unknown)
	return a
}

// SetUnknown replaces what MAC addresses get that are not registered, from now on.
func (a *Assigner) SetUnknown(unknown Unknown) { a.unknown.Store(&unknown) }

// Assignment returns what mac gets. It only reads, which takes some microseconds at most.
// The error is the store's: a listener that must not stay silent goes on with
// [Assigner.LastKnown].
func (a *Assigner) Assignment(ctx context.Context, mac MAC) (Assignment, error) {
	version := a.store.DecisionsVersion() // before the question: what changes meanwhile has another
	if as, ok := a.remembers(mac, version); ok {
		return as, nil
	}
	n, err := a.store.Node(ctx, mac)
	if err != nil && ErrorCode(err) != NotFound {
		return Assignment{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		a.nodes.Delete(mac)
		a.none.Put(mac, version)
		return a.Default(mac), nil
	}
	a.none.Delete(mac)
	a.nodes.Put(mac, found{n, version})
	return assigned(n), nil
}

// Recall returns what Assignment would, if the store need not be asked for it.
func (a *Assigner) Recall(mac MAC) (Assignment, bool) {
	return a.remembers(mac, a.store.DecisionsVersion())
}

// remembers returns what mac gets, if that was asked for at this version of the store.
func (a *Assigner) remembers(mac MAC, version uint64) (Assignment, bool) {
	if version == 0 {
		return Assignment{}, false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if f, ok := a.nodes.Get(mac); ok {
		return assigned(f.node), f.version == version
	}
	v, ok := a.none.Get(mac)
	return a.Default(mac), ok && v == version
}

// LastKnown is what mac got when the store was last asked for it, else the default: for
// when the store fails.
func (a *Assigner) LastKnown(mac MAC) Assignment {
	a.mu.Lock()
	defer a.mu.Unlock()
	if f, ok := a.nodes.Get(mac); ok {
		return assigned(f.node)
	}
	return a.Default(mac)
}

// assigned is what a registered node gets.
func assigned(n Node) Assignment {
	a := Assignment{Policy: Boot, Registered: true, Node: n, Once: n.Once != ""}
	switch {
	case n.Once == OnceExit, n.Once == "" && n.Exit:
		a.Policy = Exit
	case n.Once != "":
		a.Node.Kernel = n.Once
	}
	return a
}

// onceLimit is how long a node waits for it to be stored that it has had its other boot.
const onceLimit = 500 * time.Millisecond

// Consume ends what a was given for once, when its script goes out. Where that cannot be
// stored in time, the next boot is the same again.
func (a *Assigner) Consume(ctx context.Context, as Assignment) error {
	if !as.Once {
		return nil
	}
	return UpdateWithin(ctx, a.store, onceLimit, func(ctx context.Context, tx Tx) error {
		n, err := tx.Node(ctx, as.Node.MAC)
		if err != nil || n.Once != as.Node.Once { // removed, or changed meanwhile
			return err
		}
		n.Once = ""
		return tx.PutNode(ctx, n)
	})
}

// Default is what mac gets as long as nothing is known of it.
func (a *Assigner) Default(mac MAC) Assignment {
	unknown := a.unknown.Load()
	as := Assignment{Policy: unknown.Policy, Node: Node{MAC: mac}}
	if as.Policy == Boot {
		as.Node.RunMode, as.Node.Farmer, as.Node.Args = unknown.RunMode, unknown.Farmer, unknown.Args
	}
	return as
}

// Admit is Assignment for a node that asks for its boot script: one that is held
// gets its claim code, made on first demand. Where no code can be stored, the
// assignment has none, and the node can be registered by its MAC address only. A store
// that fails, or takes longer than admitLimit, keeps no node from booting: it gets what
// it got last. The error is that of ctx.
func (a *Assigner) Admit(ctx context.Context, mac MAC) (Assignment, error) {
	as, ok := a.Recall(mac)
	if !ok {
		as = a.assignmentOrLast(ctx, mac)
	}
	if err := ctx.Err(); err != nil || as.Policy != Hold {
		return as, err
	}
	if d, err := a.store.Seen(ctx, mac); err == nil {
		as.Code = d.Code
		return as, nil
	}
	as.Code = a.makeCode(ctx, mac)
	return as, nil
}

// assignmentOrLast returns what mac gets, or got last if the store does not tell in time.
func (a *Assigner) assignmentOrLast(ctx context.Context, mac MAC) Assignment {
	ctx, cancel := context.WithTimeout(ctx, admitLimit)
	defer cancel()
	as, err := a.Assignment(ctx, mac)
	if err != nil {
		as = a.LastKnown(mac)
	}
	return as
}

// admitLimit is how long a node waits for its script while the store does not answer:
// iPXE gives up much later.
const admitLimit = 2 * time.Second

// codeLimit is how long a node waits for its claim code to be stored. It asks again
// soon, and has to be told something meanwhile.
const codeLimit = 500 * time.Millisecond

// makeCode stores a claim code for mac; "" if that cannot be done in time, while a long
// import writes for instance.
func (a *Assigner) makeCode(ctx context.Context, mac MAC) string {
	var code string
	err := UpdateWithin(ctx, a.store, codeLimit, func(ctx context.Context, tx Tx) error {
		seen, err := See(ctx, tx, Sight{MAC: mac, At: a.now()})
		code = seen[mac].Code
		return err
	})
	if err != nil {
		return ""
	}
	return code
}

// See stores that machines netbooted, oldest first, and gives those a claim code that have
// none. It returns what is stored of each.
func See(ctx context.Context, tx Tx, sights ...Sight) (map[MAC]Discovered, error) {
	if len(sights) == 0 {
		return nil, nil
	}
	macs := make([]MAC, len(sights))
	for i, s := range sights {
		macs[i] = s.MAC
	}
	// In order, so that two who write at once wait for each other, and not both for ever.
	slices.SortFunc(macs, MAC.Compare)
	macs = slices.Compact(macs)
	seen, err := tx.SeenAmong(ctx, macs)
	if err != nil {
		return nil, err
	}
	for _, s := range sights {
		d := seen[s.MAC]
		d.MAC = s.MAC
		d = d.sight(s)
		if s.Peer.IsValid() && !s.Peer.IsUnspecified() { // a DISCOVER comes from 0.0.0.0
			d.Address = s.Peer.Unmap().String()
		}
		seen[s.MAC] = d
	}
	if err := giveCodes(ctx, tx, seen); err != nil {
		return nil, err
	}
	list := make([]Discovered, len(macs))
	for i, mac := range macs {
		list[i] = seen[mac]
	}
	return seen, tx.PutSeen(ctx, list...)
}

// giveCodes gives claim codes that no MAC address has to those without one.
func giveCodes(ctx context.Context, tx Tx, to map[MAC]Discovered) error {
	for {
		codes := make(map[string]MAC)
		for mac, d := range to {
			if d.Code == "" {
				codes[newCode()] = mac // should two be the same, one is made again
			}
		}
		if len(codes) == 0 {
			return nil
		}
		taken, err := tx.CodesTaken(ctx, slices.Collect(maps.Keys(codes)))
		if err != nil {
			return err
		}
		for _, code := range taken {
			delete(codes, code)
		}
		for code, mac := range codes {
			d := to[mac]
			d.Code = code
			to[mac] = d
		}
	}
}
