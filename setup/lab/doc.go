// Package lab makes a virtual LAN on one machine: namespaces, an ordinary DHCP
// server and machines in QEMU that boot from it; for tests and the demo.
//
// A [LAN] is a switch (a bridge in a network namespace of its own) and a
// dnsmasq that hands out addresses and knows nothing of network booting. Each
// [Host] on it is a further namespace, in which programs run; each [VM] is a
// machine with real firmware, whose serial [Console] can be waited on and typed
// to.
//
// The host's own network is never touched. Nothing needs sweeping afterwards:
// a namespace lives in a thread of this process and every program dies with the
// thread that started it, so even after kill -9 all of it is gone. It needs
// root, and the programs that [Tool] names.
package lab
