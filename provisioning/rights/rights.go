// Package rights decides who may see and change what. It decides and does nothing else: the
// registry asks it, and so do the editor of kernels, the API and the pages. What is refused
// is an error with code Forbidden.
package rights

import (
	"time"

	"farmboot/provisioning"
)

// Admin refuses everybody else. What is it that is asked for: "list tokens".
func Admin(by provisioning.Actor, what string) error {
	if by.Role == provisioning.RoleAdmin {
		return nil
	}
	return forbidden("only an admin may %s", what)
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
	return by.Role == provisioning.RoleAdmin || by.Role == provisioning.RoleFarmer && by.Farmer != 0 && by.Farmer == f
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
	if by.Role == provisioning.RoleAdmin {
		return nil
	}
	return forbidden("machine %s has booted here and is nobody's yet: claim it with the code on its screen, or ask an admin", mac)
}

// Nodes narrows a query down to the nodes that by may see.
func Nodes(by provisioning.Actor, q provisioning.NodeQuery) (provisioning.NodeQuery, error) {
	switch {
	case by.Role == provisioning.RoleAdmin:
		return q, nil
	case q.Farmer != 0 && !Owns(by, q.Farmer):
		return q, forbidden("the nodes of farmer %s are not yours", q.Farmer)
	case by.Farmer == 0:
		return q, Admin(by, "list all nodes")
	}
	q.Farmer = by.Farmer
	return q, nil
}

// Follow refuses to tell everybody else of what all nodes do.
func Follow(by provisioning.Actor) error {
	if by.Role == provisioning.RoleAdmin {
		return nil
	}
	return forbidden("only an admin may follow all nodes: name one of yours by its MAC address")
}

// Since is from when on by may be told what n did, and what became of it: an admin from
// the beginning, which is the zero time, its farmer since it is his.
func Since(by provisioning.Actor, n provisioning.Node) time.Time {
	if by.Role == provisioning.RoleAdmin {
		return time.Time{}
	}
	return n.Owned
}

func forbidden(format string, args ...any) error {
	return provisioning.Errorf(provisioning.Forbidden, format, args...)
}
