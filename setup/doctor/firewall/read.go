package firewall

import (
	"context"
	"errors"
	"os/exec"
	"strings"
)

// Read asks nft and iptables for this host's rules. The error says why they cannot be
// known; without either program there are none.
func Read(ctx context.Context) (Rules, error) {
	var all Rules
	foreign := true // iptables may have rules that nft does not show
	if text, err := output(ctx, "nft", "-j", "list", "ruleset"); err == nil {
		if all, foreign, err = ParseNFT(text); err != nil {
			return Rules{}, err
		}
	} else if !errors.Is(err, exec.ErrNotFound) {
		return Rules{}, err
	}
	programs := []string{"iptables-legacy-save"}
	if foreign {
		programs = append(programs, "iptables-save")
	}
	for _, program := range programs {
		text, err := output(ctx, program)
		if errors.Is(err, exec.ErrNotFound) {
			continue
		}
		if err != nil {
			return Rules{}, err
		}
		all = all.join(ParseIPTables(program, string(text)))
	}
	return all, nil
}

// output runs a program, and returns what it says, or why it failed.
func output(ctx context.Context, name string, args ...string) ([]byte, error) {
	out, err := exec.CommandContext(ctx, name, args...).Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return nil, errors.New(name + ": " + strings.TrimSpace(string(exit.Stderr)))
	}
	return out, err
}
