#!/bin/sh
# Installs the Debian or Ubuntu packages that a group of make targets needs, if
# they are not there yet. It does not call apt, and needs no root, if nothing is
# missing.
#
# Groups that build also need a Go that can build this module: one that is there,
# Debian's, which gets the release that go.mod names by itself, or, where Debian's is
# too old for that (before 1.21), that release in /usr/local/go. All of it comes through
# GOPROXY, and is verified as modules are.
#
#   setup/packages.sh build | run | demo | unit | test | bench | package | package-test
set -eu

die() { printf 'packages.sh: %s\n' "$*" >&2; exit 1; }

build='gcc libc6-dev make git ca-certificates' # SQLite is C
run="$build"
# A LAN in namespaces: another DHCP server and a machine in QEMU.
lan='dnsmasq-base qemu-system-x86 ovmf ipxe-qemu'
demo="$build iproute2 $lan"
# Other people's tools that judge what we make, and another database.
unit="$build iproute2 curl sbsigntool dnsmasq-base nftables genisoimage xorriso dosfstools fusefat gdisk mtools postgresql prometheus"
# The lab has more machines than the demo, and their media.
test="$unit $lan systemd-boot-efi python3-pefile python3-cryptography zbar-tools tcpdump cpio sqlite3 qemu-system-arm qemu-efi-aarch64 isolinux syslinux-common chromium"
# npm fetches axe-core. Whoever has it already has it from elsewhere than Debian, whose
# packages would clash with that.
command -v npm >/dev/null || test="$test npm"
bench="$build iproute2 dnsmasq-base nginx sqlite3 postgresql" # what we are measured beside

# The images are put together out of Debian's packages, and the appliance's disk is
# partitioned.
package="$build gcc-aarch64-linux-gnu libc6-dev-arm64-cross mmdebstrap debian-archive-keyring buildah zstd e2fsprogs dosfstools mtools fdisk syslinux syslinux-common"
# Fresh systems in containers, and the other processor.
package_test="$package $lan iproute2 cpio systemd-container util-linux binutils qemu-user-static podman"

case ${1:-} in
build) wanted=$build ;;
run) wanted=$run ;;
demo) wanted=$demo ;;
unit) wanted=$unit ;;
test) wanted=$test ;;
bench) wanted=$bench ;;
package) wanted=$package ;;
package-test) wanted=$package_test ;;
*) die 'name a group: build, run, demo, unit, test, bench, package or package-test' ;;
esac

# Where a Go that is not the distribution's is.
export PATH="/usr/local/go/bin:$PATH"
module=$(cd "$(dirname "$0")/.." && pwd)
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# Whether there is a Go that takes this module.
go_builds() { command -v go >/dev/null && (cd "$module" && go list -m) >"$log" 2>&1; }

missing=
for p in $wanted; do
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing="$missing $p"
done
command -v go >/dev/null || missing="$missing golang-go"
[ -n "$missing" ] || ! go_builds || exit 0
[ -z "$missing" ] || [ "$(id -u)" = 0 ] || die "missing packages; as root: apt-get install --no-install-recommends$missing"

export DEBIAN_FRONTEND=noninteractive

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

# The packages of nginx and Prometheus start servers, now and at each boot, unless they
# are told not to.
without_service() {
	policy=/usr/sbin/policy-rc.d
	[ ! -e $policy ] || return 0
	trap 'rm -f $policy "$log"; [ ! -e "${conf:-}.farmboot" ] || mv -f "$conf.farmboot" "$conf"' EXIT
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod +x $policy
}

install_all() {
	case "$missing " in
	*' postgresql '*) without_cluster || return ;;
	esac
	case "$missing " in
	*' nginx '* | *' prometheus '*) without_service ;;
	esac
	# shellcheck disable=SC2086 # words
	quietly install --no-install-recommends $missing || return
	case "$missing " in
	*' nginx '*) [ ! -d /run/systemd/system ] || systemctl -q disable nginx ;;
	esac
	case "$missing " in
	*' prometheus '*) [ ! -d /run/systemd/system ] || systemctl -q disable prometheus ;;
	esac
}

# Puts the Go that go.mod names in /usr/local/go, by a Go that is too old to do so when
# it needs one. Such a module has neither modes nor nested go.mod files.
newer_go() (
	version=$(sed -n 's/^go //p' "$module/go.mod")
	[ ! -e /usr/local/go ] || die "the Go in /usr/local/go cannot build this: go.mod asks for Go $version: $(cat "$log")"
	[ "$(id -u)" = 0 ] || die "no Go here can build this; as root: setup/packages.sh build"
	echo "Getting Go $version."
	modules=$(mktemp -d)
	trap 'chmod -R u+w "$modules"; rm -rf "$modules" /usr/local/.go' EXIT
	system=$(go env GOHOSTOS)-$(go env GOHOSTARCH)
	(cd "$modules" && GOMODCACHE=$modules/cache GOFLAGS=-mod=mod go mod download "golang.org/toolchain@v0.0.1-go$version.$system") >"$log" 2>&1 || {
		cat "$log" >&2
		die "could not get Go $version through GOPROXY ($(go env GOPROXY)); install Go $version or newer yourself"
	}
	cp -r "$modules/cache/golang.org/toolchain@v0.0.1-go$version.$system" /usr/local/.go
	chmod -R u+w,a+rX /usr/local/.go
	chmod -R a+x /usr/local/.go/bin /usr/local/.go/pkg/tool
	find /usr/local/.go -name _go.mod -execdir mv _go.mod go.mod ';'
	mv /usr/local/.go /usr/local/go
)

if [ -n "$missing" ]; then
	echo "Installing$missing."
	# The lists may be missing, or too old for the mirror.
	install_all || { quietly update && install_all; } || { cat "$log" >&2; die "could not install$missing"; }
fi
go_builds || newer_go || exit 1
hash -r # the shell remembers where Debian's Go is
go_builds || { cat "$log" >&2; die "$(go version) cannot build this module, for the reason above"; }
