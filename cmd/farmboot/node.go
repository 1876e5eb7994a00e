package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"farmboot/ipxe/rollout"
	"farmboot/provisioning"
)

// nodeCmd is "farmboot node".
type nodeCmd struct {
	Add        nodeAddCmd        `cmd:"" help:"Register a node."`
	Set        nodeSetCmd        `cmd:"" help:"Change registered nodes; what is not given stays."`
	Once       nodeOnceCmd       `cmd:"" help:"Choose what a node's next boot alone gets: another kernel, or its disk."`
	Wake       nodeWakeCmd       `cmd:"" help:"Switch nodes on by Wake-on-LAN, in waves."`
	List       nodeListCmd       `cmd:"" help:"List the registered nodes."`
	Show       nodeShowCmd       `cmd:"" help:"Show one node: what it boots, how its last boot went, who changed it."`
	Rm         nodeRmCmd         `cmd:"" help:"Unregister nodes."`
	Discovered nodeDiscoveredCmd `cmd:"" help:"List the machines that booted here and are not registered, with their claim codes."`
	Claim      nodeClaimCmd      `cmd:"" help:"Register the node that shows a claim code on its screen."`
	Import     nodeImportCmd     `cmd:"" help:"Register many nodes, from CSV or a legacy bootstrap.sqlite3."`
	Export     nodeExportCmd     `cmd:"" help:"Write all nodes as CSV, for node import."`
	Check      nodeCheckCmd      `cmd:"" help:"Explain a kernel command line the way Zero-OS will read it."`
}

// nodeFlags are the flags that say what a node boots. A pointer is nil if its flag
// is not given.
type nodeFlags struct {
	Farmer  *provisioning.FarmerID `help:"Farmer id, 1 to 4294967295; none: no farmer." placeholder:"F" type:"owner"`
	Runmode *provisioning.RunMode  `help:"Run mode, one of [runmodes] in the configuration." placeholder:"R"`
	Args    *string                `help:"Extra kernel arguments, in one word; empty: none." placeholder:"X" empty:""`
	Kernel  *string                `help:"Kernel file in the kernel folder; empty: the run mode's default." placeholder:"K" empty:"" type:"kernel-or-none"`
	Name    *string                `help:"A name, for people; empty: none." placeholder:"N" empty:""`
	Exit    *bool                  `help:"Go on to the next boot device, its disk, at every boot." xor:"exit"`
	NBP     *provisioning.NBP      `name:"nbp" help:"Network boot program: snponly, which uses the firmware's own network driver, for UEFI machines that hang with iPXE's; ipxe, which knows most cards; with [secure-boot] also signed-snponly (snponly behind shim), signed (ipxe without shim, where the firmware itself holds our certificate) and plain (without shim, whichever boots the machine); default: whichever boots the machine." placeholder:"P"`
}

// patch returns the change that the flags ask for.
func (f nodeFlags) patch() provisioning.NodePatch {
	p := provisioning.NodePatch{Farmer: f.Farmer, RunMode: f.Runmode, Args: f.Args, Kernel: f.Kernel, Name: f.Name, NBP: f.NBP, Exit: f.Exit}
	if f.NBP != nil && *f.NBP == "default" {
		*p.NBP = provisioning.DefaultNBP
	}
	return p
}

type nodeAddCmd struct {
	MAC provisioning.MAC `arg:"" help:"MAC address, in any usual notation."`
	nodeFlags
}

func (nodeAddCmd) Help() string {
	return `Examples:

  farmboot node add 52:54:00:00:00:b1 --farmer 1234
  farmboot node add 5254.0000.00b2 --farmer 1234 --runmode test --name "rack 3, left"
  farmboot node add 5254000000b3 --args "zos-debug vlan:priv=30"`
}

func (c nodeAddCmd) Run(ctx context.Context, e *env, db *database) error {
	n, err := db.registry.AddNode(ctx, operator(), c.patch().Apply(provisioning.Node{MAC: c.MAC}))
	if err != nil {
		return orSet(err)
	}
	fmt.Fprintf(e.stdout, "registered %s\n", summary(n))
	return errors.Join(db.printNewFarmers(e.stderr, true), db.warn(ctx, e, n))
}

// orSet says how a node is changed, where it cannot be registered because it is.
func orSet(err error) error {
	if provisioning.ErrorCode(err) == provisioning.Conflict {
		return fmt.Errorf("%w: farmboot node set changes it", err)
	}
	return err
}

// orAdd says how a node is registered, where it cannot be changed because it is not.
func orAdd(err error) error {
	if provisioning.ErrorCode(err) == provisioning.NotFound {
		return fmt.Errorf("%w: farmboot node add registers one", err)
	}
	return err
}

// howToRegister is the command that registers a MAC address which is not registered: what is
// held is claimed.
func (d *database) howToRegister(ctx context.Context, mac provisioning.MAC) (string, error) {
	if d.cfg.Provisioning.Unknown == provisioning.Hold {
		switch _, err := d.registry.Seen(ctx, operator(), mac); {
		case err == nil:
			return "farmboot node claim " + mac.String(), nil
		case provisioning.ErrorCode(err) != provisioning.NotFound:
			return "", err
		}
	}
	return "farmboot node add " + mac.String(), nil
}

type nodeSetCmd struct {
	nodeChoice
	nodeFlags
	NoExit bool `help:"Boot a kernel again, at every boot." xor:"exit"`
}

func (nodeSetCmd) Help() string {
	return `Changes all of them, or none if one is refused. Of more than one it says how many, and
asks on a terminal.

Examples:

  farmboot node set 52:54:00:00:00:b1 --runmode dev
  farmboot node set 52:54:00:00:00:b1 --farmer none --args ""
  farmboot node set 52:54:00:00:00:b1 --nbp snponly     its card hangs with iPXE's driver
  farmboot node set 52:54:00:00:00:b1 --exit            boots from its disk from now on
  farmboot node set --match farmer=1234,runmode=test --runmode prod
  farmboot node set --match "name=rack 3*" --kernel zero-os-v3.14.efi --yes`
}

// nodeChoice is which nodes a command is about.
type nodeChoice struct {
	MAC   []provisioning.MAC `arg:"" optional:"" help:"MAC addresses, in any usual notation."`
	Match string             `help:"All nodes that are so: KEY=VALUE[,…] with the keys farmer, runmode, kernel and name; farmer=none, kernel= (the default), and * in a name for any text." placeholder:"KEY=VALUE"`
	Yes   bool               `short:"y" help:"Do not ask."`
}

func (c nodeSetCmd) Run(ctx context.Context, e *env) error {
	macs, query, err := c.which()
	if err != nil {
		return err
	}
	patch := c.patch()
	if c.NoExit {
		patch.Exit = new(bool)
	}
	if patch == (provisioning.NodePatch{}) {
		return usageError{"node set: nothing to change; give --farmer, --runmode, --args, --kernel, --name, --nbp or --exit"}
	}
	db, err := e.open(ctx)
	if err != nil {
		return err
	}
	macs, err = c.confirmed(ctx, e, db, macs, query, "Change")
	if err != nil || macs == nil {
		return err
	}
	nodes, err := db.registry.SetNodes(ctx, operator(), macs, patch)
	if err != nil {
		return orAdd(err)
	}
	if len(nodes) == 1 {
		fmt.Fprintf(e.stdout, "changed %s\n", summary(nodes[0]))
	} else {
		fmt.Fprintf(e.stdout, "changed %d nodes%s\n", len(nodes), beforeThat(nodes))
	}
	return errors.Join(db.printNewFarmers(e.stderr, true), db.warn(ctx, e, nodes...))
}

// beforeThat says how many of the nodes that were changed boot something else at their next boot.
func beforeThat(nodes []provisioning.Node) string {
	switch once := slices.DeleteFunc(slices.Clone(nodes), func(n provisioning.Node) bool { return !anotherOnce(n) }); len(once) {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf("; before that, once, %s %s", once[0].MAC, bootsOnce(once[0].Once))
	default:
		return fmt.Sprintf("; the next boot of %d of them is another one: farmboot node list", len(once))
	}
}

// which reads which nodes are meant: those named, without repeats, or those that match.
func (c nodeChoice) which() (macs []provisioning.MAC, q provisioning.NodeQuery, err error) {
	switch {
	case len(c.MAC) == 0 && c.Match == "":
		return nil, q, usageError{"name nodes by their MAC addresses, or with --match KEY=VALUE"}
	case len(c.MAC) > 0 && c.Match != "":
		return nil, q, usageError{"give MAC addresses or --match, not both"}
	case c.Match != "":
		q, err = parseMatch(c.Match)
		return nil, q, err
	}
	for _, mac := range c.MAC {
		if !slices.Contains(macs, mac) {
			macs = append(macs, mac)
		}
	}
	return macs, q, nil
}

// confirmed returns the nodes that are meant, once the user has agreed to what is done with
// more than one of them; nil: the user has not.
func (c nodeChoice) confirmed(ctx context.Context, e *env, db *database, named []provisioning.MAC, q provisioning.NodeQuery, what string) ([]provisioning.MAC, error) {
	macs := named
	if c.Match != "" {
		var err error
		if macs, err = db.matching(ctx, q); err != nil {
			return nil, err
		}
		if len(macs) == 0 {
			return nil, provisioning.Errorf(provisioning.NotFound, "no node matches %s: farmboot node list shows them all", provisioning.Clip(c.Match, 80))
		}
	}
	if len(macs) > 1 {
		if ok, err := e.confirm(fmt.Sprintf("%s %d nodes?", what, len(macs)), c.Yes); err != nil || !ok {
			return nil, err
		}
	}
	return macs, nil
}

// matching lists the nodes that match.
func (d *database) matching(ctx context.Context, q provisioning.NodeQuery) ([]provisioning.MAC, error) {
	if q.RunMode != "" {
		if err := d.registry.CheckFilter(ctx, operator(), q.RunMode); err != nil {
			return nil, err
		}
	}
	var macs []provisioning.MAC
	for n, err := range d.registry.AllNodes(ctx, operator(), q) {
		if err != nil {
			return nil, err
		}
		macs = append(macs, n.MAC)
	}
	return macs, nil
}

// parseMatch reads KEY=VALUE[,…].
func parseMatch(s string) (q provisioning.NodeQuery, err error) {
	const accepted = "accepted are farmer=, runmode=, kernel= and name=, separated by commas"
	given := map[string]bool{}
	for part := range strings.SplitSeq(s, ",") {
		key, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok {
			return q, usageError{fmt.Sprintf("bad --match %q: %s", provisioning.Clip(part, 40), accepted)}
		}
		if given[key] {
			return q, usageError{fmt.Sprintf("--match has %s twice", provisioning.Clip(key, 40))}
		}
		given[key] = true
		if value == "" && key != "kernel" {
			return q, usageError{fmt.Sprintf("--match %s= without a value: %s", provisioning.Clip(key, 40), accepted)}
		}
		switch key {
		case "farmer":
			if q.Unowned = value == "none"; !q.Unowned {
				if q.Farmer, err = provisioning.ParseFarmerID(value); err != nil {
					return q, err
				}
			}
		case "runmode":
			q.RunMode = provisioning.RunMode(value)
		case "kernel":
			q.Kernel = &value
		case "name":
			q.Name = value
		default:
			return q, usageError{fmt.Sprintf("--match has no key %q: %s", provisioning.Clip(key, 40), accepted)}
		}
	}
	return q, nil
}

type nodeOnceCmd struct {
	MAC  provisioning.MAC `arg:"" help:"MAC address, in any usual notation."`
	Boot string           `arg:"" name:"kernel" help:"A kernel; exit: its next boot device; none: the usual, after all." type:"kernel"`
}

func (nodeOnceCmd) Help() string {
	return `The next boot alone is another one; when its script has gone out, the node boots the usual
again.

Examples:

  farmboot node once 52:54:00:00:00:b1 exit
  farmboot node once 52:54:00:00:00:b1 zero-os-v3.14.efi
  farmboot node once 52:54:00:00:00:b1 none`
}

func (c nodeOnceCmd) Run(ctx context.Context, e *env, db *database) error {
	if c.Boot == "none" {
		c.Boot = ""
	}
	switch _, err := db.registry.SetNode(ctx, operator(), c.MAC, provisioning.NodePatch{Once: &c.Boot}); {
	case err != nil && provisioning.CauseOf(errors.Unwrap(err)).ID == provisioning.CauseKernelMissing:
		return fmt.Errorf("%w; accepted besides kernels: exit and none", err)
	case err != nil:
		return orAdd(err)
	}
	what := "boots the usual"
	if c.Boot != "" {
		what = bootsOnce(c.Boot) + ", once"
	}
	_, err := fmt.Fprintf(e.stdout, "at its next boot %s %s\n", c.MAC, what)
	return err
}

// anotherOnce tells whether the next boot of a node is another one than those after it.
func anotherOnce(n provisioning.Node) bool {
	switch n.Once {
	case "":
		return false
	case provisioning.OnceExit:
		return !n.Exit
	}
	return n.Exit || n.Once != n.Kernel
}

// bootsOnce says what a node with such a Once does at its next boot.
func bootsOnce(once string) string {
	if once == provisioning.OnceExit {
		return "goes on to its next boot device"
	}
	return "boots " + once
}

// summary tells of a node in a few words, and what its next boot alone is.
func summary(n provisioning.Node) string {
	s := fmt.Sprintf("%s: %s", n.MAC, settings(n))
	if anotherOnce(n) {
		s += "; before that, once, it " + bootsOnce(n.Once)
	}
	return s
}

// settings tells what a node is registered for.
func settings(n provisioning.Node) string {
	var b strings.Builder
	fmt.Fprintf(&b, "run mode %s", n.RunMode)
	if n.Farmer != 0 {
		fmt.Fprintf(&b, ", farmer %s", n.Farmer)
	}
	if n.Args != "" {
		fmt.Fprintf(&b, ", arguments %q", n.Args)
	}
	if n.Kernel != "" {
		fmt.Fprintf(&b, ", kernel %s", n.Kernel)
	}
	if n.Name != "" {
		fmt.Fprintf(&b, ", name %q", n.Name)
	}
	if n.NBP != provisioning.DefaultNBP {
		fmt.Fprintf(&b, ", network boot program %s", n.NBP)
	}
	if n.Exit {
		b.WriteString(", goes on to its next boot device")
	}
	return b.String()
}

type nodeListCmd struct {
	Farmer    string               `help:"Only this farmer's; none: only those without a farmer." placeholder:"F"`
	Runmode   provisioning.RunMode `help:"Only of this run mode." placeholder:"R"`
	MAC       string               `help:"Only MAC addresses that begin so." placeholder:"PREFIX"`
	Text      string               `help:"Only with this in the name, the arguments, the kernel or the serial number." placeholder:"TEXT"`
	After     provisioning.MAC     `help:"Only those that follow this MAC address: the next page." placeholder:"MAC"`
	Limit     int                  `help:"At most so many; 0: all." placeholder:"N" type:"most"`
	Inventory bool                 `help:"Show what is known of the machines: address, serial number, maker, product, last boot."`
	JSON      bool                 `help:"As JSON, as the API shows it."`
}

func (nodeListCmd) Help() string {
	return `Machines that are not registered: farmboot node discovered.

Examples:

  farmboot node list
  farmboot node list --farmer 1234 --runmode prod
  farmboot node list --mac 52:54 --json
  farmboot node list --inventory --text 7CZ1234X        the one with that serial number
  farmboot node list --limit 50 --after 52:54:00:00:00:b1`
}

func (c nodeListCmd) query() (q provisioning.NodeQuery, err error) {
	q = provisioning.NodeQuery{RunMode: c.Runmode, Text: c.Text, After: c.After, Limit: c.Limit}
	if c.Farmer == "none" {
		q.Unowned = true
	} else if c.Farmer != "" {
		if q.Farmer, err = provisioning.ParseFarmerID(c.Farmer); err != nil {
			return q, err
		}
	}
	if c.MAC != "" {
		q.MACs, err = provisioning.ParseMACPrefix(c.MAC)
	}
	return q, err
}

func (c nodeListCmd) Run(ctx context.Context, e *env) error {
	query, err := c.query()
	if err != nil {
		return err
	}
	db, err := e.open(ctx)
	if err != nil {
		return err
	}
	if query.RunMode != "" {
		if err := db.registry.CheckFilter(ctx, operator(), query.RunMode); err != nil {
			return err
		}
	}
	nodes, err := db.registry.Nodes(ctx, operator(), query)
	if err != nil {
		return err
	}
	if c.Inventory {
		return c.inventory(ctx, e, db, nodes)
	}
	if c.JSON {
		return printJSON(e.stdout, nodes)
	}
	canaries, err := db.canaries(ctx)
	if err != nil {
		return err
	}
	t := newTable(e.stdout, "MAC\tFARMER\tRUNMODE\tKERNEL\tARGS\tNAME")
	for _, n := range nodes {
		t.row("%s\t%s\t%s\t%s\t%s\t%s", n.MAC, dash(n.Farmer.String()), n.RunMode, dash(whatItBoots(n, canaries)), dash(n.Args), dash(n.Name))
	}
	return t.flush()
}

// whatItBoots is a node's kernel, "" for its run mode's, the one that it tries, or that it
// boots none; and its next boot, if that alone is another one.
func whatItBoots(n provisioning.Node, canaries []*rollout.Canary) string {
	usual := n.Kernel
	for _, c := range canaries {
		if n.Kernel == "" && n.RunMode == c.RunMode && c.Selects(n.MAC) {
			usual = c.Kernel + " (candidate)"
		}
	}
	if n.Exit {
		usual = "(exit)"
	}
	if n.Once == "" {
		return usual
	}
	return fmt.Sprintf("%s (once: %s)", dash(usual), n.Once)
}

// inventory lists nodes with what is known of their machines.
func (c nodeListCmd) inventory(ctx context.Context, e *env, db *database, nodes []provisioning.Node) error {
	list, err := db.registry.WithMachines(ctx, operator(), nodes)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, list)
	}
	t := newTable(e.stdout, "MAC\tNAME\tADDRESS\tSERIAL\tMAKER\tPRODUCT\tNIC MAKER\tFIRMWARE\tLAST BOOT")
	for _, n := range list {
		var d provisioning.Discovered
		if n.Machine != nil {
			d = *n.Machine
		}
		t.row("%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s", n.MAC, dash(n.Name), dash(d.Address), dash(d.Serial),
			dash(d.Manufacturer), dash(d.Product), dash(d.Vendor), dash(strings.Join(nonEmpty(d.Arch, d.Firmware), ", ")), localTime(d.LastSeen))
	}
	return t.flush()
}

type nodeRmCmd struct {
	MAC []provisioning.MAC `arg:"" help:"MAC addresses, in any usual notation."`
}

func (nodeRmCmd) Help() string {
	return `Removes all of them, or none if one is not registered.

Examples:

  farmboot node rm 52:54:00:00:00:b1
  farmboot node rm 5254000000b1 5254000000b2`
}

func (c nodeRmCmd) Run(ctx context.Context, e *env, db *database) error {
	ledger, enrolling := openLedger(db.cfg, e.now), make(map[provisioning.MAC]bool)
	for _, mac := range c.MAC {
		enrolling[mac] = ledger.Enrolling(mac)
	}
	if err := db.registry.RemoveNodes(ctx, operator(), c.MAC); err != nil {
		return err
	}
	for _, mac := range c.MAC {
		fmt.Fprintf(e.stdout, "removed %s\n", mac)
		if enrolling[mac] {
			fmt.Fprintf(e.stdout, "%s is not to be enrolled any more\n", mac)
		}
	}
	return nil
}

type nodeClaimCmd struct {
	Code string `arg:"" help:"The claim code on the node's screen, or its MAC address."`
	nodeFlags
}

func (nodeClaimCmd) Help() string {
	return `A node that is held (unknown = "hold" in the configuration) shows a claim code and
waits; farmboot node discovered lists those that do. Once it is claimed it boots on within
five seconds.

Example:

  farmboot node claim K7M3PX --farmer 1234`
}

func (c nodeClaimCmd) Run(ctx context.Context, e *env, db *database) error {
	n, err := db.registry.Claim(ctx, operator(), c.Code, c.patch())
	if err != nil {
		return orSet(err)
	}
	fmt.Fprintf(e.stdout, "claimed %s\n", summary(n))
	return errors.Join(db.printNewFarmers(e.stderr, true), db.warn(ctx, e, n))
}
