package provisioning

import (
	"context"
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

// Assigner decides what a MAC address gets. It asks the store every time, so that
// a change counts from the next boot on.
type Assigner struct {
	store   Store
	unknown atomic.Pointer[Unknown]
	now     func() time.Time

	mu    sync.Mutex
	known *lru.Map[MAC, Node] // as they were found last, for when the store fails
}

// remembered is how many nodes an Assigner remembers, of some 200 bytes each.
const remembered = 20_000

// NewAssigner returns an Assigner that looks into store, and gives a MAC address
// that is not there what unknown says.
func NewAssigner(store Store, unknown Unknown, now func() time.Time) *Assigner {
	a := &Assigner{store: store, now: now, known: lru.New[MAC, Node](remembered)}
	a.SetUnknown(unknown)
	return a
}

// SetUnknown replaces what MAC addresses get that are not registered, from now on.
func (a *Assigner) SetUnknown(unknown Unknown) { a.unknown.Store(&unknown) }

// Assignment returns what mac gets. It only reads, which takes some microseconds.
// The error is the store's: a listener that must not stay silent goes on with
// [Assigner.LastKnown].
func (a *Assigner) Assignment(ctx context.Context, mac MAC) (Assignment, error) {
	n, err := a.store.Node(ctx, mac)
	switch {
	case err == nil:
		a.remember(func() { a.known.Put(mac, n) })
		return assigned(n), nil
	case ErrorCode(err) == NotFound:
		a.remember(func() { a.known.Delete(mac) })
		return a.Default(mac), nil
	}
	return Assignment{}, err
}

func (a *Assigner) remember(change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
}

// LastKnown is what mac got when the store was last asked for it, else the default: for
// when the store fails.
func (a *Assigner) LastKnown(mac MAC) Assignment {
	a.mu.Lock()
	defer a.mu.Unlock()
	if n, ok := a.known.Get(mac); ok {
		return assigned(n)
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
	within, cancel := context.WithTimeout(ctx, admitLimit)
	defer cancel()
	as, err := a.Assignment(within, mac)
	switch {
	case ctx.Err() != nil:
		return as, ctx.Err()
	case err != nil:
		as = a.LastKnown(mac)
		return as, nil
	case as.Policy != Hold:
		return as, nil
	}
	if d, err := a.store.Seen(ctx, mac); err == nil {
		as.Code = d.Code
		return as, nil
	}
	as.Code = a.makeCode(ctx, mac)
	return as, nil
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
		d, err := See(ctx, tx, Event{MAC: mac, At: a.now()})
		code = d.Code
		return err
	})
	if err != nil {
		return ""
	}
	return code
}

// See stores that the event's MAC address netbooted, and gives it a claim code if it
// has none.
func See(ctx context.Context, tx Tx, e Event) (Discovered, error) {
	d, err := tx.Seen(ctx, e.MAC)
	if err != nil && ErrorCode(err) != NotFound {
		return d, err
	}
	if d.Code == "" {
		if d.Code, err = freeCode(ctx, tx); err != nil {
			return d, err
		}
	}
	d.MAC = e.MAC
	d = d.sight(e.Machine, e.At)
	if e.Peer.IsValid() && !e.Peer.IsUnspecified() { // a DISCOVER comes from 0.0.0.0
		d.Address = e.Peer.Unmap().String()
	}
	return d, tx.PutSeen(ctx, d)
}

// freeCode makes a claim code that no other MAC address has.
func freeCode(ctx context.Context, tx Tx) (string, error) {
	for {
		code := newCode()
		switch _, err := tx.SeenByCode(ctx, code); {
		case err == nil:
			continue
		case ErrorCode(err) == NotFound:
			return code, nil
		default:
			return "", err
		}
	}
}
