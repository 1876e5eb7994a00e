package main

import (
	"context"
	"fmt"

	"farmboot/ipxe/rollout"
	"farmboot/provisioning"
	"farmboot/provisioning/story"
	"farmboot/setup/alert"
)

// some says how many nodes a canary is for.
func some(c *rollout.Canary) string {
	if c.Share > 0 {
		return fmt.Sprintf("%.3g %% of its nodes (%d of those that are registered)", 100*c.Share, c.Known)
	}
	if c.Known == 1 {
		return "1 node"
	}
	return fmt.Sprintf("%d nodes", c.Known)
}

// canaries lists the kernels that run modes try on some nodes.
func (d *database) canaries(ctx context.Context) (all []*rollout.Canary, err error) {
	for _, m := range d.cfg.RunModes.Ordered() {
		c, err := d.rollout.Canary(ctx, m)
		if err != nil {
			return nil, err
		}
		if c != nil {
			all = append(all, c)
		}
	}
	return all, nil
}

// admit is what a node gets that asks for its script, with the kernel that is tried on it.
func (a *appliance) admit(ctx context.Context, mac provisioning.MAC) (provisioning.Assignment, error) {
	as, err := a.assigner.Admit(ctx, mac)
	if err != nil {
		return as, err
	}
	return a.rollout.Assign(ctx, as), nil
}

// assignment is what a node would get.
func (a *appliance) assignment(ctx context.Context, mac provisioning.MAC) (provisioning.Assignment, error) {
	as, err := a.assigner.Assignment(ctx, mac)
	if err != nil {
		return as, err
	}
	return a.rollout.Assign(ctx, as), nil
}

// runRollout looks after the kernels that are tried on a few nodes.
func (a *appliance) runRollout(ctx context.Context) error {
	modes := func() []provisioning.RunMode { return a.composer().RunModes.Ordered() }
	return a.rollout.Run(ctx, modes, a.log, a.canaryEnded)
}

// toldNodes is how many failed nodes an alert tells of.
const toldNodes = 5

// canaryEnded tells people what became of a kernel that was tried, with the stories of the
// nodes that failed with it.
func (a *appliance) canaryEnded(ctx context.Context, c *rollout.Canary, v rollout.Verdict) {
	about := [2]string{string(c.RunMode), c.SHA256}
	if v == rollout.Promoted {
		a.tellOf(alert.Notice{
			Key: "kernel promoted", About: about,
			Text: fmt.Sprintf("kernel %s is what all nodes of run mode %s boot from now on: %d nodes have proven it, %d boots failed", c.Kernel, c.RunMode, c.Proven, c.Failed),
		})
		return
	}
	n := alert.Notice{
		Key: "kernel taken back", About: about,
		Text: fmt.Sprintf("kernel %s is taken back from run mode %s: %d boots failed, %d nodes have proven it; all nodes boot what they did before", c.Kernel, c.RunMode, c.Failed, c.Proven),
		Cure: []string{
			"the screens of these nodes while that kernel starts",
			fmt.Sprintf("who makes the kernel; a mended one is tried with farmboot kernel use %s KERNEL --canary 5%%", c.RunMode),
		},
	}
	for i, mac := range c.FailedNodes {
		if i == toldNodes {
			n.Details = append(n.Details, fmt.Sprintf("and %d more nodes", len(c.FailedNodes)-i))
			break
		}
		line := a.nodeName(ctx, mac)
		events, err := a.store.Events(ctx, provisioning.EventQuery{MAC: mac, Since: c.Since, Last: true, Limit: toldEvents})
		if err == nil {
			line += ": " + story.Tell(events, a.now()).Verdict
		}
		n.Details = append(n.Details, line)
	}
	a.tellOf(n)
}

// toldEvents is how many events of a node its story is told from.
const toldEvents = 200

type kernelPromoteCmd struct {
	RunMode provisioning.RunMode `arg:"" name:"runmode" help:"Run mode: prod, test, …"`
}

func (kernelPromoteCmd) Help() string {
	return `All nodes of that run mode boot from now on the kernel that some were trying.

Example:

  farmboot kernel promote prod`
}

func (c kernelPromoteCmd) Run(ctx context.Context, e *env, db *database) error {
	if err := db.cfg.RunModes.Check(c.RunMode); err != nil {
		return err
	}
	canary, err := db.rollout.Promote(ctx, operator(), c.RunMode)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.stdout, "run mode %s boots %s\n", c.RunMode, canary.Kernel)
	return err
}

type kernelRollbackCmd struct {
	RunMode provisioning.RunMode `arg:"" name:"runmode" help:"Run mode: prod, test, …"`
}

func (kernelRollbackCmd) Help() string {
	return `Nodes of that run mode boot from now on what they booted before. A kernel that is
being tried on some of them is taken back first, and nothing else is changed then.
Going back twice goes back two steps.

Example:

  farmboot kernel rollback prod`
}

func (c kernelRollbackCmd) Run(ctx context.Context, e *env, db *database) error {
	if err := db.cfg.RunModes.Check(c.RunMode); err != nil {
		return err
	}
	what, err := db.rollout.Back(ctx, operator(), c.RunMode)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(e.stdout, what)
	return err
}

type kernelHistoryCmd struct {
	RunMode provisioning.RunMode `arg:"" optional:"" name:"runmode" help:"Run mode: prod, test, …; by default all of them."`
	JSON    bool                 `help:"As JSON."`
}

func (kernelHistoryCmd) Help() string {
	return `What each run mode booted, newest first: since when, by whom, how many boots it had
and how many of them failed (the node netbooted again before its system was up). A
kernel that is being tried, or was and is not any more, is called a candidate. Of its
SHA-256 the first twelve digits are shown, and all by --json.

Examples:

  farmboot kernel history
  farmboot kernel history prod --json`
}

func (c kernelHistoryCmd) Run(ctx context.Context, e *env, db *database) error {
	modes := db.cfg.RunModes.Ordered()
	if c.RunMode != "" {
		if err := db.cfg.RunModes.Check(c.RunMode); err != nil {
			return err
		}
		modes = []provisioning.RunMode{c.RunMode}
	}
	all := []rollout.Record{}
	for _, m := range modes {
		record, err := db.rollout.Record(ctx, m)
		if err != nil {
			return err
		}
		all = append(all, record)
	}
	if c.JSON {
		return printJSON(e.stdout, all)
	}
	t := newTable(e.stdout, "RUN MODE\tKERNEL\tSINCE\tBY\tBOOTS\tFAILURES\tSHA-256")
	for _, r := range all {
		tried := func(k *rollout.Canary) {
			t.row("%s\t%s (candidate)\t%s\t%s\t%d\t%d\t%.12s", r.RunMode, k.Kernel, localTime(k.Since), k.By, k.Booted, k.Failed, k.SHA256)
		}
		if r.Canary != nil {
			tried(r.Canary)
			t.note("is tried on %s", some(r.Canary))
		}
		dropped := r.Dropped
		for _, g := range r.Generations {
			for ; len(dropped) > 0 && dropped[0].Since.After(g.Since); dropped = dropped[1:] {
				d := dropped[0]
				tried(&d.Canary)
				t.note("was tried on %s until %s: ended by %s", some(&d.Canary), localTime(d.Until), d.EndedBy)
			}
			t.row("%s\t%s\t%s\t%s\t%d\t%d\t%.12s", r.RunMode, dash(g.Kernel), localTime(g.Since), g.By, g.Boots, g.Failed, g.SHA256)
		}
	}
	return t.flush()
}
