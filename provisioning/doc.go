// Package provisioning declares the domain: farmers, their nodes by MAC address, and
// the events of their boots.
//
// It holds the types, the pure decisions about them (what a MAC address gets:
// [Policy], [Assignment]), and the [Store] that keeps them. Of ours it imports only
// package lru, and it does no input or output but through a [Store]. Package rights says
// who may change what, package registry takes changes in, package recorder events, package
// story tells what they mean; packages sqlite and postgres are stores.
package provisioning
