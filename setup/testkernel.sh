#!/bin/sh
# Gets the Linux kernels that the boot tests boot: Debian's cloud kernels, which
# print their command line on the console. They are unpacked, not installed.
#
#   setup/testkernel.sh [DIR [ARCHITECTURE]]
#
# leaves vmlinuz-amd64 and vmlinuz-arm64, or one of them, in DIR (default
# /var/cache/farmboot-test) and does nothing if they are there.
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

mkdir -p "$dir"
for architecture in ${2:-amd64 arm64}; do
	get "$architecture"
done
say "The test kernels are in $dir."
