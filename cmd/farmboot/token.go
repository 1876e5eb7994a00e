package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"farmboot/provisioning"
	"farmboot/provisioning/registry"
)

// tokenCmd is "farmboot token".
type tokenCmd struct {
	Add  tokenAddCmd  `cmd:"" help:"Make a token for the API and the board, and print its secret, once."`
	List tokenListCmd `cmd:"" help:"List the tokens."`
	Rm   tokenRmCmd   `cmd:"" help:"Revoke a token."`
}

type tokenAddCmd struct {
	Role     provisioning.Role     `required:"" help:"admin: may do everything; farmer: sees and edits the nodes of one farmer." enum:"admin,farmer" placeholder:"admin|farmer"`
	Farmer   provisioning.FarmerID `help:"Whose nodes, with --role farmer." placeholder:"F"`
	Name     string                `help:"What it is for; the history shows it." placeholder:"N"`
	Expires  string                `help:"How long it is good for (90d, 12h, 2w), or until which day (2027-01-31); by default for ever." placeholder:"90d"`
	ReadOnly bool                  `help:"It may look at everything that its role may, and change nothing."`
	JSON     bool                  `help:"As JSON, as the API shows it."`
}

func (tokenAddCmd) Help() string {
	return `The secret is the password of the API (Authorization: Bearer SECRET), and signs in to
the board at https://APPLIANCE/admin.

Examples:

  farmboot token add --role admin
  farmboot token add --role farmer --farmer 1234 --name "Green Valley" --expires 90d
  farmboot token add --role admin --read-only --name monitoring`
}

func (c tokenAddCmd) Run(ctx context.Context, e *env) error {
	expires, err := parseExpiry(c.Expires, e.now())
	if err != nil {
		return err
	}
	if c.Role == provisioning.RoleFarmer && c.Farmer == 0 {
		return usageError{"token add: --role farmer needs --farmer F"}
	}
	db, err := e.open(ctx)
	if err != nil {
		return err
	}
	t, secret, err := db.registry.AddToken(ctx, operator(), provisioning.Token{
		Role: c.Role, Farmer: c.Farmer, Name: c.Name, Expires: expires, ReadOnly: c.ReadOnly,
	})
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, struct {
			provisioning.Token
			Secret string `json:"secret"`
		}{t, secret})
	}
	// The secret alone on stdout: TOKEN=$(farmboot token add --role admin).
	if _, err := fmt.Fprintln(e.stdout, secret); err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.stderr, "token %s; its secret is shown only now, keep it safe\n", t.ID)
	return errors.Join(err, db.printNewFarmers(e.stderr, true))
}

// parseExpiry reads when a token ends: a day, or a time from now on in hours, days or
// weeks; the zero time is never.
func parseExpiry(s string, now time.Time) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if day, err := time.ParseInLocation(time.DateOnly, s, time.Local); err == nil {
		return day.AddDate(0, 0, 1), nil // to its end
	}
	units := map[byte]time.Duration{'h': time.Hour, 'd': 24 * time.Hour, 'w': 7 * 24 * time.Hour}
	n, err := strconv.ParseUint(s[:len(s)-1], 10, 64)
	unit, ok := units[s[len(s)-1]]
	switch {
	case ok && err == nil && n == 0:
		return time.Time{}, usageError{fmt.Sprintf("token add: with --expires %s it would be expired at once: accepted is 1 or more of hours, days or weeks (12h, 90d, 2w); without --expires it does not expire", s)}
	case ok && (errors.Is(err, strconv.ErrRange) || err == nil && n > uint64(registry.LongestToken/unit)):
		return time.Time{}, usageError{fmt.Sprintf("token add: bad --expires %q: accepted are at most a hundred years; without --expires it does not expire", provisioning.Clip(s, 40))}
	case !ok || err != nil:
		return time.Time{}, usageError{fmt.Sprintf("token add: bad --expires %q: accepted are hours, days or weeks (12h, 90d, 2w), or a day (2027-01-31)", provisioning.Clip(s, 40))}
	}
	return now.Add(time.Duration(n) * unit), nil
}

type tokenListCmd struct {
	JSON bool `help:"As JSON, as the API shows it."`
}

func (tokenListCmd) Help() string {
	return `Examples:

  farmboot token list
  farmboot token list --json`
}

func (c tokenListCmd) Run(ctx context.Context, e *env, db *database) error {
	tokens, err := db.registry.Tokens(ctx, operator())
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(e.stdout, tokens)
	}
	t := newTable(e.stdout, "ID\tROLE\tFARMER\tCREATED\tLAST USED\tEXPIRES\tNAME")
	for _, tok := range tokens {
		role := string(tok.Role)
		if tok.ReadOnly {
			role += ", read-only"
		}
		expires := localTime(tok.Expires)
		if tok.Expired(e.now()) {
			expires += " (expired)"
		}
		t.row("%s\t%s\t%s\t%s\t%s\t%s\t%s", tok.ID, role, dash(tok.Farmer.String()), localTime(tok.Created), localTime(tok.LastUsed), expires, dash(tok.Name))
	}
	return t.flush()
}

type tokenRmCmd struct {
	ID string `arg:"" help:"The token's id, see token list." type:"given"`
}

func (tokenRmCmd) Help() string {
	return `A revoked token is refused from its next request on.

Example:

  farmboot token rm NN5XXH3U6R`
}

func (c tokenRmCmd) Run(ctx context.Context, e *env, db *database) error {
	err := db.registry.RemoveToken(ctx, operator(), c.ID)
	if provisioning.ErrorCode(err) == provisioning.NotFound {
		return fmt.Errorf("%w: farmboot token list shows those that there are", err)
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.stdout, "revoked token %s\n", c.ID)
	return err
}
