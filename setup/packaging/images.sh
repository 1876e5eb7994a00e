# The container image, from Debian packages. To be sourced by package.sh, as root.
# shellcheck shell=sh

suite=trixie # has an iPXE that is recent enough

# Makes a root of Debian, a folder or an archive; further arguments are mmdebstrap's.
debian_root() { # TARGET ARGUMENT...
	[ "$(id -u)" = 0 ] || die 'oci is made of a root folder of Debian: run it as root'
	target=$1
	shift
	workplace_keys
	say "Getting packages of Debian $suite from $mirror."
	mmdebstrap --mode=root --keyring="$keys" --architectures=amd64 \
		--aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Languages "none"' \
		--dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
		--dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
		"$@" "$suite" "$target" "$mirror" >"$work/log" 2>&1 || { tail -n 40 "$work/log" >&2; die 'mmdebstrap went wrong'; }
}

workplace_keys() {
	[ -z "${keys:-}" ] || return 0
	find_mirror
	keyring
}

# The deb that the image installs.
deb=farmboot_${version}_amd64.deb

# --- the container ---

container() {
	# Name and name servers of this machine do not go with it.
	# shellcheck disable=SC2016 # mmdebstrap's shell expands it
	debian_root "$work/base.tar" --variant=apt --customize-hook='rm -f "$1/etc/hostname" "$1/etc/resolv.conf"'
	mkdir "$work/containers" "$work/context"
	cp "$dist/$deb" "$work/context/"
	say 'Building the container image.'
	{
		base=$(build from scratch) &&
		build add -q "$base" "$work/base.tar" / &&
		build commit -q --rm "$base" farmboot-base &&
		build build --isolation chroot --network host --pull-never --timestamp "$SOURCE_DATE_EPOCH" --format oci \
			--build-arg BASE=localhost/farmboot-base --build-arg VERSION="$version" --label "org.opencontainers.image.version=$version" \
			--tag farmboot -f $packaging/Containerfile "$work/context" &&
		build push -q farmboot "oci-archive:$work/farmboot-$version.oci.tar:farmboot:$(printf %s "$version" | tr '+~' '--')"
	} </dev/null >"$work/log" 2>&1 || { tail -n 40 "$work/log" >&2; die 'buildah could not make the image'; }
	keep "farmboot-$version.oci.tar"
}

# buildah, with a store of its own; it and the isolation "chroot" ask the least of a kernel.
build() { buildah --root "$work/containers/store" --runroot "$work/containers/run" --storage-driver vfs "$@"; }
