// Package http serves boot scripts, kernels and images to machines, and the API
// and web pages to people.
//
// There are two planes. The boot plane is plain HTTP without authentication: a
// MAC address is easily guessed, so nothing on it is secret. The admin plane is
// TLS and a Unix socket; it has the API and the board, and serves the boot plane
// too. Handlers return errors; one adapter turns them into a status code and one
// plain line (boot plane) or JSON (API). No URL in any answer depends on the Host
// header.
package http
