package pages

import (
	"cmp"
	"context"
	"net/http"
	"slices"

	"farmboot/http/answer"
	"farmboot/ipxe/kernel"
	"farmboot/provisioning"
	"farmboot/provisioning/cause"
	"farmboot/provisioning/rights"
)

// firstSteps are what a new appliance needs; true: it is still to be done.
type firstSteps struct {
	Kernel bool // no run mode has had one to boot
	Token  bool // there is none, and sign-in links work once
}

// firstSteps tells an admin what is still to be done.
func (a *Admin) firstSteps(r *http.Request, by provisioning.Actor, bare []kernel.Lack) (firstSteps, error) {
	if !rights.All(by) {
		return firstSteps{}, nil
	}
	modes := a.Site(answer.LocalOf(r)).RunModes
	tokens, err := a.Registry.Tokens(r.Context(), by)
	return firstSteps{Kernel: len(bare) == len(modes) && !slices.ContainsFunc(bare, kernel.Lack.Broken), Token: len(tokens) == 0}, err
}

// bare lists the run modes whose nodes have no kernel to fetch, here or, as far as is known
// without waiting for it, upstream.
func (a *Admin) bare(r *http.Request) []kernel.Lack {
	return slices.DeleteFunc(a.Kernels.Kernelless(a.Site(answer.LocalOf(r)).RunModes), func(l kernel.Lack) bool {
		rel := kernel.DefaultOf(l.RunMode)
		_, err := a.Kernels.Stat(rel) // what is here and cannot be booted is not asked for upstream
		return err != nil && a.Kernels.Known(rel) == nil
	})
}

// stranded is a run mode whose nodes have nothing to start.
type stranded struct {
	Title, Value, Why string
	Nodes             int  // that are registered for it and name no kernel of their own
	Strangers         bool // machines that are not registered boot it too
}

// Who has nothing to start.
func (s stranded) Who() string {
	nodes := digits(int64(s.Nodes)) + " nodes"
	if s.Nodes == 1 {
		nodes = "1 node"
	}
	switch {
	case s.Nodes > 0 && s.Strangers:
		return nodes + " and machines that are not registered have"
	case s.Strangers:
		return "machines that are not registered have"
	case s.Nodes == 0:
		return "a node of it would have"
	case s.Nodes == 1:
		return nodes + " has"
	}
	return nodes + " have"
}

// stranded lists those of the bare run modes that somebody boots, or that had a kernel.
func (a *Admin) stranded(r *http.Request, by provisioning.Actor, bare []kernel.Lack) (list []stranded, err error) {
	if len(bare) == 0 {
		return nil, nil
	}
	stranger, err := a.Assignment(r.Context(), provisioning.MAC{})
	if err != nil {
		return nil, err
	}
	modes := a.Site(answer.LocalOf(r)).RunModes
	for _, l := range bare {
		s := stranded{Title: modes[l.RunMode], Value: string(l.RunMode), Why: l.Why()}
		if s.Nodes, err = a.boots(r.Context(), by, l.RunMode); err != nil {
			return nil, err
		}
		s.Strangers = rights.All(by) && stranger.Policy == provisioning.Boot && stranger.Node.RunMode == l.RunMode
		if s.Nodes > 0 || s.Strangers || l.Broken() && rights.All(by) {
			list = append(list, s)
		}
	}
	return list, nil
}

// boots counts the nodes that boot the kernel of a run mode.
func (a *Admin) boots(ctx context.Context, by provisioning.Actor, m provisioning.RunMode) (int, error) {
	return a.Registry.CountNodes(ctx, by, provisioning.NodeQuery{RunMode: m, Kernel: new(string), Booting: true})
}

// unconfigured is a run mode that nodes have and the configuration does not.
type unconfigured struct {
	provisioning.Unconfigured
	Why string
}

// unconfigured lists the run modes of nodes that cannot boot for it.
func (a *Admin) unconfigured(ctx context.Context, by provisioning.Actor) ([]unconfigured, error) {
	found, err := a.Registry.Unconfigured(ctx, by)
	list := make([]unconfigured, len(found))
	for i, u := range found {
		why, _ := cause.Unconfigured(u)
		list[i] = unconfigured{u, why}
	}
	return list, err
}

// lacks tells, of each of those rows whose node boots next a kernel that it is registered
// with, what is wrong with that. It waits for no upstream.
func (a *Admin) lacks(rows []boardRow) {
	known := map[string]string{"": ""}
	for i := range rows {
		n := rows[i].Node
		if n.Once == provisioning.OnceExit || n.Once == "" && n.Exit {
			continue
		}
		next := cmp.Or(n.Once, n.Kernel)
		lack, ok := known[next]
		if !ok {
			if err := a.Kernels.Known(next); err != nil {
				lack = cause.Lack(err)
			}
			known[next] = lack
		}
		rows[i].Next, rows[i].Lack = next, lack
	}
}
