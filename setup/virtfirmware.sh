#!/bin/sh
# Gets virt-firmware, whose reading of EFI programs the tests compare with ours. It is
# pure Python, and unpacked, not installed: Debian 12 does not have the package.
#
#   setup/virtfirmware.sh [DIR]
#
# leaves the folder virt-firmware in DIR (default /var/cache/farmboot-test) and does
# nothing if it is there.
set -eu
umask 022
. "$(dirname "$0")/debian.sh"

suite=trixie
dir=${1:-/var/cache/farmboot-test}

if [ ! -e "$dir/virt-firmware" ]; then
	say "Getting virt-firmware from Debian $suite (unpacked, not installed)."
	mkdir -p "$dir"
	(
		workplace
		debian_archive $suite
		unpack python3-virt-firmware
		rm -rf "$dir/.virt-firmware.$$"
		cp -r "$work/x/usr/lib/python3/dist-packages" "$dir/.virt-firmware.$$"
		mv -T "$dir/.virt-firmware.$$" "$dir/virt-firmware"
	)
fi
say "virt-firmware is in $dir/virt-firmware."
