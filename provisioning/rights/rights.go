// Package rights decides who may see and change what. It decides and does nothing else: the
// registry asks it, and so do the editor of kernels, the API and the pages. What is refused
// is an error with code Forbidden.
package rights

import (
	"time"

	"farmboot/provisioning"
)

// Audience says who may use a route, or see a page, at all.
type Audience int

// The audiences. What of the data a farmer sees and changes there the other functions decide.
const (
	Nobody  Audience = iota // of what somebody forgot to say
	Anybody                 // no credentials needed
	Farmers                 // farmers, and admins
	Admins
)

// Admits refuses those who are not of the audience.
func (a Audience) Admits(by provisioning.Actor) error {
	if a == Anybody || a != Nobody && All(by) || a == Farmers && by.Role == provisioning.RoleFarmer {
		return nil
	}
	return forbidden("only an admin may do this, and this token's role is %s", by.Role)
}

// All tells whether by may see and change everything: each node, machines of nobody's, and
// the appliance itself.
func All(by provisioning.Actor) bool { return by.Role == provisioning.RoleAdmin }

// Bound is the farmer whose nodes are all that by sees and registers; 0: by is no farmer.
func Bound(by provisioning.Actor) provisioning.FarmerID {
	if by.Role != provisioning.RoleFarmer {
		return 0
	}
	return by.Farmer
}

// Admin refuses everybody else. What is it that is asked for: "list tokens".
func Admin(by provisioning.Actor, what string) error {
	if All(by) {
		return nil
	}
	return forbidden("only an admin may %s", what)
}

// Page refuses a page that is for admins to everybody else.
func Page(by provisioning.Actor) error {
	if All(by) {
		return nil
	}
	return forbidden("this page is for admins")
}

// Change refuses actors that may only read.
func Change(by provisioning.Actor) error {
	if by.ReadOnly {
		return forbidden("%s is read-only: it changes nothing", by.Name)
	}
	return nil
}

// Owns tells whether by may see and change what belongs to that farmer; 0: to none.
func Owns(by provisioning.Actor, f provisioning.FarmerID) bool {
	return All(by) || f != 0 && Bound(by) == f
}

// Node refuses a registered node to those whose it is not.
func Node(by provisioning.Actor, n provisioning.Node) error {
	if !Owns(by, n.Farmer) {
		return forbidden("node %s is not yours", n.MAC)
	}
	return nil
}

// Register refuses to store a node for somebody else.
func Register(by provisioning.Actor, n provisioning.Node) error {
	if !Owns(by, n.Farmer) {
		return forbidden("node %s: you may register nodes for farmer %s only", n.MAC, by.Farmer)
	}
	return nil
}

// Unclaimed refuses a machine that was seen booting here, and is not registered, to a farmer
// who has not shown that he knows the code on its screen: it may be anybody's, and its MAC
// address is no secret.
func Unclaimed(by provisioning.Actor, mac provisioning.MAC) error {
	if All(by) {
		return nil
	}
	return forbidden("machine %s has booted here and is nobody's yet: claim it with the code on its screen, or ask an admin", mac)
}

// Nodes narrows a query down to the nodes that by may see.
func Nodes(by provisioning.Actor, q provisioning.NodeQuery) (provisioning.NodeQuery, error) {
	switch {
	case All(by):
		return q, nil
	case q.Farmer != 0 && !Owns(by, q.Farmer):
		return q, forbidden("the nodes of farmer %s are not yours", q.Farmer)
	case by.Farmer == 0:
		return q, Admin(by, "list all nodes")
	}
	q.Farmer = by.Farmer
	return q, nil
}

// Events narrows a query down to the events that by may be told of. n is the node that it
// names, which is by's to see; it is not looked at where the query names none.
func Events(by provisioning.Actor, q provisioning.EventQuery, n provisioning.Node) (provisioning.EventQuery, error) {
	switch since := Since(by, n); {
	case !q.MAC.IsZero() && since.After(q.Since):
		q.Since = since
	case q.MAC.IsZero() && Bound(by) != 0:
		q.Farmer = by.Farmer
	case q.MAC.IsZero():
		return q, Follow(by)
	}
	return q, nil
}

// Follow refuses to tell everybody else of what all nodes do.
func Follow(by provisioning.Actor) error {
	if All(by) {
		return nil
	}
	return forbidden("only an admin may follow all nodes: name one of yours by its MAC address")
}

// Since is from when on by may be told what n did, and what became of it: an admin from
// the beginning, which is the zero time, its farmer since it is his.
func Since(by provisioning.Actor, n provisioning.Node) time.Time {
	if All(by) {
		return time.Time{}
	}
	return n.Owned
}

func forbidden(format string, args ...any) error {
	return provisioning.Errorf(provisioning.Forbidden, format, args...)
}
