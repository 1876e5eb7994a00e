package provisioning

import (
	"fmt"
	"strings"
)

// NodePatch is a change to a node: what is nil stays.
type NodePatch struct {
	Farmer  *FarmerID `json:"farmer"`
	RunMode *RunMode  `json:"runmode"`
	Args    *string   `json:"args"`
	Kernel  *string   `json:"kernel"`
	Name    *string   `json:"name"`
	NBP     *NBP      `json:"nbp"`
	Exit    *bool     `json:"exit"`
	Once    *string   `json:"once"`
}

// Apply returns n with the change made. Spaces around a value are no part of it, whoever
// sends it: a command, a form, a spreadsheet, a program.
func (p NodePatch) Apply(n Node) Node {
	set(&n.Farmer, p.Farmer)
	setText(&n.RunMode, p.RunMode)
	setText(&n.Args, p.Args)
	setText(&n.Kernel, p.Kernel)
	setText(&n.Name, p.Name)
	setText(&n.NBP, p.NBP)
	set(&n.Exit, p.Exit)
	setText(&n.Once, p.Once)
	return n
}

func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

func setText[T ~string](to, from *T) {
	if from != nil {
		*to = T(strings.Trim(string(*from), " "))
	}
}

// Row is one line of an import.
type Row struct {
	Line  int // in the file; of a database, its row number
	MAC   MAC
	Patch NodePatch // what the line says; nil: nothing
	Err   error     // why the line cannot be read; nil: it can

	Warnings []string // what may have been read in another way than it was meant
}

// Set reads one field, of a column as CSV files name them.
func (r *Row) Set(column, value string) (err error) {
	switch column {
	case "mac":
		if r.MAC, err = ParseMAC(value); err == nil && shortened(value) {
			r.Warnings = append(r.Warnings, fmt.Sprintf("%s was read as %s", strings.TrimSpace(value), r.MAC))
		}
	case "farmer":
		var id FarmerID
		if strings.TrimSpace(value) != "0" { // as JSON and [provisioning] farmer write "nobody"
			id, err = ParseOwner(value)
		}
		r.Patch.Farmer = &id
	case "runmode":
		if mode := RunMode(strings.TrimSpace(value)); mode != "" {
			r.Patch.RunMode = &mode
		}
	case "args":
		r.Patch.Args = &value
	case "kernel":
		r.Patch.Kernel = &value
	case "name":
		r.Patch.Name = &value
	case "nbp":
		nbp := NBP(strings.TrimSpace(value))
		r.Patch.NBP = &nbp
	case "exit":
		var exit bool
		switch strings.ToLower(strings.TrimSpace(value)) {
		case "", "no", "false", "0":
		case "yes", "true", "1":
			exit = true
		default:
			err = Errorf(Invalid, "bad exit %q: accepted are yes (go on to the next boot device), no, or nothing", Clip(value, 40))
		}
		r.Patch.Exit = &exit
	default:
		err = fmt.Errorf("column %s is not one of ours", column)
	}
	return err
}

// MaxRows bounds an import: what a whole grid has, some 400 MB of rows in memory.
const MaxRows = 1_000_000
