package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"farmboot/provisioning"
)

// farmerCmd is "farmboot farmer".
type farmerCmd struct {
	Add  farmerAddCmd  `cmd:"" help:"Register a farmer."`
	Set  farmerSetCmd  `cmd:"" help:"Give a farmer another name."`
	List farmerListCmd `cmd:"" help:"List the farmers."`
	Rm   farmerRmCmd   `cmd:"" help:"Remove a farmer who has no nodes, and his tokens."`
}

type farmerAddCmd struct {
	Farmer provisioning.FarmerID `arg:"" help:"Farmer id, 1 to 4294967295."`
	Name   string                `help:"The farmer's name." placeholder:"N"`
}

func (farmerAddCmd) Help() string {
	return `A farmer whom a node mentions is registered by itself, without a name, which this gives him
then.

Example:

  farmboot farmer add 1234 --name "Green Valley"`
}

func (c farmerAddCmd) Run(ctx context.Context, e *env, db *database) error {
	f, isNew, err := db.registry.AddFarmer(ctx, operator(), provisioning.Farmer{ID: c.Farmer, Name: c.Name})
	if err != nil {
		if provisioning.ErrorCode(err) == provisioning.Conflict {
			err = fmt.Errorf("%w: farmboot farmer set changes his name", err)
		}
		return err
	}
	if isNew {
		_, err = fmt.Fprintf(e.stdout, "registered farmer %s\n", f.ID)
	} else {
		_, err = fmt.Fprintf(e.stdout, "farmer %s was registered already, without a name, and is %q now\n", f.ID, f.Name)
	}
	return err
}

type farmerSetCmd struct {
	Farmer provisioning.FarmerID `arg:"" help:"Farmer id, 1 to 4294967295."`
	Name   string                `required:"" help:"The farmer's name; empty: none." placeholder:"N" empty:""`
}

func (farmerSetCmd) Help() string {
	return `Example:

  farmboot farmer set 1234 --name "Green Valley"`
}

func (c farmerSetCmd) Run(ctx context.Context, e *env, db *database) error {
	f, err := db.registry.SetFarmer(ctx, operator(), provisioning.Farmer{ID: c.Farmer, Name: c.Name})
	if err != nil {
		if provisioning.ErrorCode(err) == provisioning.NotFound {
			err = fmt.Errorf("%w: farmboot farmer add registers one", err)
		}
		return err
	}
	what := fmt.Sprintf("is %q", f.Name)
	if f.Name == "" {
		what = "has no name"
	}
	_, err = fmt.Fprintf(e.stdout, "farmer %s %s\n", f.ID, what)
	return err
}

// printNewFarmers tells of the farmers who were registered because they were mentioned, some
// by id if they are many. Of a rehearsal, which is not done, it tells who would be.
func (d *database) printNewFarmers(w io.Writer, done bool) error {
	farmers := slices.Sorted(maps.Keys(d.newFarmers))
	var what string
	switch {
	case len(farmers) == 0:
		return nil
	case !done:
		what = "would be registered with them"
	case len(farmers) == 1:
		what = "was not registered, and is now"
	default:
		what = "were not registered, and are now"
	}
	_, err := fmt.Fprintf(w, "%s %s\n", someFarmers(farmers), what)
	return err
}

// someFarmers names farmers, some of them by id if they are many.
func someFarmers(farmers []provisioning.FarmerID) string {
	const some = 10
	var ids []string
	for _, f := range farmers[:min(len(farmers), some)] {
		ids = append(ids, f.String())
	}
	who := "farmer " + ids[0]
	if len(farmers) > 1 {
		who = "farmers " + strings.Join(ids, ", ")
	}
	if more := len(farmers) - some; more > 0 {
		who += fmt.Sprintf(" and %d more", more)
	}
	return who
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
