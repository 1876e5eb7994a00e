package provisioning

import (
	"context"
	"strconv"
	"strings"
	"time"
)

// Store keeps everything, durably. Package sqlite is one, package postgres
// another; package storetest says what both must do. A Store keeps what it is
// given: rules about what may be written are in package registry, and by whom in package rights.
//
// Reads see every change at once, another process' too: nothing is cached here (what
// others cache goes by [Store.DecisionsVersion]). Where
// the store cannot be written (disk full, read only) or not be reached, errors
// are [Error]s with code [Unavailable]; reads go on as long as they can.
type Store interface {
	Reader

	// Update runs fn in one transaction, alone: all that it writes is stored,
	// durably, when Update returns nil; nothing is if fn or the commit fails. It
	// may run fn again if another process was in the way.
	Update(ctx context.Context, fn func(Tx) error) error

	// UpdateUnsynced is Update without waiting for the disk: it survives the end of
	// the process, but a power failure may undo the last of them. For events.
	UpdateUnsynced(ctx context.Context, fn func(Tx) error) error

	// DecisionsVersion returns a number that is another one after every change of a node
	// and every line of the history, whichever process made it, at once; it may be another
	// one without a change. 0: that cannot be told for less than the price of a query.
	DecisionsVersion() uint64

	// Watch returns a channel on which a value arrives soon after another process
	// has changed the store; changes close to each other may share one. It is
	// closed when ctx ends.
	Watch(ctx context.Context) <-chan struct{}

	// Backup writes a consistent copy to a new file, durably, while everything
	// goes on. A file that exists is a [Conflict].
	Backup(ctx context.Context, file string) error

	Close() error
}

// Reader reads what a [Store] keeps. Methods that return one thing have an
// [Error] with code [NotFound] when there is none.
type Reader interface {
	Node(ctx context.Context, mac MAC) (Node, error)
	Nodes(ctx context.Context, q NodeQuery) ([]Node, error)           // by MAC address
	CountNodes(ctx context.Context, q NodeQuery) (int, error)         // whatever its Skip and Limit, but for UpTo
	CountNodesByFarmer(ctx context.Context) (map[FarmerID]int, error) // 0: nobody's
	RunModes(ctx context.Context) ([]RunMode, error)                  // that nodes are registered with, by name
	Farmer(ctx context.Context, id FarmerID) (Farmer, error)
	Farmers(ctx context.Context) ([]Farmer, error) // by id
	Token(ctx context.Context, id string) (Token, error)
	Tokens(ctx context.Context) ([]Token, error) // oldest first
	Session(ctx context.Context, hash SecretsHash) (Session, error)
	Seen(ctx context.Context, mac MAC) (Discovered, error)
	SeenByCode(ctx context.Context, code string) (Discovered, error)
	SeenAmong(ctx context.Context, macs []MAC) (map[MAC]Discovered, error)
	CodesTaken(ctx context.Context, codes []string) ([]string, error)  // those that MAC addresses have
	Unregistered(ctx context.Context, limit int) ([]Discovered, error) // last seen first
	Events(ctx context.Context, q EventQuery) ([]Event, error)         // oldest first
	LastEventID(ctx context.Context) (int64, error)                    // 0: no event yet
	Changes(ctx context.Context, q ChangeQuery) ([]Change, error)      // newest first
	Proven(ctx context.Context, mac MAC) (Proven, error)               // how it boots
}

// Tx is a transaction: it reads its own writes. Put adds or replaces; Delete of
// what is not there does nothing.
type Tx interface {
	Reader
	PutNode(ctx context.Context, n Node) error
	DeleteNode(ctx context.Context, mac MAC) error
	PutFarmer(ctx context.Context, f Farmer) error
	DeleteFarmer(ctx context.Context, id FarmerID) error // Conflict while nodes refer to it
	PutToken(ctx context.Context, t Token) error
	DeleteToken(ctx context.Context, id string) error // and the sessions that began with it
	PutSession(ctx context.Context, s Session) error
	DeleteSession(ctx context.Context, hash SecretsHash) error
	PruneSessions(ctx context.Context, p SessionPrune) error
	PutSeen(ctx context.Context, seen ...Discovered) error // Conflict if another MAC has the claim code
	PutProven(ctx context.Context, p Proven) error         // of which a hundred thousand are kept
	AddChange(ctx context.Context, c Change) error

	// NumberEvents returns the first of n IDs for events, which are greater than those of
	// all before them.
	NumberEvents(ctx context.Context, n int) (first int64, err error)
	WriteBoots(ctx context.Context, changes BootChanges) error

	// Prune deletes what is too much, the oldest first, at most a few thousand rows, and
	// tells whether there is more to delete.
	Prune(ctx context.Context, p Prune) (more bool, err error)
}

// NodeQuery selects nodes. Zero fields select all.
type NodeQuery struct {
	Farmer  FarmerID
	Unowned bool // those without a farmer
	Exit    bool // those that go on to their next boot device
	Booting bool // those that do not
	RunMode RunMode
	Kernel  *string  // exactly this kernel; "": the run mode's default
	Name    string   // exactly this name, whatever the case; * in it stands for any text
	Text    string   // part of the name, the arguments, the kernel or the serial number, whatever the case
	Who     string   // part of the name, the MAC address or the serial number, whatever the case, or the farmer's id
	MACs    MACRange // in this range
	Among   []MAC    // one of these; nil: any
	Except  []MAC    // none of these
	After   MAC      // the page that follows this MAC address
	Skip    int      // not the first so many
	Limit   int      // at most so many; 0: all
	UpTo    int      // they are counted up to that, which may be all there are or not; 0: all
}

// EventQuery selects events, oldest first. Zero fields select all.
type EventQuery struct {
	MAC    MAC
	Farmer FarmerID  // of nodes that are his, and only since they are: [Node.Owned]
	After  int64     // with a greater ID
	Since  time.Time // at that time or later
	Limit  int       // at most so many; 0: all
	Last   bool      // the newest Limit of them, not the oldest; still oldest first
}

// ChangeQuery selects changes, newest first. Zero fields select all.
type ChangeQuery struct {
	ID      int64 // this one
	Subject string
	Batch   string // those made together
	After   int64  // those after this one
	Undoing bool   // those that take another back
	Limit   int
}

// Prune says what need not be kept: by number, for a clock may be wrong for a while.
type Prune struct {
	EventsKept  int // all boots but those with the last so many events, about; 0: keep all
	BootsKept   int // all but the last so many boots of each node; 0: keep all
	SeenKept    int // all but the last so many unregistered MAC addresses; 0: keep all
	ChangesKept int // all but the last so many changes, about; 0: keep all
}

// SessionPrune says which sessions end.
type SessionPrune struct {
	UsedBefore  time.Time // those last used before
	BeganBefore time.Time // those that began before
	Token, Who  string    // of those that began with that token, by that name …
	Kept        int       // … all but so many, those that were used last
}

// MACRange is the MAC addresses from Lo to Hi, both included; the zero value is
// all of them.
type MACRange struct{ Lo, Hi MAC }

// ParseMACPrefix reads a MAC address as [ParseMAC] does, or the beginning of one, in any
// notation and of any number of digits: "52:54", "5254.0", "525400", "52:54:0:0". The
// error is an [Error] with code [Invalid].
func ParseMACPrefix(s string) (MACRange, error) {
	groups := strings.FieldsFunc(strings.TrimSpace(s), func(r rune) bool { return r == ':' || r == '-' })
	join := func() string { return strings.ReplaceAll(strings.Join(groups, ""), ".", "") }
	if m, err := ParseMAC(s); err == nil && len(join()) != 11 { // 52:54:00:00:00:b begins b0 to bf
		return MACRange{m, m}, nil
	}
	// Of the groups that are whole, all but the last, each may lack its leading zero.
	for i := range len(groups) - 1 {
		if len(groups[i]) == 1 {
			groups[i] = "0" + groups[i]
		}
	}
	digits := join()
	if len(digits) > 12 {
		return MACRange{}, Errorf(Invalid, "bad start of a MAC address %q: more than twelve digits", Clip(s, 40))
	}
	var r MACRange
	for i := range 12 {
		lo, hi := uint64(0), uint64(0xf)
		if i < len(digits) {
			d, err := strconv.ParseUint(digits[i:i+1], 16, 4)
			if err != nil {
				return MACRange{}, Errorf(Invalid, "bad start of a MAC address %q: accepted are hexadecimal digits, with or without separators", Clip(s, 40))
			}
			lo, hi = d, d
		}
		shift := 4 * (1 - i%2)
		r.Lo[i/2] |= byte(lo << shift)
		r.Hi[i/2] |= byte(hi << shift)
	}
	return r, nil
}

// UpdateWithin is [Store.UpdateUnsynced] for those who do not wait for longer than limit: the
// store may be busy with something long, and a database that is locked does not look at
// its context. What fn sets may be read only if there is no error.
func UpdateWithin(ctx context.Context, s Store, limit time.Duration, fn func(context.Context, Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	stored := make(chan error, 1)
	go func() { stored <- s.UpdateUnsynced(ctx, func(tx Tx) error { return fn(ctx, tx) }) }()
	select {
	case err := <-stored:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
