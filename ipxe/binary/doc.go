// Package binary keeps the template folder: iPXE's binaries as the distribution
// built them, verified, and puts a boot script and the root of our certificate
// authority inside.
//
// Nothing is compiled. Each format has a package of its own that knows where in
// such a file a command line fits: [farmboot/ipxe/binary/pe], bzimage and nbp;
// this package knows what iPXE makes of a command line (it runs it as a script),
// and which certificate it trusts.
//
// A [Template] reads each file once, when it is first asked for, and never changes. All
// its methods may be called concurrently, and what they return shares the bytes of the
// files.
package binary
