// Package upstream takes kernels from another appliance, from a service of the kind that
// Farmboot replaces, or from a plain web server that serves the same paths:
// /kernel/net/R.efi, the kernel of run mode R, and /kernel/NAME.
//
// A kernel is stored beside its place, checked and renamed: it must be as long as its own
// header and the server say, have the SHA-256 that the server offers at the same URL plus
// .sha256, and, where a key is to be trusted, the signature at the same URL plus .minisig.
// Whatever fails leaves what was there.
package upstream
