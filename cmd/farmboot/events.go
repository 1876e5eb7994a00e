package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"farmboot/provisioning"
	"farmboot/provisioning/cause"
	"farmboot/provisioning/human"
)

type eventsCmd struct {
	Follow bool             `short:"f" help:"Go on, with what happens from now on, until interrupted."`
	MAC    provisioning.MAC `help:"Only of this MAC address." placeholder:"MAC"`
	Limit  int              `short:"n" default:"50" help:"The last so many; 0: all." placeholder:"N" type:"most"`
	JSON   bool             `help:"As JSON, as the API shows it; with -f one event a line."`
}

func (eventsCmd) Help() string {
	return `Examples:

  farmboot events
  farmboot events -f
  farmboot events --mac 52:54:00:00:00:b1 --limit 0 --json`
}

func (c eventsCmd) Run(ctx context.Context, e *env, db *database) error {
	query := provisioning.EventQuery{MAC: c.MAC, Limit: c.Limit, Last: true}
	changed := db.store.Watch(ctx) // before the first look, so that nothing is missed
	events, err := db.registry.Events(ctx, operator(), query)
	if err != nil {
		return err
	}
	if c.JSON && !c.Follow {
		for i := range events {
			events[i] = cause.Told(events[i])
		}
		return printJSON(e.stdout, events)
	}
	for c.Follow || len(events) > 0 {
		for _, ev := range events {
			query.After = ev.ID
			if err := c.print(e.stdout, ev); err != nil {
				return err
			}
		}
		if !c.Follow {
			return nil
		}
		if _, ok := <-changed; !ok {
			return nil
		}
		if events, err = db.registry.Events(ctx, operator(), provisioning.EventQuery{MAC: query.MAC, After: query.After}); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
	}
	return nil
}

// print writes one event as a line.
func (c eventsCmd) print(w io.Writer, ev provisioning.Event) error {
	if c.JSON {
		return json.NewEncoder(w).Encode(cause.Told(ev))
	}
	who := "-"
	if !ev.MAC.IsZero() {
		who = ev.MAC.String()
	} else if ev.Peer.IsValid() {
		who = ev.Peer.String()
	}
	detail := cause.Detail(ev)
	if ev.Size > 0 {
		detail += fmt.Sprintf(" (%s of %s in %s)", human.Bytes(ev.Bytes), human.Bytes(ev.Size), human.Duration(ev.Duration))
	}
	_, err := fmt.Fprintf(w, "%s  %-17s  %-10s  %s\n", localTime(ev.At), who, ev.Stage, strings.TrimSpace(printable(detail)))
	return err
}

type historyCmd struct {
	Subject string `help:"Only of this: a MAC address, a farmer's or a token's id, a kernel." placeholder:"S"`
	Limit   int    `short:"n" default:"50" help:"The last so many; 0: all." placeholder:"N" type:"most"`
	Undo    *int64 `help:"Take this change of a node, or of a farmer's name, back, and those made together with it." placeholder:"ID"`
	Yes     bool   `short:"y" help:"Do not ask."`
	JSON    bool   `help:"As JSON, as the API shows it."`
}

func (historyCmd) Help() string {
	return `Newest first. --undo takes a change back, and with it a whole import or change of many
nodes, as long as each of the nodes is still as the change left it. It says which, and asks on a
terminal.

Examples:

  farmboot history
  farmboot history --subject 52:54:00:00:00:b1
  farmboot history --undo 1207`
}

func (c historyCmd) Run(ctx context.Context, e *env) error {
	if c.Undo != nil && *c.Undo <= 0 {
		return usageError{fmt.Sprintf("history: bad number %d of a change: farmboot history shows them", *c.Undo)}
	}
	db, err := e.open(ctx)
	if err != nil {
		return err
	}
	if c.Undo != nil {
		return c.undo(ctx, e, db)
	}
	changes, err := db.registry.History(ctx, operator(), provisioning.ChangeQuery{Subject: c.Subject, Limit: c.Limit})
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, changes)
	}
	t := newTable(e.stdout, "ID\tCHANGED\tBY\tFROM\tSUBJECT\tWHAT")
	for _, ch := range changes {
		t.row("%d\t%s\t%s\t%s\t%s\t%s", ch.ID, localTime(ch.At), ch.Actor, ch.From, ch.Subject, whatChanged(ch))
	}
	return t.flush()
}

// someChanges lists changes, a line each, some of them if they are many.
func someChanges(changes []provisioning.Change) string {
	const some = 20
	var b strings.Builder
	for _, c := range changes[:min(len(changes), some)] {
		fmt.Fprintf(&b, "  %d  %s  %s\n", c.ID, c.Subject, whatChanged(c))
	}
	if more := len(changes) - some; more > 0 {
		fmt.Fprintf(&b, "  and %d more\n", more)
	}
	return b.String()
}

func (c historyCmd) undo(ctx context.Context, e *env, db *database) error {
	changes, err := db.registry.MayUndo(ctx, operator(), *c.Undo)
	if err != nil {
		return err
	}
	if ok, err := e.confirm(fmt.Sprintf("%sTake %s back?", someChanges(changes), countOf(len(changes), "change")), c.Yes); err != nil || !ok {
		return err
	}
	undone, err := db.registry.Undo(ctx, operator(), *c.Undo)
	var says strings.Builder
	if n := len(undone.Changes); n > 0 {
		fmt.Fprintf(&says, "took %s back:\n%s", countOf(n, "change"), someChanges(undone.Changes))
	}
	for _, n := range undone.Once {
		fmt.Fprintf(&says, "the one-time next boot of %s, %s, was dropped with its registration\n", n.MAC, n.Once)
	}
	switch stay := undone.Farmers; len(stay) {
	case 0:
	case 1:
		fmt.Fprintf(&says, "%s stays registered, without a node: farmboot farmer rm %s removes him, and his tokens\n", someFarmers(stay), stay[0])
	default:
		fmt.Fprintf(&says, "%s stay registered, without a node: farmboot farmer rm removes one, and his tokens\n", someFarmers(stay))
	}
	for _, mac := range undone.Unenrolled {
		anew := ""
		if slices.Contains(undone.Again, mac) {
			anew = ": farmboot secureboot enrol " + mac.String() + " begins that anew"
		}
		fmt.Fprintf(&says, "%s is not to be enrolled any more%s\n", mac, anew)
	}
	if _, unsaid := io.WriteString(e.stdout, says.String()); unsaid != nil {
		return errors.Join(err, unsaid)
	}
	return err
}
