// Package authn finds out who uses the admin plane (authentication): it tells the API and
// the pages who asks, limits how many bad credentials an address may send, and refuses what
// pages of other sites send.
//
// Credentials are a token, a session that began with one, with a sign-in link or with an
// OpenID provider, or a connection to the Unix socket. What each may do is decided by
// package rights.
package authn
