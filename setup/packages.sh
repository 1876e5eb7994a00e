#!/bin/sh
# Installs the Debian or Ubuntu packages that a group of make targets needs, if
# they are not there yet. It does not call apt, and needs no root, if nothing is
# missing.
#
#   setup/packages.sh build | run | demo | unit | test | bench
set -eu

die() { printf 'packages.sh: %s\n' "$*" >&2; exit 1; }

build='gcc libc6-dev make git ca-certificates' # SQLite is C
run="$build"
# A LAN in namespaces: another DHCP server and a machine in QEMU.
lan='dnsmasq-base qemu-system-x86 ovmf ipxe-qemu'
demo="$build iproute2 $lan"
# Other people's tools that judge what we make, and another database.
unit="$build iproute2 curl dnsmasq-base nftables genisoimage xorriso dosfstools gdisk mtools postgresql"
# The lab has more machines than the demo, and their media.
test="$unit $lan tcpdump qemu-system-arm qemu-efi-aarch64 isolinux syslinux-common chromium"
# npm fetches axe-core. Whoever has it already has it from elsewhere than Debian, whose
# packages would clash with that.
command -v npm >/dev/null || test="$test npm"
bench="$build iproute2 dnsmasq-base nginx sqlite3" # what we are measured beside

case ${1:-} in
build) wanted=$build ;;
run) wanted=$run ;;
demo) wanted=$demo ;;
unit) wanted=$unit ;;
test) wanted=$test ;;
bench) wanted=$bench ;;
*) die 'name a group: build, run, demo, unit, test or bench' ;;
esac

missing=
for p in $wanted; do
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing="$missing $p"
done
[ -n "$missing" ] || exit 0
[ "$(id -u)" = 0 ] || die "missing packages; as root: apt-get install --no-install-recommends$missing"

export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# apt-get, without a question and without a word unless it fails.
quietly() {
	apt-get -qq -y -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 "$@" </dev/null >"$log" 2>&1
}

# PostgreSQL's package makes and starts a database cluster unless it is told not to.
without_cluster() {
	quietly install --no-install-recommends postgresql-common || return
	conf=/etc/postgresql-common/createcluster.conf
	cp -p $conf $conf.farmboot
	trap 'mv -f $conf.farmboot $conf; rm -f "$log"' EXIT
	printf '\ncreate_main_cluster = false\n' >>$conf
}

# nginx's package starts a server on port 80, now and at each boot, unless it is
# told not to.
without_service() {
	policy=/usr/sbin/policy-rc.d
	[ ! -e $policy ] || return 0
	trap 'rm -f $policy "$log"' EXIT
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod +x $policy
}

install_all() {
	case "$missing " in
	*' postgresql '*) without_cluster || return ;;
	*' nginx '*) without_service ;;
	esac
	# shellcheck disable=SC2086 # words
	quietly install --no-install-recommends $missing || return
	case "$missing " in
	*' nginx '*) [ ! -d /run/systemd/system ] || systemctl -q disable nginx ;;
	esac
}

echo "Installing$missing."
# The lists may be missing, or too old for the mirror.
install_all || { quietly update && install_all; } || { cat "$log" >&2; die "could not install$missing"; }
