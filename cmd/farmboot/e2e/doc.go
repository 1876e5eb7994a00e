// Package e2e boots machines with real firmware, in QEMU on a virtual LAN,
// through the built program bin/farmboot, and believes only what the kernel
// says on its serial console. It is made of tests alone, under the build tag
// e2e; they need root and what setup/packages.sh installs.
//
// Environment: FARMBOOT_BIN is the program to test (default: bin/farmboot of
// this tree), FARMBOOT_TEMPLATE the folder with iPXE's binaries,
// FARMBOOT_TEST_KERNELS the folder with vmlinuz-amd64 and vmlinuz-arm64.
package e2e
