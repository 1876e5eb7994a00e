#!/bin/sh
# Makes what is installed, in dist/: programs, archives, packages, the container image
# and the appliance's image. What exists is made anew; nothing of it is part of the
# repository.
#
#   setup/packaging/package.sh [PART...]
#
#   tar        farmboot-VERSION-linux-ARCH.tar.gz, static, for any Linux
#   deb rpm    farmboot_VERSION_ARCH.deb and .rpm
#   oci        farmboot-VERSION.oci.tar, the container image (as root)
#   appliance  farmboot-appliance-VERSION-amd64.img.zst (as root)
#
# No PART: all. The environment may set VERSION, ARCHES (of tar, deb and rpm; "amd64
# arm64") and DIST (the folder).
#
# tar, deb and rpm have the same bytes whenever and wherever they are made from a
# commit with the same compilers: all times in them are the commit's.
set -eu
umask 022
cd "$(dirname "$0")/../.."
packaging=setup/packaging

. setup/debian.sh

version=${VERSION:-$($packaging/version.sh)}
arches=${ARCHES:-amd64 arm64}
dist=${DIST:-dist}
case $version in
[0-9]*) ;;
*) die "VERSION is \"$version\": a package's version begins with a digit" ;;
esac
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)}
export SOURCE_DATE_EPOCH

parts=${*:-tar deb rpm oci appliance}
for part in $parts; do
	case $part in tar | deb | rpm | oci | appliance) ;; *) die "unknown part $part; there are tar, deb, rpm, oci, appliance" ;; esac
done
wants() { case " $parts " in *" $1 "*) ;; *) return 1 ;; esac; }

workplace
mkdir -p "$dist"
dist=$(cd "$dist" && pwd)

# Builds the program for an architecture, static: it runs on any Linux, whatever its
# C library.
program() { # ARCH
	case $1 in
	"$(go env GOHOSTARCH)") cc=gcc ;;
	amd64) cc=x86_64-linux-gnu-gcc ;;
	arm64) cc=aarch64-linux-gnu-gcc ;;
	*) die "no compiler for the architecture $1; there are amd64 and arm64" ;;
	esac
	say "Building farmboot $version for $1."
	CGO_ENABLED=1 GOARCH=$1 CC=$cc go build -buildvcs=false -trimpath -tags 'netgo osusergo sqlite_omit_load_extension' \
		-ldflags "-s -w -X main.version=$version -linkmode external -extldflags -static" -o "$work/stage/$1/farmboot" ./cmd/farmboot
}

# Gathers what belongs to an architecture's packages in $work/stage/ARCH.
stage() { # ARCH
	at=$work/stage/$1
	[ ! -e "$at/done" ] || return 0
	mkdir -p "$at"
	program "$1"
	cp appliance.toml LICENSE README.md CHANGELOG.md setup/systemd/farmboot.service $packaging/60-farmboot.conf setup/template.sh setup/debian.sh "$at"
	for shell in bash zsh fish; do
		host completion $shell >"$at/completion.$shell"
	done
	host man | gzip -9n >"$at/farmboot.8.gz"
	find "$at" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
	: >"$at/done"
}

# The program of this host's own architecture.
host() { # ARGUMENT...
	own=$(go env GOHOSTARCH)
	[ -x "$work/stage/$own/farmboot" ] || program "$own"
	"$work/stage/$own/farmboot" "$@"
}

archive() { # ARCH
	name=farmboot-$version-linux-$1
	mkdir -p "$work/tar/$name"
	for file in farmboot appliance.toml farmboot.service 60-farmboot.conf template.sh debian.sh LICENSE README.md CHANGELOG.md; do
		cp -p "$work/stage/$1/$file" "$work/tar/$name/"
	done
	touch -d "@$SOURCE_DATE_EPOCH" "$work/tar/$name"
	tar -C "$work/tar" --sort=name --owner=0 --group=0 --numeric-owner --format=gnu -c "$name" | gzip -9n >"$work/$name.tar.gz"
	keep "$name.tar.gz"
}

# A deb or rpm.
package() { # KIND ARCH
	release=
	[ "$1" = deb ] || release=1
	STAGE=$work/stage/$2 ARCH=$2 VERSION=$version RELEASE=$release \
		go tool -modfile=setup/tools.mod nfpm package --config $packaging/nfpm.yaml --packager "$1" --target "$work/farmboot_${version}_$2.$1" >"$work/log" 2>&1 ||
		{ cat "$work/log" >&2; die "nfpm could not make the $1"; }
	keep "farmboot_${version}_$2.$1"
}

# Puts a finished file in place.
keep() { # NAME
	mv -f "$work/$1" "$dist/$1"
	say "$dist/$1"
}

for arch in $arches; do
	if wants tar || wants deb || wants rpm; then stage "$arch"; fi
	! wants tar || archive "$arch"
	! wants deb || package deb "$arch"
	! wants rpm || package rpm "$arch"
done
if wants oci || wants appliance; then
	. $packaging/images.sh
	[ -e "$dist/$deb" ] || { stage amd64 && package deb amd64; }
	! wants oci || container
	! wants appliance || appliance
fi

(
	cd "$dist"
	ls | grep -vx SHA256SUMS | xargs -r sha256sum -- >.SHA256SUMS
	mv -f .SHA256SUMS SHA256SUMS
)
say "$dist/SHA256SUMS"
