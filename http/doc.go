// Package http is the boot plane: it serves boot scripts, programs, kernels and images
// to machines.
//
// The boot plane is plain HTTP without authentication: a MAC address is easily guessed,
// so nothing on it is secret. The admin plane, TLS and a Unix socket, serves it too,
// beside the API (package api) and the web pages (package pages). Handlers return errors,
// which package answer turns into a status code and one line of plain text. No URL in any
// answer depends on the Host header.
package http
