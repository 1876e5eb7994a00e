// Package registry takes the changes that people make, from the command line, the
// pages and the API alike.
//
// It asks package rights who may, knows what may be stored, and writes the history.
// Tokens, sign-in sessions, claims and imports are here too. A [provisioning.Store] keeps
// all of it; sessions that a store cannot take are kept in memory meanwhile.
package registry
