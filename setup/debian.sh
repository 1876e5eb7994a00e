# Gets packages of the Debian archive, on Debian and its kin, without a trace on the
# host: apt runs with its own lists, cache and sources in a temporary folder, and
# packages are unpacked there, not installed. To be sourced by sh.
# shellcheck shell=sh

say() { printf '%s\n' "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# Makes the temporary folder $work, which goes when the script ends.
workplace() {
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
}

# A variable of os-release(5).
os() ( # NAME
	# shellcheck disable=SC1091
	[ ! -r /etc/os-release ] || . /etc/os-release
	eval "printf %s \"\${$1:-}\""
)

# Finds the Debian archive that this host itself takes packages from, if it is a
# Debian; DEBIAN_ARCHIVE=URL in the environment names another. Sets $mirror.
find_mirror() {
	mirror=${DEBIAN_ARCHIVE:-}
	# shellcheck disable=SC2016 # apt expands these
	[ -n "$mirror" ] || [ "$(os ID)" != debian ] || mirror=$(apt-get indextargets --format '$(RELEASE) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
		awk -v suite="$(os VERSION_CODENAME)" '
			$2 == "main" && $3 !~ /^cdrom:/ && ($1 == suite || !other && $1 ~ /^(stable|oldstable|testing|unstable|sid)$/) {
				other = $3
				if ($1 == suite) exit
			}
			END { sub(/\/$/, "", other); print other }')
	[ -n "$mirror" ] || [ "$(os ID)" = debian ] || die "where is a Debian archive? This host is no Debian, and its own archive has not what we need: set DEBIAN_ARCHIVE=URL, the address of a mirror's folder that holds dists and pool"
	[ -n "$mirror" ] || die "where is a Debian archive? This host's sources (/etc/apt/sources.list, /etc/apt/sources.list.d) name none with the component main: add it there, or set DEBIAN_ARCHIVE=URL, the address of a mirror's folder that holds dists and pool"
}

# Prepares $work for packages of one suite and architecture (this host's, if not
# given) of the Debian archive. Sets $mirror.
debian_archive() { # SUITE [ARCHITECTURE]
	for tool in apt-get dpkg-deb; do
		command -v $tool >/dev/null || die "this host has no $tool"
	done
	find_mirror
	mkdir -p "$work/state/lists/partial" "$work/cache/archives/partial" "$work/deb"
	: >"$work/status"
	keyring
	say "deb [signed-by=$keys${2:+ arch=$2}] $mirror $1 main" >"$work/sources.list"
	architecture=${2:-}
	archive_apt update
}

# Finds the keys of the Debian archive; hosts of its kin have them in a package.
keyring() {
	keys=/usr/share/keyrings/debian-archive-keyring.gpg
	[ -r $keys ] && return
	(cd "$work" && apt-get -q -o APT::Sandbox::User= download debian-archive-keyring >"$work/log" 2>&1) ||
		{ cat "$work/log" >&2; die 'this host has no keys of the Debian archive: apt-get install debian-archive-keyring'; }
	dpkg-deb -x "$work"/debian-archive-keyring_*.deb "$work/keys"
	keys=$work/keys$keys
}

# apt-get, or another program of apt, on the prepared archive; proxies and such as
# the host has them. Its words are shown only if it fails.
archive_apt() {
	case $1 in show) program=apt-cache ;; *) program=apt-get ;; esac
	$program -q \
		-o Dir::Etc::sourcelist="$work/sources.list" -o Dir::Etc::sourceparts=- \
		-o Dir::State="$work/state" -o Dir::State::status="$work/status" -o Dir::Cache="$work/cache" \
		${architecture:+-o APT::Architecture=$architecture -o APT::Architectures=$architecture} \
		-o APT::Sandbox::User= -o Acquire::Languages=none -o Acquire::Retries=3 \
		-o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false \
		-o Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled=false "$@" >"$work/log" 2>&1 ||
		{ cat "$work/log" >&2; die "$program $* went wrong; is the mirror $mirror within reach?"; }
}

# Gets a package of the prepared archive and unpacks it into $work/x.
unpack() { # PACKAGE
	(cd "$work/deb" && archive_apt download "$1")
	dpkg-deb -x "$work/deb/$1"_*.deb "$work/x"
}

# The package of that name pattern which a metapackage depends on.
real_package() { # METAPACKAGE PATTERN
	archive_apt show "$1"
	sed -n 's/^Depends: //p' "$work/log" | tr -d ' ' | tr ',' '\n' | sed 's/(.*//' | grep -m 1 "$2" ||
		die "the package $1 depends on no $2"
}
