// Package ca is the appliance's certificate authority: it gives the HTTPS server
// its certificate, from a root of its own or from an operator's files, and says
// which root boot images are to trust.
//
// What iPXE accepts decides the form (measured, with iPXE 1.21.1): RSA throughout,
// for ECDSA and Ed25519 are refused; TLS 1.2 with ECDHE-RSA and AES-GCM, which
// crypto/tls offers by default; the root sent in the chain, or the first contact
// fails; addresses as IP subject alternative names.
package ca
