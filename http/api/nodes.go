package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"

	"farmboot/ipxe"
	"farmboot/provisioning"
)

// nodeBody is what clients send of a node.
type nodeBody struct {
	MAC provisioning.MAC `json:"mac"`
	provisioning.NodePatch
}

// listNodes answers GET /api/v1/nodes: one page if a limit is given, else all that
// match.
func (a *API) listNodes(w http.ResponseWriter, r *http.Request, by provisioning.Actor) error {
	nq, err := a.nodeQuery(r.Context(), by, r.URL.Query())
	if err != nil {
		return err
	}
	machines, err := flag(r.URL.Query(), "machine")
	if err != nil {
		return err
	}
	if nq.Limit == 0 {
		return a.streamNodes(w, r, by, nq, machines)
	}
	nodes, err := a.Registry.Nodes(r.Context(), by, nq)
	if err != nil {
		return err
	}
	if len(nodes) == nq.Limit {
		nextPage(w, r, nodes[nq.Limit-1].MAC)
	}
	if machines {
		inventory, err := a.Registry.WithMachines(r.Context(), by, nodes)
		if err != nil {
			return err
		}
		return writeJSON(w, http.StatusOK, list(inventory))
	}
	return writeJSON(w, http.StatusOK, list(nodes))
}

// nodeQuery reads the filters of a list of nodes.
func (a *API) nodeQuery(ctx context.Context, by provisioning.Actor, q url.Values) (nq provisioning.NodeQuery, err error) {
	nq.Text, nq.RunMode = q.Get("text"), provisioning.RunMode(q.Get("runmode"))
	if nq.RunMode != "" {
		if err := a.Registry.CheckFilter(ctx, by, nq.RunMode); err != nil {
			return nq, err
		}
	}
	if nq.Farmer, err = farmerOf(q); err != nil {
		return nq, err
	}
	if nq.After, err = macOf(q, "after"); err != nil {
		return nq, err
	}
	if q.Get("mac") != "" {
		if nq.MACs, err = provisioning.ParseMACPrefix(q.Get("mac")); err != nil {
			return nq, err
		}
	}
	nq.Limit, err = limit(q, 0)
	return nq, err
}

// nextPage says where the list goes on (RFC 8288).
func nextPage(w http.ResponseWriter, r *http.Request, last provisioning.MAC) {
	q := r.URL.Query()
	q.Set("after", last.String())
	w.Header().Set("Link", fmt.Sprintf("<%s?%s>; rel=\"next\"", r.URL.EscapedPath(), q.Encode()))
	w.Header().Set("X-Next-After", last.String())
}

// streamNodes answers with all nodes that match, without ever holding them all. An
// error in the middle breaks the connection off, for the answer is not whole then.
func (a *API) streamNodes(w http.ResponseWriter, r *http.Request, by provisioning.Actor, nq provisioning.NodeQuery, machines bool) error {
	all := array{w: w}
	add := func(nodes []provisioning.Node) error {
		if !machines {
			return addAll(&all, nodes)
		}
		inventory, err := a.Registry.WithMachines(r.Context(), by, nodes)
		if err != nil {
			return err
		}
		return addAll(&all, inventory)
	}
	for nodes, err := range a.Registry.NodePages(r.Context(), by, nq) {
		if err == nil {
			err = add(nodes)
		}
		switch {
		case err != nil && !all.begun:
			return err
		case err != nil:
			a.Log.Warn("list of nodes broke off", "peer", r.RemoteAddr, "err", err)
			panic(http.ErrAbortHandler)
		}
	}
	return all.end()
}

func nodePath(mac provisioning.MAC) string { return "/api/v1/nodes/" + mac.String() }

// addNode answers POST /api/v1/nodes.
func (a *API) addNode(w http.ResponseWriter, r *http.Request, by provisioning.Actor) error {
	var body nodeBody
	if err := decodeBody(w, r, &body); err != nil {
		return err
	}
	n, err := a.Registry.AddNode(r.Context(), by, body.Apply(provisioning.Node{MAC: body.MAC}))
	if err != nil {
		return err
	}
	return created(w, nodePath(n.MAC), n)
}

// getNode answers GET /api/v1/nodes/{mac}.
func (a *API) getNode(w http.ResponseWriter, r *http.Request, by provisioning.Actor, mac provisioning.MAC) error {
	n, err := a.Registry.Node(r.Context(), by, mac)
	if err != nil {
		return err
	}
	p, err := a.Registry.Unusual(r.Context(), by, mac)
	return reply(w, foundNode{n, p}, err)
}

// foundNode is a node, and what is known of how it boots.
type foundNode struct {
	provisioning.Node
	NBPAuto *provisioning.Proven `json:"nbp_auto,omitempty"`
}

// setNode answers PUT /api/v1/nodes/{mac}: fields that the body does not have stay
// as they are. It registers no node, so that a mistyped address is a mistake.
func (a *API) setNode(w http.ResponseWriter, r *http.Request, by provisioning.Actor, mac provisioning.MAC) error {
	var body struct {
		MAC *provisioning.MAC `json:"mac"`
		provisioning.NodePatch
	}
	if err := decodeBody(w, r, &body); err != nil {
		return err
	}
	if err := same("node", "a node's MAC address", mac, body.MAC); err != nil {
		return err
	}
	n, err := a.Registry.SetNode(r.Context(), by, mac, body.NodePatch)
	return reply(w, n, err)
}

// claimNode answers POST /api/v1/nodes/{mac}/claim, where {mac} may also be the
// claim code on the node's screen. The body, which may be empty, is what the node
// is to be.
func (a *API) claimNode(w http.ResponseWriter, r *http.Request, by provisioning.Actor, who string) error {
	var patch provisioning.NodePatch
	if err := decodeAnyBody(w, r, &patch); err != nil {
		return err
	}
	n, err := a.Registry.Claim(r.Context(), by, who, patch)
	if err != nil {
		return err
	}
	return created(w, nodePath(n.MAC), n)
}

// nodeStory answers GET /api/v1/nodes/{mac}/story: how its last boot went.
func (a *API) nodeStory(w http.ResponseWriter, r *http.Request, by provisioning.Actor, mac provisioning.MAC) error {
	story, err := a.Registry.Story(r.Context(), by, mac)
	return reply(w, story, err)
}

// nodeHistory answers GET /api/v1/nodes/{mac}/history: who changed it, newest first.
func (a *API) nodeHistory(w http.ResponseWriter, r *http.Request, by provisioning.Actor, mac provisioning.MAC) error {
	most, err := limit(r.URL.Query(), page)
	if err != nil {
		return err
	}
	changes, err := a.Registry.NodeHistory(r.Context(), by, mac, most)
	return reply(w, list(changes), err)
}

// history answers GET /api/v1/history: who changed what, newest first.
func (a *API) history(w http.ResponseWriter, r *http.Request, by provisioning.Actor) error {
	most, err := limit(r.URL.Query(), page)
	if err != nil {
		return err
	}
	changes, err := a.Registry.History(r.Context(), by, provisioning.ChangeQuery{Subject: r.URL.Query().Get("subject"), Limit: most})
	return reply(w, list(changes), err)
}

// changeID reads the number of a change.
func changeID(text string) (int64, error) {
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id < 1 {
		return 0, provisioning.Errorf(provisioning.Invalid, "bad number %.40q of a change: accepted is a whole number, as /api/v1/history shows it", text)
	}
	return id, nil
}

// undo answers POST /api/v1/history/{id}/undo: takes a change back.
func (a *API) undo(w http.ResponseWriter, r *http.Request, by provisioning.Actor, id int64) error {
	undone, err := a.Registry.Undo(r.Context(), by, id)
	return reply(w, struct {
		Undone     int                     `json:"undone"`
		Unenrolled []provisioning.MAC      `json:"unenrolled,omitempty"`
		Once       []provisioning.MAC      `json:"once,omitempty"`
		Farmers    []provisioning.FarmerID `json:"farmers,omitempty"`
	}{len(undone.Changes), undone.Unenrolled, provisioning.MACsOf(undone.Once), undone.Farmers}, err)
}

// nodeMachine answers GET /api/v1/nodes/{mac}/machine: what is known of the machine.
func (a *API) nodeMachine(w http.ResponseWriter, r *http.Request, by provisioning.Actor, mac provisioning.MAC) error {
	d, err := a.Registry.Seen(r.Context(), by, mac)
	return reply(w, d, err)
}

// discovered answers GET /api/v1/discovered: MAC addresses that booted here and are
// not registered, last seen first.
func (a *API) discovered(w http.ResponseWriter, r *http.Request, by provisioning.Actor) error {
	most, err := limit(r.URL.Query(), maxLimit)
	if err != nil {
		return err
	}
	seen, err := a.Registry.Discovered(r.Context(), by, most)
	return reply(w, list(seen), err)
}

// check answers GET /api/v1/check: how Zero-OS will read a kernel line.
func (a *API) check(w http.ResponseWriter, r *http.Request, _ provisioning.Actor) error {
	q := r.URL.Query()
	n := provisioning.Node{RunMode: provisioning.RunMode(q.Get("runmode")), Args: q.Get("args"), Kernel: q.Get("kernel")}
	var err error
	if n.Farmer, err = farmerOf(q); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, a.Composer().CheckWith(ipxe.NodeTarget(n), a.Kernels.WithUpstream()))
}
