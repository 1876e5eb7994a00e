package provisioning

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// FarmerID is the number of a farmer on the grid, 1…4294967295; 0 stands for
// "no farmer".
type FarmerID uint32

// ParseFarmerID reads a farmer id, decimal digits 1…4294967295, with or without spaces
// around them. The error is an [Error] with code [Invalid].
func ParseFarmerID(s string) (FarmerID, error) {
	digits := strings.Trim(s, " \t\u00a0")
	n, err := strconv.ParseUint(digits, 10, 32)
	if err != nil || n == 0 || digits[0] == '+' {
		return 0, Errorf(Invalid, "bad farmer id %q: accepted is a whole number from 1 to 4294967295", Clip(s, 40))
	}
	return FarmerID(n), nil
}

// ParseOwner reads whose a node is: a farmer id as [ParseFarmerID] reads it, or nothing or
// "none" for no farmer. The error is an [Error] with code [Invalid].
func ParseOwner(s string) (FarmerID, error) {
	switch strings.TrimSpace(s) {
	case "", "none":
		return 0, nil
	}
	return ParseFarmerID(s)
}

// String returns the decimal digits.
func (f FarmerID) String() string { return strconv.FormatUint(uint64(f), 10) }

// RunMode is the keyword of a grid network: prod, test, dev, qa, or what
// [runmodes] in appliance.toml adds.
type RunMode string

// RunModes maps each run mode to its long, pretty name.
type RunModes map[RunMode]string

// Check returns nil if m is a known run mode, else an [Error] with code
// [NotFound] that lists those that are.
func (r RunModes) Check(m RunMode) error {
	if _, ok := r[m]; ok {
		return nil
	}
	e := Errorf(NotFound, "unknown run mode %q: accepted are %s", Clip(string(m), 40), strings.Join(r.Keywords(), ", "))
	e.Cause = Cause{ID: CauseRunModeUnknown, RunMode: RunMode(Clip(string(m), 40)), Note: strings.Join(r.Keywords(), ", ")}
	return e
}

// Ordered returns the run modes in the order in which people expect them:
// prod, test, dev, qa, then the rest by name.
func (r RunModes) Ordered() []RunMode {
	usual := []RunMode{"prod", "test", "dev", "qa"}
	place := func(m RunMode) uint { return uint(slices.Index(usual, m)) } // -1 is the last
	return slices.SortedFunc(maps.Keys(r), func(a, b RunMode) int {
		return cmp.Or(cmp.Compare(place(a), place(b)), cmp.Compare(a, b))
	})
}

// Keywords is Ordered, for lists and messages.
func (r RunModes) Keywords() []string {
	keys := make([]string, 0, len(r))
	for _, m := range r.Ordered() {
		keys = append(keys, string(m))
	}
	return keys
}

// Node is a registered machine: what the MAC address of its network card boots.
type Node struct {
	MAC     MAC      `json:"mac"`
	Farmer  FarmerID `json:"farmer"` // 0: none
	RunMode RunMode  `json:"runmode"`
	Args    string   `json:"args"`   // extra kernel arguments, as typed
	Kernel  string   `json:"kernel"` // kernel file name; "": the run mode's default
	Name    string   `json:"name"`   // for people
	NBP     NBP      `json:"nbp,omitempty"`
	Exit    bool     `json:"exit,omitempty"` // it boots no kernel, but goes on to its next boot device
	Once    string   `json:"once,omitempty"` // what its next boot alone gets: a kernel file name, or [OnceExit]; "": the usual

	Created time.Time `json:"-"`
	Updated time.Time `json:"-"`
	Owned   time.Time `json:"-"` // since when it is Farmer's, whom what was before does not concern
}

// NBP is a choice among the network boot programs for a node's architecture.
type NBP string

// The choices. Where there is only one program for an architecture, it gets that.
const (
	DefaultNBP    NBP = ""               // the one that knows most network cards, or another one if that does not boot the machine
	AllDrivers    NBP = "ipxe"           // the one that knows most network cards, and no other
	SNPOnly       NBP = "snponly"        // UEFI x64: the one that uses the firmware's own driver (its Simple Network Protocol), for cards that hang with iPXE's
	Plain         NBP = "plain"          // UEFI x64: without shim, whatever [secure-boot] says; whichever boots the machine
	SignedSNPOnly NBP = "signed-snponly" // UEFI x64: SNPOnly behind shim, for such cards with Secure Boot on
	Signed        NBP = "signed"         // UEFI x64: the signed one without shim, where firmware itself holds our certificate
)

// nbps are all that a node may be given.
var nbps = []NBP{DefaultNBP, AllDrivers, SNPOnly, Plain, SignedSNPOnly, Signed}

// Check returns nil if n is one of the choices, else an [Error] with code [Invalid].
func (n NBP) Check() error {
	if slices.Contains(nbps, n) {
		return nil
	}
	return Errorf(Invalid, "bad network boot program %q: accepted are snponly (UEFI with the firmware's own network driver), ipxe (iPXE's drivers), plain (without shim, whatever [secure-boot] says), signed-snponly (snponly behind shim), signed (without shim, where the firmware holds our certificate), or nothing for whichever boots it", Clip(string(n), 40))
}

// OnceExit is a [Node]'s Once that sends it on to its next boot device.
const OnceExit = "exit"

// Farmer owns nodes.
type Farmer struct {
	ID   FarmerID `json:"id"`
	Name string   `json:"name"`
}

// Policy says what a MAC address gets from us.
type Policy string

// The policies. A registered node always has [Boot]; [provisioning] unknown in
// appliance.toml chooses one for all others.
const (
	Boot   Policy = "boot"   // boot a kernel
	Hold   Policy = "hold"   // wait on screen with a claim code
	Exit   Policy = "exit"   // go on to the next boot device
	Ignore Policy = "ignore" // no answer at all
)

// Assignment is what a MAC address gets, decided.
type Assignment struct {
	Policy     Policy
	Registered bool
	Node       Node   // as it boots now: the registered node, or the default with this MAC
	Once       bool   // this boot is not the usual one: its script consumes [Node].Once
	Candidate  bool   // its kernel is one that is tried on a few nodes of its run mode
	Code       string // when Policy is Hold: the claim code to show, "" if there is none
	Enrolling  bool   // a person is to make it trust our key for Secure Boot

	Strategy Strategy // how it is brought to its boot program: chosen by DHCP
}
