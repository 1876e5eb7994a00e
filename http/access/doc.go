// Package access decides who may use the admin plane: it tells the API and the
// pages who asks, slows down whoever tries credentials, and refuses what pages of
// other sites send.
//
// Credentials are a token, a session that began with one, with a sign-in link or with an
// OpenID provider, or a connection to the Unix socket. What somebody may do is no concern
// of this package.
package access
