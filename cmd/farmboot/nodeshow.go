package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"farmboot/ipxe"
	"farmboot/provisioning"
	"farmboot/provisioning/cause"
	"farmboot/provisioning/story"
)

type nodeShowCmd struct {
	MAC  provisioning.MAC `arg:"" help:"MAC address, in any usual notation; it need not be registered."`
	JSON bool             `help:"As JSON, as the API shows it."`
}

func (nodeShowCmd) Help() string {
	return `Examples:

  farmboot node show 52:54:00:00:00:b1
  farmboot node show --json 5254000000b1`
}

// nodeView is all that there is to say about one MAC address. As JSON it is the
// node, and more.
type nodeView struct {
	provisioning.Node
	Registered bool                     `json:"registered"`
	Policy     provisioning.Policy      `json:"policy"`
	Code       string                   `json:"code,omitempty"` // with policy hold
	File       string                   `json:"-"`              // of its kernel, in words
	Cmdline    string                   `json:"cmdline,omitempty"`
	wrong      error                    // why it would not boot
	NBPAuto    *provisioning.Proven     `json:"nbp_auto,omitempty"`  // what booted it, where that is not what boots most machines
	Enrolling  bool                     `json:"enrolling,omitempty"` // it is to be made to trust our key
	Seen       *provisioning.Discovered `json:"seen,omitempty"`
	LastBoot   story.Story              `json:"last_boot"`
	History    []provisioning.Change    `json:"history,omitempty"`
}

func (c nodeShowCmd) Run(ctx context.Context, e *env, db *database) error {
	v, err := db.view(ctx, c.MAC)
	if err != nil {
		return err
	}
	if c.JSON {
		err = printJSON(e.stdout, v)
	} else {
		err = v.print(e.stdout)
	}
	if err == nil && !v.Registered && v.Seen == nil {
		return provisioning.Errorf(provisioning.NotFound, "no node %s is registered, and none has been seen booting here", c.MAC)
	}
	return err
}

// view collects what there is to say about mac.
func (d *database) view(ctx context.Context, mac provisioning.MAC) (nodeView, error) {
	a, err := d.assigner.Assignment(ctx, mac)
	if err != nil {
		return nodeView{}, err
	}
	a = d.rollout.Assign(ctx, a)
	v := nodeView{Node: a.Node, Registered: a.Registered, Policy: a.Policy}
	if a.Registered {
		if v.Node, err = d.registry.Node(ctx, operator(), mac); err != nil {
			return nodeView{}, err
		}
	}
	if a.Policy == provisioning.Boot {
		v.Cmdline, v.wrong = d.composer.Bootable(ipxe.NodeTarget(a.Node), d.kernels.WithUpstream())
		if v.File, err = d.kernelFile(a.Node); err != nil {
			return nodeView{}, err
		}
		if a.Candidate {
			v.File += fmt.Sprintf(", the candidate of run mode %s", a.Node.RunMode)
		}
	}
	if v.NBPAuto, err = d.registry.Unusual(ctx, operator(), mac); err != nil {
		return nodeView{}, err
	}
	v.Enrolling = d.cfg.SecureBoot.Enabled && openLedger(d.cfg, time.Now).Enrolling(mac)
	switch seen, err := d.registry.Seen(ctx, operator(), mac); {
	case err == nil:
		v.Seen = &seen
		if a.Policy == provisioning.Hold {
			v.Code = seen.Code
		}
	case provisioning.ErrorCode(err) != provisioning.NotFound:
		return nodeView{}, err
	}
	if v.LastBoot, err = d.registry.Story(ctx, operator(), mac); err != nil {
		return nodeView{}, err
	}
	if v.Seen != nil {
		v.LastBoot = v.LastBoot.Seen()
	}
	v.History, err = d.registry.NodeHistory(ctx, operator(), mac, 20)
	return v, err
}

// kernelFile names the file that a node boots.
func (d *database) kernelFile(n provisioning.Node) (string, error) {
	if n.Kernel != "" {
		return n.Kernel, nil
	}
	kernels, err := d.kernels.List()
	if err != nil {
		return "", err
	}
	for _, k := range kernels {
		if slices.Contains(k.RunModes, n.RunMode) {
			return fmt.Sprintf("%s, the default of run mode %s", k.Name, n.RunMode), nil
		}
	}
	return fmt.Sprintf("%s, the default of run mode %s", ipxe.NodeTarget(n).KernelPath(), n.RunMode), nil
}

// print writes v for a terminal.
func (v nodeView) print(w io.Writer) error {
	t := newTable(w, fmt.Sprintf("MAC\t%s", v.MAC))
	if v.Registered {
		t.row("Registered\t%s, last changed %s", localTime(v.Created), localTime(v.Updated))
	} else {
		t.row("Registered\tno")
	}
	t.row("It gets\t%s", v.gets())
	if v.Registered && (v.Once != "" || v.Exit) { // the lines below are of its next boot
		n := v.Node
		n.Name = "" // which has a line of its own
		t.row("Registered for\t%s", settings(n))
	}
	if v.Policy == provisioning.Boot {
		t.row("Run mode\t%s", v.RunMode)
		t.row("Farmer\t%s", dash(v.Farmer.String()))
		if wrong := provisioning.CauseOf(v.wrong); wrong.ID == provisioning.CauseKernelMissing || wrong.ID == provisioning.CauseKernelBroken {
			t.row("Kernel\t%s (%s)", cause.Message(wrong), cause.Hint(wrong))
		} else {
			t.row("Kernel\t%s", v.File)
		}
		t.row("Arguments\t%s", dash(v.Args))
		if v.NBP != provisioning.DefaultNBP {
			t.row("Boot program\t%s", v.NBP)
		}
		t.row("Command line\t%s", cmp.Or(v.Cmdline, "refused: see farmboot node check "+v.MAC.String()))
	}
	if p := v.NBPAuto; p != nil {
		t.row("Boot program\tnbp auto: %s since %s", p.Strategy, localTime(p.Since))
	}
	if v.Enrolling {
		t.row("Secure Boot\tto be enrolled at its next boot from us")
	}
	if v.Name != "" {
		t.row("Name\t%s", v.Name)
	}
	if s := v.Seen; s != nil {
		t.row("Machine\t%s", dash(strings.Join(nonEmpty(s.Vendor, s.Arch, s.Firmware, s.UUID), ", ")))
		if s.Manufacturer+s.Product+s.Serial != "" {
			t.row("Model\t%s", dash(strings.Join(nonEmpty(s.Manufacturer, s.Product), ", ")))
			t.row("Serial number\t%s", dash(s.Serial))
		}
		if s.Address != "" {
			t.row("Address\t%s", s.Address)
		}
		boots := "boots"
		if s.Boots == 1 {
			boots = "boot"
		}
		t.row("Seen\t%d %s, first %s, last %s", s.Boots, boots, localTime(s.FirstSeen), localTime(s.LastSeen))
	}
	if err := t.flush(); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w, "\n%s", v.LastBoot.Format(time.Local)); err != nil {
		return err
	}
	return v.printHistory(w)
}

// gets says what a boot of it would come to.
func (v nodeView) gets() string {
	switch {
	case v.Once == provisioning.OnceExit:
		return "sent on to its next boot device, this once; then what it is registered for"
	case v.Once != "":
		return "kernel " + v.Once + ", this once; then what it is registered for"
	case v.Registered && v.Exit:
		return "sent on to its next boot device, as it is registered"
	case v.Registered:
		return "what it is registered for"
	case v.Policy == provisioning.Boot:
		return "the default for unregistered nodes"
	case v.Policy == provisioning.Hold:
		return fmt.Sprintf("held until claimed: farmboot node claim %s --farmer F", cmp.Or(v.Code, v.MAC.String()))
	case v.Policy == provisioning.Exit:
		return "sent on to its next boot device"
	default:
		return "no answer"
	}
}

func (v nodeView) printHistory(w io.Writer) error {
	if len(v.History) == 0 {
		return nil
	}
	t := newTable(w, "\nCHANGED\tBY\tFROM\tWHAT")
	for _, c := range v.History {
		t.row("%s\t%s\t%s\t%s", localTime(c.At), c.Actor, c.From, whatChanged(c))
	}
	return t.flush()
}

// whatChanged tells the difference between before and after, "node set: runmode
// prod -> test", and whether it is taken back, or takes back another change.
func whatChanged(c provisioning.Change) string {
	what := fieldsChanged(c)
	if c.Undoes != 0 {
		what += fmt.Sprintf(" (takes %d back)", c.Undoes)
	}
	if c.UndoneBy != 0 {
		what += fmt.Sprintf(" (taken back by %d)", c.UndoneBy)
	}
	return what
}

func fieldsChanged(c provisioning.Change) string {
	if len(c.Before) == 0 || len(c.After) == 0 {
		return c.Action
	}
	var diffs []string
	for _, d := range c.Differences() {
		if d.Field == "sha256" { // enough to tell files apart
			d.Before, d.After = d.Before[:min(12, len(d.Before))], d.After[:min(12, len(d.After))]
		}
		diffs = append(diffs, fmt.Sprintf("%s %s -> %s", d.Field, dash(d.Before), dash(d.After)))
	}
	if diffs == nil {
		return c.Action + ": the same as before"
	}
	return c.Action + ": " + strings.Join(diffs, ", ")
}

func nonEmpty(parts ...string) []string {
	return slices.DeleteFunc(parts, func(p string) bool { return p == "" })
}
