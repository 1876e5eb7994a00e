package provisioning

import (
	"context"
	"iter"
)

// ListNodes lists nodes, as [Reader]'s Nodes does.
type ListNodes func(ctx context.Context, q NodeQuery) ([]Node, error)

// nodePage is how many nodes are read at a time.
const nodePage = 1000

// Pages goes through the nodes that q selects, by the page: there may be a million. It ends
// after the first error. What changes meanwhile may be seen or not.
func (list ListNodes) Pages(ctx context.Context, q NodeQuery) iter.Seq2[[]Node, error] {
	return func(yield func([]Node, error) bool) {
		left := q.Limit
		for {
			q.Limit = nodePage
			if left > 0 {
				q.Limit = min(left, nodePage)
			}
			page, err := list(ctx, q)
			if !yield(page, err) || err != nil {
				return
			}
			if left -= len(page); len(page) < q.Limit || left == 0 {
				return
			}
			q.After, q.Skip = page[len(page)-1].MAC, 0
		}
	}
}

// All is Pages, node by node.
func (list ListNodes) All(ctx context.Context, q NodeQuery) iter.Seq2[Node, error] {
	return func(yield func(Node, error) bool) {
		for page, err := range list.Pages(ctx, q) {
			if err != nil {
				yield(Node{}, err)
				return
			}
			for _, n := range page {
				if !yield(n, nil) {
					return
				}
			}
		}
	}
}

// MACsOf are the addresses of nodes.
func MACsOf(nodes []Node) []MAC {
	macs := make([]MAC, len(nodes))
	for i, n := range nodes {
		macs[i] = n.MAC
	}
	return macs
}

// Unconfigured is a run mode that nodes are registered with, and the configuration does not
// have: those nodes cannot boot.
type Unconfigured struct {
	RunMode RunMode `json:"runmode"`
	Nodes   int     `json:"nodes"` // but for those that boot from their disk; above [MostUnconfigured]: more than that
}

// MostUnconfigured is how many nodes of a run mode that is not in the configuration are counted: board
// and status ask at each look, and to count 100,000 takes 75 ms.
const MostUnconfigured = 10_000
