package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"farmboot/provisioning"
)

// farmerCmd is "farmboot farmer".
type farmerCmd struct {
	Add  farmerAddCmd  `cmd:"" help:"Register a farmer."`
	List farmerListCmd `cmd:"" help:"List the farmers."`
	Rm   farmerRmCmd   `cmd:"" help:"Remove a farmer who has no nodes, and his tokens."`
}

type farmerAddCmd struct {
	Farmer provisioning.FarmerID `arg:"" help:"Farmer id, 1 to 4294967295."`
	Name   string                `help:"The farmer's name." placeholder:"N"`
}

func (farmerAddCmd) Help() string {
	return `A farmer whom a node mentions is registered by itself, without a name.

Example:

  farmboot farmer add 1234 --name "Green Valley"`
}

func (c farmerAddCmd) Run(ctx context.Context, e *env, db *database) error {
	if err := db.registry.AddFarmer(ctx, operator(), provisioning.Farmer{ID: c.Farmer, Name: c.Name}); err != nil {
		return err
	}
	_, err := fmt.Fprintf(e.stdout, "registered farmer %s\n", c.Farmer)
	return err
}

// strangers returns those of the farmers who are not registered, by id. What mentions one
// registers him: a mistyped id is found only by who is told.
func (d *database) strangers(ctx context.Context, farmers ...provisioning.FarmerID) (news []provisioning.FarmerID, err error) {
	slices.Sort(farmers)
	farmers = slices.DeleteFunc(slices.Compact(farmers), func(f provisioning.FarmerID) bool { return f == 0 })
	if len(farmers) == 1 {
		_, err := d.store.Farmer(ctx, farmers[0])
		if provisioning.ErrorCode(err) == provisioning.NotFound {
			return farmers, nil
		}
		return nil, err
	}
	known := make(map[provisioning.FarmerID]bool)
	if len(farmers) > 0 {
		registered, err := d.store.Farmers(ctx)
		if err != nil {
			return nil, err
		}
		for _, f := range registered {
			known[f.ID] = true
		}
	}
	return slices.DeleteFunc(farmers, func(f provisioning.FarmerID) bool { return known[f] }), nil
}

// printStrangers tells of farmers who were registered because they were mentioned, some of
// them by name if they are many.
func printStrangers(w io.Writer, farmers []provisioning.FarmerID, done bool) error {
	const some = 10
	if len(farmers) == 0 {
		return nil
	}
	var ids []string
	for _, f := range farmers[:min(len(farmers), some)] {
		ids = append(ids, f.String())
	}
	who, were, are := "farmer "+ids[0], "was not registered", ", and is now"
	if len(farmers) > 1 {
		who, were, are = "farmers "+strings.Join(ids, ", "), "were not registered", ", and are now"
	}
	if more := len(farmers) - some; more > 0 {
		who += fmt.Sprintf(" and %d more", more)
	}
	if !done {
		are = ""
	}
	_, err := fmt.Fprintf(w, "%s %s%s\n", who, were, are)
	return err
}

type farmerListCmd struct {
	JSON bool `help:"As JSON, as the API shows it."`
}

func (farmerListCmd) Help() string {
	return `Examples:

  farmboot farmer list
  farmboot farmer list --json`
}

func (c farmerListCmd) Run(ctx context.Context, e *env, db *database) error {
	farmers, err := db.registry.Farmers(ctx, operator())
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, farmers)
	}
	t := newTable(e.stdout, "FARMER\tNAME")
	for _, f := range farmers {
		t.row("%s\t%s", f.ID, dash(f.Name))
	}
	return t.flush()
}

type farmerRmCmd struct {
	Farmer provisioning.FarmerID `arg:"" help:"Farmer id, 1 to 4294967295."`
}

func (farmerRmCmd) Help() string {
	return `Example:

  farmboot farmer rm 1234`
}

func (c farmerRmCmd) Run(ctx context.Context, e *env, db *database) error {
	if err := db.registry.RemoveFarmer(ctx, operator(), c.Farmer); err != nil {
		return err
	}
	_, err := fmt.Fprintf(e.stdout, "removed farmer %s\n", c.Farmer)
	return err
}
