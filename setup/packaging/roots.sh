#!/bin/sh
# Makes fresh systems of Debian, to install packages in, from the archive that this host
# uses: what the installer calls standard utilities is not in them. As root.
#
#   setup/packaging/roots.sh [DIR]
#
# leaves root-bookworm.tar and root-trixie.tar (Debian 12 and 13) in DIR (default
# /var/cache/farmboot-test) and does nothing if they are there.
set -eu
umask 022
. "$(dirname "$0")/../debian.sh"

dir=${1:-/var/cache/farmboot-test}

get() ( # SUITE
	file=$dir/root-$1.tar
	[ ! -s "$file" ] || return 0
	workplace
	find_mirror
	keyring
	say "Getting a fresh Debian $1 from $mirror."
	mmdebstrap --mode=root --format=tar --keyring="$keys" --architectures=amd64 --variant=minbase \
		--aptopt='Acquire::Languages "none"' --include=systemd-sysv,dbus,ca-certificates,iproute2 \
		"$1" "$file.$$" "$mirror" >"$work/log" 2>&1 || { tail -n 40 "$work/log" >&2; rm -f "$file.$$"; die "mmdebstrap went wrong"; }
	mv -f "$file.$$" "$file"
)

mkdir -p "$dir"
for suite in bookworm trixie; do
	get $suite
done
say "The fresh systems are in $dir."
