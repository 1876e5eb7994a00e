#!/bin/sh
# Installs the Debian or Ubuntu packages that a group of make targets needs, if
# they are not there yet. It does not call apt, and needs no root, if nothing is
# missing.
#
#   setup/packages.sh build | run | test
set -eu

die() { printf 'packages.sh: %s\n' "$*" >&2; exit 1; }

build='gcc libc6-dev make git ca-certificates' # SQLite is C
run="$build"
# The lab: a LAN in namespaces, machines in QEMU, another DHCP server, media.
lab='iproute2 dnsmasq-base tcpdump qemu-system-x86 ovmf ipxe-qemu qemu-system-arm qemu-efi-aarch64 isolinux syslinux-common'
# Other people's tools that judge what we make.
oracles='genisoimage xorriso dosfstools gdisk mtools chromium'
test="$build $lab $oracles postgresql"

case ${1:-} in
build) wanted=$build ;;
run) wanted=$run ;;
test) wanted=$test ;;
*) die 'name a group: build, run or test' ;;
esac

missing=
for p in $wanted; do
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing="$missing $p"
done
[ -n "$missing" ] || exit 0
[ "$(id -u)" = 0 ] || die "missing packages; as root: apt-get install --no-install-recommends$missing"

export DEBIAN_FRONTEND=noninteractive
install() { apt-get install -qq -y --no-install-recommends -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 "$@" </dev/null; }
install_all() { # nothing of them may start a server on this host
	printf 'Installing%s.\n' "$*"
	case " $* " in
	*' postgresql '*) without_cluster ;;
	esac
	install "$@"
}

# PostgreSQL's package makes and starts a database cluster unless it is told not to.
without_cluster() {
	install postgresql-common
	conf=/etc/postgresql-common/createcluster.conf
	cp -p $conf $conf.farmboot
	trap 'mv -f $conf.farmboot $conf' EXIT
	printf '\ncreate_main_cluster = false\n' >>$conf
}

# shellcheck disable=SC2086 # words
install_all $missing 2>/dev/null || { apt-get -qq update </dev/null && install_all $missing; } || die "could not install$missing"
