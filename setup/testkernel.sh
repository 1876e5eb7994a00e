#!/bin/sh
# Gets the Linux kernels that the boot tests boot: Debian's cloud kernels, which
# print their command line on the console. They are unpacked, not installed.
#
#   setup/testkernel.sh [DIR [amd64 | arm64 | system]]
#
# leaves vmlinuz-amd64, vmlinuz-arm64 and system-amd64.efi, or one of them, in DIR
# (default /var/cache/farmboot-test) and does nothing if they are there. system-amd64.efi
# is an EFI program of the kernel and a small system, which asks for an address.
set -eu
umask 022
. "$(dirname "$0")/debian.sh"

# The arm64 kernel of this suite is a plain EFI program; later ones are compressed.
suite=bookworm
dir=${1:-/var/cache/farmboot-test}

get() { # ARCHITECTURE
	file=$dir/vmlinuz-$1
	[ ! -s "$file" ] || return 0
	say "Getting the test kernel for $1 from Debian $suite (unpacked, not installed)."
	(
		workplace
		debian_archive $suite "$1"
		package=$(real_package "linux-image-cloud-$1" '^linux-image-[0-9]')
		unpack "$package"
		cp "$work"/x/boot/vmlinuz-* "$file.$$"
		mv -f "$file.$$" "$file"
	)
}

# What a virtio network card needs, in the order in which it is loaded.
modules='virtio virtio_ring virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci failover net_failover virtio_net'

system() {
	file=$dir/system-amd64.efi
	[ ! -s "$file" ] || return 0
	say "Making a test kernel with a system in it from Debian $suite (unpacked, not installed)."
	for tool in cpio objcopy; do
		command -v $tool >/dev/null || die "this host has no $tool: setup/packages.sh test"
	done
	(
		workplace
		debian_archive $suite amd64
		for package in "$(real_package linux-image-cloud-amd64 '^linux-image-[0-9]')" busybox-static systemd-boot-efi; do
			unpack "$package"
		done
		mkdir -p "$work/root/bin"
		cp "$work/x/bin/busybox" "$work/root/bin"
		for m in $modules; do
			find "$work/x/lib/modules" -name "$m.ko" -exec cp {} "$work/root" \;
		done
		cat >"$work/root/init" <<-END
			#!/bin/busybox sh
			for m in $modules; do busybox insmod /\$m.ko; done
			busybox ip link set eth0 up
			exec busybox udhcpc -f -i eth0 -s /lease
		END
		cat >"$work/root/lease" <<-'END'
			#!/bin/busybox sh
			[ "$1" != bound ] || echo "the system has the address $ip"
		END
		chmod +x "$work/root/init" "$work/root/lease"
		(cd "$work/root" && find . | cpio -o -H newc -R 0:0 --quiet) >"$work/initrd"
		# Where the parts go in memory: behind the stub, which is small, and the kernel.
		objcopy --add-section .linux="$(echo "$work"/x/boot/vmlinuz-*)" --change-section-vma .linux=0x2000000 \
			--add-section .initrd="$work/initrd" --change-section-vma .initrd=0x4000000 \
			"$work/x/usr/lib/systemd/boot/efi/linuxx64.efi.stub" "$file.$$"
		mv -f "$file.$$" "$file"
	)
}

mkdir -p "$dir"
for what in ${2:-amd64 arm64 system}; do
	case $what in
	system) system ;;
	*) get "$what" ;;
	esac
done
say "The test kernels are in $dir."
